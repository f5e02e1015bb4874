"""The files of results: lists of rows, in which a new measurement replaces the old one of the same thing.

python benchmarks/results.py measured/step_time.json           # take rows measured elsewhere into results/
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slipstream.core.atomic import write_json

RESULTS = Path(__file__).parent / "results"
KEYS: Mapping[str, tuple[str, ...]] = {
    "step_time.json": (
        "source", "device", "mode", "blocks", "checkpointing", "resolution", "batch", "rank", "adapter_rank",
        "optimizer", "size",
    ),
    "memory.json": ("device", "cap_gib", "resolution", "settings", "size"),
    "memory_random.json": ("device", "cap_gib", "resolution", "settings", "size"),
    "streaming.json": ("device", "mode", "percent", "resolution", "graphs", "size", "batch", "rank", "checkpointing"),
    "product_run.json": ("device", "mode", "checkpointing", "resolutions", "batch", "rank", "optimizer", "size"),
    "quantization_accuracy.json": ("device", "model", "resolution", "weights", "products", "adapter"),
}  # fmt: skip
"""What makes two rows measurements of the same thing, by file."""

REVISION = "REVISION"
"""Environment variable that names the commit where there is no repository around the files."""

Row = Mapping[str, Any]


def merge(path: Path, rows: Iterable[Row]) -> list[Row]:
    """Add rows to a file's list; one that measured the same thing gives way. Returns the whole list."""
    keys = KEYS[path.name]
    merged = {_key(row, keys): row for row in (*read_rows(path), *rows)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, list(merged.values()))
    return list(merged.values())


def read_rows(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file."""
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def profile_rows(reports: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Rows of `step_time.json` from what `step_profile.py` wrote."""
    for report in reports:
        said = next((line for line in report.get("said", ()) if line.startswith("blocks: ")), "")
        facts = {key: report.get(key) for key in ("revision", "mode", "size", "checkpointing", "batch", "rank")}
        more = {key: report.get(key) for key in ("adapter_rank", "optimizer")}
        for resolution, figures in report["resolutions"].items():
            if "ms_per_step_median" in figures:
                times = {
                    key: value for key, value in figures.items() if key.startswith("ms_per_step") or key == "steps"
                }
                yield {
                    "device": str(report["device"]).partition(",")[0], **facts, **more,
                    "blocks": said.removeprefix("blocks: ").partition(",")[0].partition(" (")[0],
                    "resolution": int(resolution), **times, "peak_gib": figures.get("peak_gib"),
                    "source": "step_profile.py",
                }  # fmt: skip


def _key(row: Row, keys: tuple[str, ...]) -> str:
    return json.dumps([row.get(key) for key in keys])


def revision() -> str | None:
    """The commit that is checked out, with `-dirty` where files differ from it; outside of a repository what the
    environment's `REVISION` says, or None."""
    if said := os.environ.get(REVISION):
        return said
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help=f"any of {', '.join(KEYS)}")
    for path in parser.parse_args(arguments).files:
        print(f"{path.name}: {len(merge(RESULTS / path.name, read_rows(path)))} rows")


if __name__ == "__main__":
    main()
