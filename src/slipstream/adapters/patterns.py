"""Names of modules by pattern: the end of a name (`attention.to_q`), or a glob (`layers.*.attention.*`)."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from slipstream.core.errors import AdapterError

_GLOB = frozenset("*?[")


def matches(pattern: str, name: str) -> bool:
    """Whether a module is meant: by the end of its name, a whole number of words, or by a glob for that end.

    `to_q` and `attention.*` both mean `layers.3.attention.to_q`; `q` does not.
    """
    if _GLOB.isdisjoint(pattern):
        return name == pattern or name.endswith(f".{pattern}")
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


@dataclass(frozen=True)
class Selection:
    """Which linears of a model get a branch.

    Attributes:
        parts: names of block lists, such as `layers`.
        targets: patterns of the linears.
        exclude: patterns of those left out again.
        blocks: numbers of the chosen blocks of the list `numbered`, None = all; other lists are taken whole.
        numbered: the list that `blocks` counts in.
    """

    parts: tuple[str, ...]
    targets: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    blocks: frozenset[int] | None = None
    numbered: str = "layers"


def select(names: Sequence[str], selection: Selection) -> list[str]:
    """The chosen ones of the model's linears, in the model's order.

    Raises:
        AdapterError: a pattern or a block number means nothing in this model, or nothing is left.
    """
    numbered = selection.numbered
    in_lists = [name for name in names if _block(name) is not None]
    for setting, patterns in (("target_modules", selection.targets), ("exclude_modules", selection.exclude)):
        for pattern in patterns:
            if not any(matches(pattern, name) for name in in_lists):
                raise AdapterError(
                    f"no linear of a block is called {pattern!r}", where=f"target.{setting}",
                    fix=_near(pattern, in_lists),
                )  # fmt: skip
    _check_parts(selection.parts, in_lists)
    _check_blocks(selection.blocks, in_lists, numbered)
    chosen = [
        name
        for name in in_lists
        if _part(name) in selection.parts
        and (_part(name) != numbered or selection.blocks is None or _block(name) in selection.blocks)
        and any(matches(pattern, name) for pattern in selection.targets)
        and not any(matches(pattern, name) for pattern in selection.exclude)
    ]
    if not chosen:
        raise AdapterError(
            f"nothing is left to train: parts {', '.join(selection.parts)} hold no linear that target_modules mean "
            "and exclude_modules and blocks leave",
            where="target", fix="widen target.target_modules, target.parts or target.blocks.",
        )  # fmt: skip
    return chosen


def places(names: Iterable[str]) -> str:
    """Where modules lie, for a log line: `30 blocks of layers, 2 of noise_refiner`."""
    blocks: dict[str, set[int | None]] = {}
    for name in names:
        blocks.setdefault(_part(name), set()).add(_block(name))
    return ", ".join(f"{len(numbers)} block{'s' * (len(numbers) > 1)} of {part}" for part, numbers in blocks.items())


def _part(name: str) -> str:
    return name.partition(".")[0]


def _block(name: str) -> int | None:
    """The block's number in `layers.3.attention.to_q`; None where a linear lies in no list of blocks."""
    pieces = name.split(".")
    return int(pieces[1]) if len(pieces) > 2 and pieces[1].isdigit() else None


def _check_parts(parts: Iterable[str], names: Iterable[str]) -> None:
    known = list(dict.fromkeys(map(_part, names)))
    for part in parts:
        if part not in known:
            raise AdapterError(
                f"the model has no blocks called {part!r}", where="target.parts",
                fix=f"choose from: {', '.join(known)}.",
            )  # fmt: skip


def _check_blocks(blocks: Collection[int] | None, names: Iterable[str], numbered: str) -> None:
    known = {block for name in names if _part(name) == numbered and (block := _block(name)) is not None}
    strange = sorted(set(blocks or ()) - known)
    if strange and known:
        raise AdapterError(
            f"the model has no block {strange[0]} in {numbered!r}", where="target.blocks",
            fix=f"its {len(known)} blocks are {min(known)}-{max(known)}.",
        )  # fmt: skip


def _near(pattern: str, names: Iterable[str]) -> str:
    endings = sorted({".".join(name.split(".")[2:]) for name in names})
    words = sorted({ending.rpartition(".")[2] for ending in endings})
    close = difflib.get_close_matches(pattern, [*endings, *words], n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(endings)}."
