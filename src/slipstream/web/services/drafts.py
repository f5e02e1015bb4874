"""Configs that are kept for later: YAML files in the studio's own folder, finished or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipstream.core.atomic import write_text
from slipstream.core.errors import RunError
from slipstream.web.problems import RefusedError, missing
from slipstream.web.services.configs import MOST_CHARACTERS
from slipstream.web.services.places import child, require_plain_name

_ENDING = ".yaml"


@dataclass(frozen=True)
class KeptDraft:
    """A draft in the list; `changed` in seconds since 1970."""

    name: str
    changed: float


def list_drafts(home: Path) -> list[KeptDraft]:
    """All drafts, the newest first."""
    try:
        paths = [path for path in _folder(home).glob(f"*{_ENDING}") if not path.is_symlink()]
        found = [KeptDraft(path.name.removesuffix(_ENDING), path.stat().st_mtime) for path in paths]
    except OSError:
        return []
    return sorted(found, key=lambda one: (-one.changed, one.name))


def save_draft(home: Path, name: str, text: str) -> None:
    """Keep a text under a name; an earlier one of that name is replaced.

    Raises:
        RefusedError: the name is none that a file can have, or the text is too long.
        RunError: it cannot be written.
    """
    require_plain_name(name, "a draft")
    if len(text) > MOST_CHARACTERS:
        raise RefusedError(422, f"a draft has at most {MOST_CHARACTERS:,} characters", where=name)
    try:
        _folder(home).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_text(_folder(home) / f"{name}{_ENDING}", text)
    except OSError as error:
        raise RunError(f"cannot keep the draft: {error}", where=str(_folder(home)), fix="check the disk.") from error


def read_kept(home: Path, name: str) -> str:
    """The text of a draft.

    Raises:
        RefusedError: there is none of that name (404).
    """
    path = child(_folder(home), f"{name}{_ENDING}", "draft")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise missing("draft of this name", where=name[:80], fix="see the list of drafts.") from error


def remove_draft(home: Path, name: str) -> None:
    """Forget a draft; one that is not there is forgotten already."""
    child(_folder(home), f"{name}{_ENDING}", "draft").unlink(missing_ok=True)


def _folder(home: Path) -> Path:
    return home / "drafts"
