"""Paths from names that somebody sent: inside a folder, by plain names, never through a link out of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from slipstream.core.errors import RunError
from slipstream.web.problems import RefusedError, missing

_LONGEST_NAME = 120
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_FORBIDDEN = frozenset('<>:"|?*\\/')


def is_plain_name(name: str) -> bool:
    """Whether a text may name one file or folder on any system: no separators, dots in front, or control characters."""
    return (
        0 < len(name.encode("utf-8", "surrogatepass")) <= 2 * _LONGEST_NAME
        and len(name) <= _LONGEST_NAME
        and not name.startswith(".")
        and name == name.strip().rstrip(".")
        and not any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for one in name)
        and _FORBIDDEN.isdisjoint(name)
        and not _RESERVED.match(name)
    )


def require_plain_name(name: str, what: str) -> str:
    """The name.

    Raises:
        RefusedError: it is none that a file or folder can have everywhere.
    """
    if not is_plain_name(name):
        raise RefusedError(
            422, f"{name[:80]!r} cannot name {what}", where="name",
            fix="use letters, digits, spaces, - and _, at most 120, and no dot in front.",
        )  # fmt: skip
    return name


def child(root: Path, name: str, what: str) -> Path:
    """The folder or file of that name in `root`; there or not.

    Raises:
        RefusedError: the name is none (404, as for one that is not there), or it leads out of `root` by a link.
    """
    if not _is_safe(name):
        raise missing(f"{what} of this name", where=name[:80])
    return _inside(root, root / name, what)


def below(root: Path, relative: str, what: str) -> Path:
    """A file somewhere below `root` by its path with slashes.

    Raises:
        RefusedError: the path leaves `root`, by its parts or by a link, or is none.
    """
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or not all(map(_is_safe, parts)):
        raise missing(f"{what} of this name", where=relative[:200])
    return _inside(root, root.joinpath(*parts), what)


def _is_safe(part: str) -> bool:
    """Whether a part of a path names something in its folder; what people made by hand may be named oddly."""
    return bool(part) and not part.startswith(".") and not {"/", "\\", "\0"} & set(part) and len(part) <= 255


def _inside(root: Path, path: Path, what: str) -> Path:
    try:
        resolved = path.resolve()
        is_inside = resolved.is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a link to itself, a name that no file can have
        is_inside = False
    if not is_inside:
        raise missing(
            f"{what} of this name", where=path.name, fix="links that lead out of the folder are not followed."
        )
    return resolved


def new_folder(root: Path, name: Callable[[int], str]) -> Path:
    """A folder of its own for what is removed: the first of these names, counted from 0, that nobody has yet.

    Raises:
        RunError: it cannot be made.
    """
    number = 0
    while True:
        target = root / name(number)
        try:
            target.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise RunError(f"cannot remove: {error}", where=str(target), fix="check its permissions.") from error
        else:
            return target
