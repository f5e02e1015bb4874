"""Pydantic's findings as one `ConfigError`: a line each with path, what was got, what was expected."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from slipstream.config.fields import Panel, fields_of, panels_at, settings_of, split_help
from slipstream.config.hints import hint_for
from slipstream.config.regularization import PRESERVATION_KINDS
from slipstream.config.variants import VARIANTS
from slipstream.core.errors import ConfigError

Path = tuple[str | int, ...]

_EXPECTED = {
    "missing": "a value",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text (put it in quotes)",
    "path_type": "a path",
    "tuple_type": "a list: [a, b], or one line each beginning with `- `",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "too_short": "at least {min_length} of them",
    "string_too_short": "some text",
}

_TAGS: dict[Path, tuple[str, tuple[str, ...]]] = {
    ("model",): ("variant", tuple(VARIANTS)),
    ("training", "preservation"): ("kind", PRESERVATION_KINDS),
}
"""Groups that are one of several panels: by which setting, and its choices."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config: where, what, and the remedy if one can be named."""

    path: str
    text: str
    remedy: str | None = None


class SettingsError(ConfigError):
    """Settings are wrong; `problems` holds each of them."""

    def __init__(self, problems: Sequence[Problem], source: str) -> None:
        if len(problems) == 1:
            only = problems[0]
            super().__init__(f"{only.path}: {only.text}", where=source, fix=only.remedy)
        else:
            lines = [f"\n  {p.path}: {p.text}" + (f"; {p.remedy}" if p.remedy else "") for p in problems]
            message = f"{len(problems)} settings are wrong:{''.join(lines)}"
            super().__init__(message, where=source, fix="correct these lines.")
        self.problems = tuple(problems)


def config_error(error: ValidationError, root: Panel, source: str, overridden: Iterable[str] = ()) -> SettingsError:
    """All findings in one error; settings given on the command line are marked as such."""
    given = tuple(overridden)
    findings = [dict(finding) for finding in error.errors(include_url=False)]
    problems = [_marked(_problem(finding, root), given) for finding in findings if not _is_echo(finding)]
    return SettingsError(problems, source)


def _marked(problem: Problem, given: tuple[str, ...]) -> Problem:
    if any(path == problem.path or path.startswith(f"{problem.path}.") for path in given):
        return Problem(f"{problem.path} (from the command line)", problem.text, problem.remedy)
    return problem


def _is_echo(finding: Mapping[str, Any]) -> bool:
    """Pydantic also calls a list too short when one of its entries is wrong."""
    return finding["type"] == "too_short" and len(finding["input"]) >= finding["ctx"]["min_length"]


def _problem(finding: Mapping[str, Any], root: Panel) -> Problem:
    kind, context, path = finding["type"], finding.get("ctx", {}), _without_tag(finding["loc"])
    if kind == "extra_forbidden":
        return _unknown_key(path, root)
    if kind == "refused_setting":
        return Problem(dotted((*path, context["key"])), finding["msg"])
    if kind == "value_error":
        return Problem(dotted(path), str(context["error"]))
    if kind == "union_tag_invalid":
        key, choices = _TAGS[path]
        path, kind, context = (*path, key), "literal_error", {"expected": _one_of(choices)}
        finding = {**finding, "input": finding["input"].get(key)}
    if kind == "invalid_key":
        return Problem(dotted(path), f"got the key {path[-1]!r}, expected a name")
    if kind == "missing":
        return _missing(path, root)
    if kind in ("model_type", "model_attributes_type"):
        return Problem(dotted(path), f"got {describe(finding['input'])}, expected {_group(path, root)}")
    expected = _EXPECTED.get(kind, "").format(**context) or finding["msg"].replace("Input should be", "").strip()
    got = describe(finding["input"])
    return Problem(dotted(path), f"got {got}, expected {expected}", _nearest_choice(path, root, finding["input"]))


def _without_tag(location: Path) -> Path:
    """Pydantic puts the choice between a group and its setting (`model.turbo.name`); users do not write it there."""
    for group, (_, choices) in _TAGS.items():
        length = len(group)
        if location[:length] == group and len(location) > length and location[length] in choices:
            return (*group, *location[length + 1 :])
    return location


def dotted(path: Path) -> str:
    """`("datasets", 0, "path")` as `datasets.0.path`; the config as a whole is `config`."""
    return ".".join(str(part) for part in path) or "config"


def describe(value: Any) -> str:
    """What the user gave, short."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, Mapping):
        return "a group of settings"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return repr(value) if isinstance(value, int | float) else f"{value} (a {type(value).__name__})"


def _missing(path: Path, root: Panel) -> Problem:
    name = str(path[-1])
    field = fields_of(panels_at(root, path[:-1])).get(name)
    panels = panels_at(root, path)
    about = (split_help(field.description or "")[0] if field else None) or (panels[0].__doc__ if panels else None) or ""
    return Problem(dotted(path), f"is missing, and must be given. {' '.join(about.split())}".rstrip(". "))


def _group(path: Path, root: Panel) -> str:
    names = ", ".join(fields_of(panels_at(root, path)))
    field = fields_of(panels_at(root, path[:-1])).get(str(path[-1])) if path else None
    optional = field is not None and types.NoneType in get_args(field.annotation)
    return f"a group of settings ({names}), indented under it" + (", or no such line, which is off" if optional else "")


def _unknown_key(path: Path, root: Panel) -> Problem:
    key, here = str(path[-1]), panels_at(root, path[:-1])
    names = list(fields_of(here))
    group = f"known in {dotted(path[:-1])}" if len(path) > 1 else "the panels are"
    found = _suggestion(key, dotted(path), names, path[:-1], root)
    return Problem(dotted(path), "unknown setting", found or f"{group}: {', '.join(names)}")


def _suggestion(key: str, path: str, names: list[str], parent: Path, root: Panel) -> str | None:
    """A setting of that name elsewhere, a name from another trainer, or the nearest spelling."""
    settings = settings_of(root)
    elsewhere = [known for known in settings if known.rpartition(".")[2] == key and known != path]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    if (hint := hint_for(key)) is not None:
        return hint
    close = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.7)
    if close:
        return f"did you mean {dotted((*parent, close[0]))}?"
    leaves = {known.rpartition(".")[2]: known for known in reversed(settings)}
    far = difflib.get_close_matches(key.lower(), leaves, n=1, cutoff=0.8)
    return f"did you mean {leaves[far[0]]}?" if far else None


def _nearest_choice(path: Path, root: Panel, value: Any) -> str | None:
    """For a setting with fixed choices, the one nearest in spelling."""
    if path[:-1] in _TAGS and path[-1] == _TAGS[path[:-1]][0]:
        choices = list(_TAGS[path[:-1]][1])
    else:
        field = fields_of(panels_at(root, path[:-1])).get(str(path[-1])) if path else None
        choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)] if field else []
    close = difflib.get_close_matches(_plain(value), choices, n=1, cutoff=0.6) if isinstance(value, str) else []
    return f"did you mean {close[0]!r}?" if close else None


def _plain(text: str) -> str:
    return text.lower().replace("-", "_").replace(" ", "_")


def _one_of(names: Iterable[str]) -> str:
    *most, last = [repr(name) for name in names]
    return f"{', '.join(most)} or {last}"
