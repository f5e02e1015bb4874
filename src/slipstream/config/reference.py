"""What is known about every setting, read from the schema: for `slipstream explain`, the docs and any form.

A field's docstring is its only home. Its first paragraph is the help; paragraphs that begin with `Formula:`, `Unit:`,
`Change it when:` or `Careful:` say more.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from slipstream.config.fields import Panel, fields_of, optional_groups_of, panels_at, panels_in, settings_of, split_help
from slipstream.config.hints import absent, renamed
from slipstream.config.run_config import RunConfig
from slipstream.config.yaml_text import write_yaml
from slipstream.core.errors import ConfigError

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
_LIMITS = ((annotated_types.Gt, "gt", "above"), (annotated_types.Ge, "ge", "from"), (annotated_types.Lt, "lt", "below"),
           (annotated_types.Le, "le", "to"), (annotated_types.MultipleOf, "multiple_of", "a multiple of"))  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """One setting: dotted path, help, further paragraphs by label, what it accepts, and its default as YAML."""

    path: str
    help: str
    details: dict[str, str]
    accepts: str
    default: str


def explanations() -> dict[str, Explanation]:
    """Every setting by dotted path, in the order of the panels; `datasets.0.` stands for any dataset."""
    return {path: _explanation(path, field) for path, field in settings_of(RunConfig).items()}


def groups() -> dict[str, Explanation]:
    """The groups that may be left out (`training.ema`), by dotted path: what switching one on means."""
    return {path: _explanation(path, field) for path, field in optional_groups_of(RunConfig).items()}


def find_setting(name: str) -> list[Explanation]:
    """The settings that a user means: a full path, a panel or group (all below it), or a name found anywhere.

    Names of forms and other trainers (`TARGET`, `Linear Rank`, `lr`) find what they are called here.

    Raises:
        ConfigError: nothing is called so; the message names near ones, or what is done instead.
    """
    known = explanations()
    wanted = re.sub(r"[\s-]+", "_", name.strip().strip(".").lower())
    wanted = wanted.replace("datasets.", "datasets.0.").replace("datasets.0.0.", "datasets.0.")
    if wanted in known:
        return [known[wanted]]
    if as_shown := [one for path, one in known.items() if shown(path) == wanted]:
        return as_shown
    below = [one for path, one in known.items() if path.startswith(f"{wanted}.") or f".{wanted}." in path]
    same = [one for path, one in known.items() if path.rpartition(".")[2] == wanted]
    if below or same:
        return [one for path, one in groups().items() if below and path == wanted] + (below or same)
    leaf = wanted.rpartition(".")[2]
    if leaf in renamed():
        return find_setting(renamed()[leaf])
    if leaf in absent():
        raise ConfigError(f"no setting is called {name!r}", where="explain", fix=f"{absent()[leaf]}.")
    leaves = {path.rpartition(".")[2]: path for path in reversed(known)}
    close = difflib.get_close_matches(leaf, leaves, n=3, cutoff=0.5)
    near = " or ".join(leaves[leaf] for leaf in close)
    raise ConfigError(
        f"no setting is called {name!r}", where="explain",
        fix=f"did you mean {near}?" if near else "`slipstream explain` lists all.",
    )  # fmt: skip


def panel_help() -> Iterator[tuple[str, str]]:
    """(panel, what it is about) in the guide's order."""
    for name, field in RunConfig.model_fields.items():
        yield name, " ".join((field.description or "").split())


def markdown() -> str:
    """The settings reference: one section a panel, one entry a setting."""
    lines = [
        "# Settings",
        "",
        "Every setting of the nine panels, generated from the schema (`slipstream explain --markdown`): do not edit. "
        "`slipstream explain training.learning_rate` shows one of them on the terminal.",
    ]
    known = explanations()
    optional = groups()
    for panel, about in panel_help():
        lines += ["", f"## {panel.upper()}", "", about.partition(": ")[2] or about]
        for path, one in known.items():
            if path.partition(".")[0] == panel:
                group = optional.pop(path.rpartition(".")[0], None)
                for entry in (group, one) if group else (one,):
                    lines += ["", f"### `{shown(entry.path)}`", "", entry.help, "", *_bullets(entry)]
    return "\n".join(lines) + "\n"


def shown(path: str) -> str:
    """A path as users read it: `datasets.path`, because the number in `datasets.0.path` means any of them."""
    return path.replace(".0.", ".")


def _bullets(one: Explanation) -> list[str]:
    facts = {"Accepts": one.accepts, "Default": f"`{one.default}`", **one.details}
    return [f"- **{label}**: {text}" for label, text in facts.items() if text]


def _explanation(path: str, field: FieldInfo) -> Explanation:
    text, details = split_help(field.description or "")
    return Explanation(path, text, details, accepts(field), _default(path, field))


def accepts(field: FieldInfo) -> str:
    """What a field takes, in words."""
    kinds = _kinds(field.annotation)
    limits = _limits([*field.metadata, *_nested_metadata(field.annotation)])
    return " or ".join(dict.fromkeys(kinds)) + (f", {limits}" if limits else "")


def _kinds(annotation: Any) -> list[str]:
    if annotation is types.NoneType:
        return ["nothing (null)"]
    if annotation in _KINDS:
        return [_KINDS[annotation]]
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [", ".join(f"`{value}`" for value in inside)]
    if origin in (Union, types.UnionType):
        return [kind for part in inside for kind in _kinds(part)]
    if origin is tuple:
        return [f"a list of: {' or '.join(_kinds(inside[0]))}"]
    if origin is dict or annotation is dict or "Mapping" in str(origin):
        return ["a group of names and values"]
    if panels := panels_in(annotation):
        names = dict.fromkeys(name for panel in panels for name in fields_of((panel,)))
        return [f"a group of settings ({', '.join(names)})"]
    return _kinds(inside[0]) if inside else ["a value"]


def _nested_metadata(annotation: Any) -> list[Any]:
    """Limits that stand inside `X | None` or a list's entry."""
    found: list[Any] = list(getattr(annotation, "__metadata__", ()))
    for part in get_args(annotation) if get_origin(annotation) is not Literal else ():
        found += _nested_metadata(part)
    return found


def _limits(metadata: list[Any]) -> str:
    flat = [inner for entry in metadata for inner in (*getattr(entry, "metadata", ()), entry)]
    words = [
        f"{word} {getattr(entry, key):g}" for kind, key, word in _LIMITS for entry in flat if isinstance(entry, kind)
    ]
    return " ".join(dict.fromkeys(words))


def _default(path: str, field: FieldInfo) -> str:
    if field.default is PydanticUndefined and field.default_factory is None:
        return "" if _inside_optional_group(path) is None else "must be given with its group"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "null"
    if isinstance(value, BaseModel):
        return write_yaml(value.model_dump(mode="json"), flow=True).strip()
    text = write_yaml({"x": _plain(value)}).partition("x:")[2].strip()
    return text if "\n" not in text else "[" + ", ".join(line.strip("- ") for line in text.splitlines()) + "]"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else dict(value) if hasattr(value, "items") else value


def _inside_optional_group(path: str) -> Panel | None:
    parts = tuple(part for part in path.split(".")[:-1] if not part.isdigit())
    panels = panels_at(RunConfig, parts)
    return panels[0] if len(parts) > 1 and panels else None
