"""The page of `slipstream drift`: traffic light, verdict, pictures, curves. It needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from slipstream.core.atomic import write_text
from slipstream.evaluation.drift_findings import MANY_STEPS, Cell, DriftFindings
from slipstream.evaluation.drift_verdict import LARGE_GAIN, need_of
from slipstream.reports.drift_charts import Chart, Line, chart_svg
from slipstream.reports.pictures import embed_pictures, thinned

PICTURE_BUDGET_BYTES = 2_500_000
_MOST_LINES = 6
"""Checkpoints in a drawing, the first and the last among them."""

Paths = tuple[Path, ...]


@dataclass(frozen=True)
class DriftPictures:
    """Files of pictures, prompt by prompt: of the base, of every LoRA, of the newest by (steps, CFG)."""

    base: Paths
    loras: tuple[Paths, ...]
    cells: Mapping[tuple[int, float], Paths]


@dataclass(frozen=True)
class Row:
    """A row of the picture grid: what drew it, a note, and data URIs (None: the file cannot be read)."""

    name: str
    note: str
    uris: tuple[str | None, ...]


@dataclass(frozen=True)
class Heat:
    """A field of the map of steps by CFG. `shade`: percent of the colour; `chosen`: what the verdict names."""

    cell: Cell
    uris: tuple[str | None, ...]
    shade: float
    chosen: bool


def write_drift_page(path: Path, findings: DriftFindings, pictures: DriftPictures) -> None:
    """Write the page; one of before is replaced.

    Raises:
        DiskFullError, RunError: it cannot be written.
    """
    write_text(path, render_drift_page(findings, pictures), durable=False)


def render_drift_page(findings: DriftFindings, pictures: DriftPictures) -> str:
    """The page as text."""
    every = [*pictures.base, *(path for paths in (*pictures.loras, *pictures.cells.values()) for path in paths)]
    uris = embed_pictures(list(dict.fromkeys(every)), PICTURE_BUDGET_BYTES)
    return (
        _environment()
        .get_template("drift_page.html")
        .render(
            found=findings,
            newest=findings.newest,
            rows=_rows(findings, pictures, uris),
            headings=_headings(findings, len(pictures.base)),
            heat=_heat(findings, pictures, uris),
            noise=_noise_charts(findings),
            spectrum=Markup(chart_svg(_spectrum(findings))),
            steps=_steps_chart(findings),
            guidance_legend=[
                (f"CFG {guidance:g}", place) for place, guidance in enumerate(_guidances(findings)[1:], start=1)
            ],
            checkpoints=_checkpoint_charts(findings),
            legend=[
                (f"step {findings.loras[at].step}", place) for place, at in enumerate(_drawn(findings)[:-1], start=1)
            ],
            many=MANY_STEPS,
            coded=_coded,
        )
    )


def _coded(text: str) -> Markup:
    """A sentence whose words between backticks are code."""
    parts = (
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts)


def _headings(findings: DriftFindings, count: int) -> list[str]:
    """The prompt of every picture that is shown, and which of its seeds where it has several."""
    prompts = findings.prompts
    seeds = [f", seed {number // len(prompts) + 1}" if findings.num_seeds > 1 else "" for number in range(count)]
    return [prompts[number % len(prompts)] + seed for number, seed in enumerate(seeds)]


def _names(findings: DriftFindings) -> list[str]:
    """What every LoRA is called on the page."""
    if len(findings.loras) == 1:
        return ["with LoRA"]
    return [f"step {one.step}" for one in findings.loras]


def _rows(findings: DriftFindings, pictures: DriftPictures, uris: Mapping[Path, str]) -> list[Row]:
    def row(name: str, note: str, paths: Paths) -> Row:
        return Row(name, note, tuple(uris.get(path) for path in paths))

    usual = f"{findings.steps} steps" + (f", CFG {findings.guidance_scale:g}" if findings.guidance_scale > 1 else "")
    rows = [row("without LoRA", usual, pictures.base)]
    names = _names(findings)
    rows += [row(name, usual, paths) for name, paths in zip(names, pictures.loras, strict=True)]
    newest = names[-1]
    if (MANY_STEPS, 0.0) in pictures.cells and findings.newest.few_to_many is not None:
        rows.append(row(newest, f"{MANY_STEPS} steps", pictures.cells[MANY_STEPS, 0.0]))
    if findings.newest.cells:
        need = need_of(findings.newest.cells)
        if need.guidance_scale:
            asked = (need.steps, need.guidance_scale)
            rows.append(row(newest, f"{need.steps} steps, CFG {need.guidance_scale:g}", pictures.cells[asked]))
    return rows


def _heat(findings: DriftFindings, pictures: DriftPictures, uris: Mapping[Path, str]) -> list[list[Heat]]:
    """Rows by CFG, columns by steps."""
    cells = findings.newest.cells
    if not cells:
        return []
    need = need_of(cells)
    widest = max(LARGE_GAIN, *(abs(cell.gain) for cell in cells))

    def heat(cell: Cell) -> Heat:
        paths = pictures.cells.get((cell.steps, cell.guidance_scale), ())
        return Heat(
            cell, tuple(uris.get(path) for path in paths), min(100.0, 100 * abs(cell.gain) / widest),
            (cell.steps, cell.guidance_scale) == (need.steps, need.guidance_scale),
        )  # fmt: skip

    by_guidance = sorted({cell.guidance_scale for cell in cells})
    return [[heat(cell) for cell in cells if cell.guidance_scale == guidance] for guidance in by_guidance]


def _drawn(findings: DriftFindings) -> Sequence[int]:
    """Which LoRAs a drawing holds."""
    return thinned(range(len(findings.loras)), _MOST_LINES)


def _noise_charts(findings: DriftFindings) -> list[tuple[str, str, Markup]]:
    """(heading, note, drawing) over noise levels."""

    names = _names(findings)

    def lines(value: str) -> tuple[Line, ...]:
        return tuple(
            Line(
                names[at],
                tuple((level.sigma, getattr(level, value)) for level in findings.loras[at].levels),
                strong=at == len(findings.loras) - 1,
            )
            for at in _drawn(findings)
        )

    noise = "noise level: a picture begins at 1 and ends at 0"
    velocity = Chart("Change of the velocity", noise, lines("velocity"), falling=True, bounds=(0.0,))
    detail = Chart("Detail of the first guess", noise, lines("detail"), True, 1.0, "as without LoRA", bounds=(0.0,))
    return [
        ("Change of the velocity", "0 % = the LoRA does nothing there", Markup(chart_svg(velocity))),
        (
            "Detail of the first guess",
            "how much of Turbo's fine structure a single step keeps",
            Markup(chart_svg(detail)),
        ),
    ]


def _spectrum(findings: DriftFindings) -> Chart:
    names = _names(findings)
    lines = tuple(
        Line(
            names[at],
            tuple(zip(findings.frequencies, findings.loras[at].spectrum, strict=True)),
            strong=at == len(findings.loras) - 1,
        )
        for at in _drawn(findings)
    )
    return Chart(
        "Power", "cycles per pixel: coarse on the left, finest detail on the right", lines, False, 1.0,
        "as without LoRA", bounds=(0.0,), x_text="{:.2f} cycles per pixel".format,
    )  # fmt: skip


def _guidances(findings: DriftFindings) -> list[float]:
    return sorted({cell.guidance_scale for cell in findings.newest.cells})


def _steps_chart(findings: DriftFindings) -> Markup | None:
    """The distance over steps, a line for each CFG, the one without it thick."""
    if not findings.newest.cells:
        return None
    lines = [
        Line(
            f"CFG {guidance:g}" if guidance else "no CFG",
            tuple((cell.steps, cell.distance) for cell in findings.newest.cells if cell.guidance_scale == guidance),
            strong=not guidance,
        )
        for guidance in _guidances(findings)
    ]
    chart = Chart("Distance", "steps", (*lines[1:], lines[0]), y_text="{:.3f}".format, x_text="{:.0f} steps".format)
    return Markup(chart_svg(chart))


def _checkpoint_charts(findings: DriftFindings) -> list[tuple[str, str, Markup]]:
    """(heading, note, drawing) over the steps of training, where several checkpoints were measured."""
    if len(findings.loras) < 2:
        return []

    def drawn(
        heading: str, note: str, values: Sequence[float], text: str, level: float | None, level_name: str = ""
    ) -> tuple[str, str, Markup]:
        points = tuple((float(one.step or 0), value) for one, value in zip(findings.loras, values, strict=True))
        chart = Chart(
            heading, "updates", (Line(heading.lower(), points),), False, level, level_name, text.format,
            "step {:.0f}".format, (0.0,),
        )  # fmt: skip
        return heading, note, Markup(chart_svg(chart))

    loras, base = findings.loras, "as without LoRA"
    red = findings.limits[1] if findings.newest.light else None
    return [
        drawn("Drift score", "0 is Turbo itself", [one.score for one in loras], "{:.0f}", red, "red from here"),
        drawn("Distance", "of pictures to those without LoRA", [one.distance for one in loras], "{:.3f}", None),
        drawn("Sharpness", "relative to pictures without LoRA", [one.sharpness for one in loras], "{:.0%}", 1.0, base),
        drawn("Fine detail", "power of details under two pixels", [o.fine_detail for o in loras], "{:.0%}", 1.0, base),
    ]


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
