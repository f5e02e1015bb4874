"""Figures of `results/` as tables: for the screen, and between the markers of docs/benchmarks.md and quantization.md.

python benchmarks/tables.py               # writes the tables of the documentation anew
python benchmarks/tables.py --print
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from results import RESULTS, read_rows

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"
QUANTIZATION = DOCS.with_name("quantization.md")
RESOLUTIONS = (512, 768, 1024)
GROUPED = ("device", "mode", "blocks", "checkpointing", "batch", "rank", "optimizer")
"""What rows of one line have in common, besides where they come from."""

EARLIER = "memory_tiers.py"
"""Where rows come from that do not say: the first ones."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of text."""

    name: str
    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        """As GitHub shows it."""
        lines = [self.headers, tuple("---" for _ in self.headers), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def step_table(rows: Iterable[Row]) -> Table:
    """A line for every way of training that was measured, newest last; times in ms, means of three medians."""
    groups: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in rows:
        key = tuple(
            row.get(name) for name in ("device", "mode", "blocks", "checkpointing", "batch", "rank", "optimizer")
        )
        groups.setdefault((*key, row.get("source", EARLIER)), {})[int(row["resolution"])] = row
    lines = []
    for (device, mode, blocks, checkpointing, batch, rank, optimizer, source), by_side in groups.items():
        medians = [by_side[side]["ms_per_step_median"] for side in RESOLUTIONS if side in by_side]
        some = next(iter(by_side.values()))
        peaks = [row["peak_gib"] for row in by_side.values() if row.get("peak_gib")]
        lines.append((
            str(device), str(mode), str(blocks), str(checkpointing), f"{batch} / {rank}", str(optimizer),
            *(_ms(by_side.get(side)) for side in RESOLUTIONS),
            f"{mean(medians):.0f}" if len(medians) == len(RESOLUTIONS) else "", f"{max(peaks):.1f}" if peaks else "",
            f"{min(row['steps'] for row in by_side.values())}", source, str(some.get("revision") or "")[:7],
        ))  # fmt: skip
    headers = (
        "device", "mode", "blocks", "checkpointing", "batch / rank", "optimizer", "512", "768", "1024", "mean",
        "peak GiB", "steps", "measured by", "commit",
    )  # fmt: skip
    return Table("step_time", headers, lines)


def product_table(rows: Iterable[Row]) -> Table:
    """A line for every whole training: when the first update was done, and what the phases took, in seconds."""
    lines = []
    for row in rows:
        phases: dict[str, float] = {}
        for span in row.get("phases", ()):
            phases[span["phase"]] = phases.get(span["phase"], 0.0) + span["seconds"]
        previews, again = row.get("preview_seconds_per_picture") or [], row.get("second_start") or {}
        lines.append((
            str(row.get("device")), str(row.get("mode")), str(row.get("checkpointing")),
            _seconds(row, "until_first_step"), _seconds(again, "until_first_step"),
            *(_seconds(phases, name) for name in PHASES),
            _seconds(row, "warm_up_seconds"), f"{previews[-1]:.2f}" if previews else "",
            f"{row['save_seconds'][-1]:.2f}" if row.get("save_seconds") else "", str(row.get("peak_gib") or ""),
            str(row.get("revision") or "")[:7],
        ))  # fmt: skip
    headers = (
        "device", "mode", "checkpointing", "first step", "first step, second start", *PHASES, "warm-up",
        "preview, a picture", "save", "peak GiB", "commit",
    )  # fmt: skip
    return Table("product_run", headers, lines)


def side_by_side(peers: Iterable[Row], ours: Iterable[Row]) -> Table:
    """Other trainers' figures, then ours at batch 1 and rank 16 on an H100."""
    lines = []
    for peer in peers:
        times, mean_ms = peer["ms"], peer.get("mean")
        lines.append((
            peer["trainer"], peer["setting"], peer["device"], *(str(times.get(str(side), "")) for side in RESOLUTIONS),
            str(mean_ms or ""), str(peer.get("peak_gib", "")), peer["by"],
        ))  # fmt: skip
    comparable = [row for row in ours if "H100" in str(row["device"]) and (row["batch"], row["rank"]) == (1, 16)]
    for row in step_table(comparable).rows:
        device, mode, blocks, checkpointing, _, optimizer, *times, mean_ms, peak, _, source, _ = row
        setting = f"{mode}, {blocks}, checkpointing {checkpointing}, {optimizer}"
        lines.append(("slipstream", setting, device, *times, mean_ms, peak, f"`{source}`"))
    headers = ("trainer", "setting", "card", "512", "768", "1024", "mean", "peak GiB", "by")
    return Table("side_by_side", headers, lines)


def accuracy_table(rows: Iterable[Row]) -> Table:
    """A line for every model, format of weights and precision of products: errors without the training adapter, and
    with it, merged and live."""
    lines: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        key = tuple(str(row[name]) for name in ("model", "device", "weights", "products"))
        lines.setdefault(key, {})[row["adapter"]] = row
    return Table(
        "quantization_accuracy",
        (
            "model", "device", "weights", "products", "prediction", "LoRA gradients", "their cosine",
            "prediction: adapter merged / live", "LoRA gradients: adapter merged / live",
        ),
        [
            (
                *key, _error(places, "prediction", "none"), _error(places, "lora_gradients", "none"),
                f"{places['none']['gradient_cosine']:.4f}" if "gradient_cosine" in places.get("none", {}) else "",
                *(f"{_error(places, name, 'merged')} / {_error(places, name, 'live')}"
                  for name in ("prediction", "lora_gradients")),
            )
            for key, places in sorted(lines.items(), key=_by_model)
        ],
    )  # fmt: skip


def _by_model(line: tuple[tuple[str, ...], Any]) -> tuple[Any, ...]:
    model, device, weights, products = line[0]
    formats, precisions = ("dense", "float8", "int8", "nf4"), ("fp32", "bf16", "float8")
    return "trained" not in model, device, formats.index(weights), precisions.index(products)


def _error(places: Mapping[str, Row], name: str, adapter: str) -> str:
    row = places.get(adapter, {})
    if "error" in row:
        return "failed"
    if name not in row:
        return "-"
    return f"{100 * row[name]:.1f} %" if row[name] >= 5e-4 else f"{100 * row[name]:.0e} %"


PHASES = ("load text encoder", "encode captions", "load VAE", "encode pictures", "load transformer")


def _ms(row: Row | None) -> str:
    return "" if row is None else f"{row['ms_per_step_median']:.0f}"


def _seconds(row: Mapping[str, Any], name: str) -> str:
    return "" if row.get(name) is None else f"{row[name]:.1f}"


def tables(folder: Path = RESULTS) -> list[Table]:
    """Every table that a folder of results gives rise to."""
    steps = read_rows(folder / "step_time.json")
    found = [step_table(steps), product_table(read_rows(folder / "product_run.json"))]
    accuracy = accuracy_table(read_rows(folder / "quantization_accuracy.json"))
    return [*found, side_by_side(read_rows(RESULTS / "peers.json"), steps), accuracy]


def with_tables(text: str, found: Sequence[Table]) -> str:
    """A page with the tables between its markers `<!-- NAME -->` and `<!-- end of NAME -->`."""
    for table in found:
        start, end = f"<!-- {table.name} -->", f"<!-- end of {table.name} -->"
        body = table.markdown() if table.rows else "(not measured yet)"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        text = pattern.sub(lambda _, whole=f"{start}\n{body}\n{end}": whole, text)
    return text


def show(found: Sequence[Table]) -> None:
    """Print tables."""
    from rich.console import Console
    from rich.table import Table as Shown

    console = Console(width=max(Console().width, 180))
    for table in found:
        shown = Shown(title=table.name, title_justify="left")
        for header in table.headers:
            shown.add_column(header)
        for row in table.rows:
            shown.add_row(*row)
        if table.rows:
            console.print(shown)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="show the tables and write nothing")
    if parser.parse_args(arguments).print:
        show(tables())
        return
    for page in (DOCS, QUANTIZATION):
        page.write_text(with_tables(page.read_text(encoding="utf-8"), tables()), encoding="utf-8")


if __name__ == "__main__":
    main()
