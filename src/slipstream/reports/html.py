"""`report.html`: one page about a run that needs nothing but itself: it can be mailed or archived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markupsafe import Markup

from slipstream.core.atomic import write_text
from slipstream.reports.curves import curve_svg, smoothing_window
from slipstream.reports.drift import drift_figure
from slipstream.reports.facts import column, lora_to_use, phases, read_object, read_text, tiles
from slipstream.reports.findings import ToldFinding
from slipstream.reports.headings import Heading, run_headings
from slipstream.reports.pictures import (
    Previews,
    difference,
    embed_pictures,
    find_previews,
    find_weights,
    picture_text,
    thinned,
)
from slipstream.reports.usage import usage
from slipstream.reports.validation import validation_figure
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import read_metrics

PICTURE_BUDGET_BYTES = 5_000_000
WEIGHT_BUDGET_BYTES = 2_000_000
LOSS_PARTS = {
    "velocity": "Loss: pictures",
    "mask_prior": "Loss: outside of masks",
    "preservation": "Loss: preservation",
}
"""The loss by term, drawn where a run has several terms."""
_MOST_PICTURES = 240
_MOST_WEIGHT_PROMPTS = 24
_MOST_STEPS = 24
_MOST_PROMPTS = 60


@dataclass(frozen=True)
class Cell:
    """One picture of the page: its data URI and where the original lies, relative to the page."""

    uri: str
    file: str


@dataclass(frozen=True)
class Gallery:
    """Previews as embedded: `cells[step index][prompt index]`, None where there is no picture."""

    steps: tuple[int, ...]
    prompts: tuple[Heading, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    note: str

    @property
    def marked(self) -> bool:
        """Whether prompts are marked by the trigger word, which needs a legend."""
        return any(prompt.mark for prompt in self.prompts)


@dataclass(frozen=True)
class WeightRow:
    """The pictures of one LoRA weight, and how far they are from the base on average (None: not known)."""

    scale: float
    cells: tuple[Cell | None, ...]
    change_with: float | None
    change_without: float | None


@dataclass(frozen=True)
class Curve:
    """One drawing and its heading."""

    title: str
    note: str
    svg: Markup


def write_report(run: RunDir, findings: Sequence[ToldFinding] = ()) -> Path:
    """Write the run's report and return its path. Sections whose files are missing are left out.

    Raises:
        DiskFullError: no space left; an earlier report survives.
        RunError: the file cannot be written for another reason.
    """
    write_text(run.report, render_report(run, findings))
    return run.report


def render_report(run: RunDir, findings: Sequence[ToldFinding] = ()) -> str:
    """The page as text."""
    manifest, progress = read_object(run.manifest), read_object(run.progress)
    rows = read_metrics(run.metrics)
    spent = phases(read_object(run.timings), rows)
    prompts = run_headings(manifest)
    previews = find_previews(run, len(prompts))
    lora = lora_to_use(run)
    last = next((previews.paths[step, 0] for step in reversed(previews.steps) if (step, 0) in previews.paths), None)
    return _environment().get_template("report.html").render(
        run=run,
        folder=f"{run.path.parent.name}/{run.name}",
        manifest=manifest,
        progress=progress,
        tiles=tiles(run, manifest, progress, rows, spent),
        findings=findings,
        gallery=gallery(run, previews, prompts),
        weights=weights(run, previews, prompts),
        curves=curves(rows),
        validation=validation_figure(run, (manifest.get("validation") or {}).get("patience")),
        drift=drift_figure(run),
        phases=spent,
        settings=read_text(run.config),
        usage=usage(lora, manifest, picture_text(last) if last else {}) if lora else None,
    )  # fmt: skip


def gallery(run: RunDir, previews: Previews, prompts: Sequence[Heading]) -> Gallery | None:
    """The previews to embed, or None where there are none. Long runs are thinned out; the note says so."""
    num_prompts = min(previews.num_prompts, _MOST_PROMPTS)
    steps = thinned(previews.steps, max(2, min(_MOST_STEPS, _MOST_PICTURES // max(1, num_prompts))))
    shown = {key: path for key, path in previews.paths.items() if key[0] in steps and key[1] < num_prompts}
    uris = embed_pictures(list(shown.values()), PICTURE_BUDGET_BYTES)
    if not uris:
        return None

    def cell(step: int, prompt: int) -> Cell | None:
        path = shown.get((step, prompt))
        return Cell(uris[path], path.relative_to(run.path).as_posix()) if path in uris else None

    notes = []
    if len(steps) < len(previews.steps):
        notes.append(f"{len(steps)} of {len(previews.steps)} checkpoints are shown")
    if num_prompts < previews.num_prompts:
        notes.append(f"{num_prompts} of {previews.num_prompts} prompts are shown")
    return Gallery(
        steps=steps,
        prompts=tuple(prompts[number] if number < len(prompts) else Heading("") for number in range(num_prompts)),
        cells=tuple(tuple(cell(step, prompt) for prompt in range(num_prompts)) for step in steps),
        note="; ".join(notes),
    )


def weights(run: RunDir, previews: Previews, prompts: Sequence[Heading]) -> list[WeightRow]:
    """The sweep over LoRA weights, a row each; empty where none was drawn.

    Where there are previews of step 0, a row says how far its pictures are from them.
    """
    sweep = find_weights(run)
    if sweep is None:
        return []
    columns = range(min(len(prompts), _MOST_WEIGHT_PROMPTS))
    shown = {key: path for key, path in sweep.paths.items() if key[1] in columns}
    uris = embed_pictures(list(shown.values()), WEIGHT_BUDGET_BYTES)

    def cell(scale: float, prompt: int) -> Cell | None:
        path = shown.get((scale, prompt))
        return Cell(uris[path], path.relative_to(run.path).as_posix()) if path in uris else None

    def change(scale: float, has_trigger: bool) -> float | None:
        pairs = [
            (previews.paths[0, prompt], sweep.paths[scale, prompt])
            for prompt, heading in enumerate(prompts)
            if heading.has_trigger is has_trigger and (0, prompt) in previews.paths and (scale, prompt) in sweep.paths
        ]
        found = [value for pair in pairs if (value := difference(*pair)) is not None]
        return sum(found) / len(found) if found else None

    return [
        WeightRow(scale, tuple(cell(scale, prompt) for prompt in columns), change(scale, True), change(scale, False))
        for scale in sweep.scales
    ]


def curves(rows: Sequence[Mapping[str, float]]) -> list[Curve]:
    """Loss, learning rate and gradient norm, those that have values."""
    average = f"dots: updates; line: average over about {smoothing_window(len(column(rows, 'loss')))}"
    drawn = [
        _curve(rows, "loss", "Loss", average, noisy=True),
        *(_curve(rows, f"loss_{key}", title, average, noisy=True) for key, title in LOSS_PARTS.items()),
        _curve(rows, "learning_rate", "Learning rate", "", noisy=False),
        _curve(rows, "grad_norm", "Gradient norm", "before clipping", noisy=True),
    ]
    return [curve for curve in drawn if curve is not None]


def _curve(rows: Sequence[Mapping[str, float]], key: str, title: str, note: str, *, noisy: bool) -> Curve | None:
    if not column(rows, key):
        return None
    steps, values = [row["step"] for row in rows], [row.get(key) for row in rows]
    return Curve(title, note, Markup(curve_svg(steps, values, label=title.lower(), smooth=noisy, robust=noisy)))


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
