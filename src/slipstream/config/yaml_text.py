"""YAML in and out, stricter than PyYAML: a key given twice is refused, and `1e-4` is a number.

YAML 1.1 reads a number without a dot before its exponent as text; people write learning rates like that.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from slipstream.core.errors import ConfigError

_FLOAT_TAG = "tag:yaml.org,2002:float"
_EXPONENT_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$")
_FLOAT_STARTS = list("-+.0123456789")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that refuses a key given twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, once its keys are known to differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper; a class of its own so that text such as '1e-4' is quoted for the loader above."""


_Loader.add_implicit_resolver(_FLOAT_TAG, _EXPONENT_FLOAT, _FLOAT_STARTS)
_Dumper.add_implicit_resolver(_FLOAT_TAG, _EXPONENT_FLOAT, _FLOAT_STARTS)


def read_yaml(text: str, where: str) -> Any:
    """The value a YAML text holds; None for an empty one.

    Raises:
        ConfigError: it is not YAML (with line and column), or a key is given twice.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
        problem = ", ".join(part for part in (error.context, error.problem) if part) or "this is not YAML"
        raise ConfigError(problem, where=place, fix=_remedy(problem)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"this is not readable YAML: {error}", where=where, fix="save it as plain UTF-8 text."
        ) from error


def _remedy(problem: str) -> str:
    if "given twice" in problem:
        return "keep one of the two."
    if "'\\t'" in problem:
        return "indent with spaces; YAML allows no tabs."
    if "mapping values are not allowed" in problem or "expected <block end>" in problem:
        return "check the indentation, and put text that contains `: ` or `#` in quotes."
    if "expected a single document" in problem:
        return "keep one config in a file: remove the `---` between them."
    return "put text with special characters (: # [ ] { } * & @) in quotes, and close every quote and bracket."


def write_yaml(value: Any, *, flow: bool = False) -> str:
    """YAML text, keys in their order, that `read_yaml` turns into the same value; with `flow` on one line."""
    width = 10_000 if flow else 110
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=width)
