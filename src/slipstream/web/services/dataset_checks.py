"""The last check of a dataset (`slipstream dataset check`), kept with it, and what it says of single pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstream.core.atomic import write_json
from slipstream.core.hashing import hash_text
from slipstream.data.images import EXTENSIONS
from slipstream.data.listing import list_files
from slipstream.web.services.child import ask_child
from slipstream.web.services.dataset_index import Show
from slipstream.web.services.dataset_notes import HIDDEN, DatasetNotes, hidden_folder
from slipstream.web.services.datasets import CAPTION_ENDING

_SECONDS = 1800.0
_COUNTED = {*EXTENSIONS, f".{CAPTION_ENDING}"}


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that something is amiss with: (kind, sentence) of each finding."""

    file: str
    findings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CheckedDataset:
    """What a check found.

    Attributes:
        stale: pictures or captions have changed since.
        num_images: pictures that can be trained on.
        advice: what to do, the weightiest first.
        warnings: what looks like a mistake.
        skipped: (file, why) of what is left out.
        pictures: those with findings.
        duplicates: groups of pictures that are alike; the first of each is the one to keep.
        buckets: (size, pictures in it, share that it cuts off on average).
        tokens: of every caption, by file.
        max_tokens: what is past this is cut off.
    """

    stale: bool
    num_images: int
    advice: tuple[str, ...]
    warnings: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    pictures: tuple[CheckedPicture, ...]
    duplicates: tuple[tuple[str, ...], ...]
    buckets: tuple[tuple[str, int, float], ...]
    tokens: dict[str, int]
    max_tokens: int

    @property
    def duplicate_files(self) -> frozenset[str]:
        """All pictures that another one is like."""
        return frozenset(file for group in self.duplicates for file in group)


def run_check(folder: Path, notes: DatasetNotes) -> CheckedDataset:
    """Look at every picture and caption in a process of its own, and keep what it found.

    Raises:
        SlipstreamError: the folder cannot be used, or one of its captions cannot be read.
    """
    signature = _signature(folder)
    report: dict[str, Any] = ask_child(
        [
            "dataset", "check", str(folder), "--json", "-", "--no-html", f"--trigger-word={notes.trigger_word}",
            f"--resolutions={','.join(map(str, notes.resolutions))}",
        ],
        seconds=_SECONDS, offline=True,
    )  # fmt: skip
    write_json(_place(folder), {"signature": signature, "report": report}, durable=False)
    return _read(folder, report, stale=False)


def last_check(folder: Path) -> CheckedDataset | None:
    """What the last check found; None where there was none, or it cannot be read any more."""
    try:
        kept = json.loads(_place(folder).read_text(encoding="utf-8"))
        return _read(folder, kept["report"], stale=kept["signature"] != _signature(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def found_files(folder: Path, show: Show) -> frozenset[str] | None:
    """What the last check found of a kind; None where it is not asked for, or nobody has looked."""
    if show not in ("duplicates", "findings") or (check := last_check(folder)) is None:
        return None
    return check.duplicate_files if show == "duplicates" else frozenset(one.file for one in check.pictures)


def _place(folder: Path) -> Path:
    return (hidden_folder(folder) if folder.is_dir() else folder / HIDDEN) / "check.json"


def _signature(folder: Path) -> str:
    """Changes with every picture and caption."""
    found = []
    for path in list_files(folder):
        if path.suffix.lower() in _COUNTED:
            stat = path.stat()
            found.append(f"{path.relative_to(folder)} {stat.st_mtime_ns} {stat.st_size}")
    return hash_text(*found)


def _read(folder: Path, report: dict[str, Any], *, stale: bool) -> CheckedDataset:
    root = report["folders"][0]["path"] if report["folders"] else str(folder)

    def name(path: str) -> str:
        return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else Path(path).name

    def told(text: str) -> str:
        """Without the folder that all of it is about."""
        return text.removeprefix(f"{root}: ").replace(f"{root}/", "")

    pictures = tuple(
        CheckedPicture(one["name"], tuple((finding["kind"], finding["text"]) for finding in one["findings"]))
        for one in report["pictures"]
        if one["findings"]
    )
    return CheckedDataset(
        stale=stale,
        num_images=report["num_images"],
        advice=tuple(map(told, report["advice"])),
        warnings=tuple(map(told, report["warnings"])),
        skipped=tuple((name(one["path"]), one["reason"]) for one in report["skipped"]),
        pictures=pictures,
        duplicates=tuple(tuple(name(twin["path"]) for twin in group["twins"]) for group in report["duplicates"]),
        buckets=tuple(
            (f"{one['bucket']['width']} × {one['bucket']['height']}", one["examples"], one["mean_crop"])
            for one in report["buckets"]
        ),
        tokens={one["name"]: one["num_tokens"] for one in report["pictures"] if one["num_tokens"] is not None},
        max_tokens=report["max_tokens"],
    )
