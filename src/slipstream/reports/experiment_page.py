"""The page about an experiment: arms beside each other in figures, curves and pictures; needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from slipstream.core.atomic import write_text
from slipstream.reports.facts import column, read_object
from slipstream.reports.headings import Heading, run_headings
from slipstream.reports.overlay import Line, difference_lines, overlay_svg
from slipstream.reports.pictures import embed_pictures, find_previews, thinned
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import read_metrics
from slipstream.runs.validation import read_rows

PICTURE_BUDGET_BYTES = 6_000_000
_MOST_PICTURES = 320
_MOST_STEPS = 12
_MOST_PROMPTS = 12


@dataclass(frozen=True)
class RunShown:
    """A run on the page: its arm (a number), its seed, its folder, how it stands in a word, and how far it is."""

    arm: int
    seed: int
    run: RunDir
    state: str
    step: int
    steps: int
    message: str = ""


@dataclass(frozen=True)
class FigureRow:
    """A measure in the table: the mean of each arm, and for each arm but the first its difference in words."""

    title: str
    means: tuple[str, ...]
    differences: tuple[tuple[str, str, str, str], ...]
    """(mean +- standard error, 95 % interval, seeds lower / higher, verdict) for each other arm."""
    slopes: Markup


@dataclass(frozen=True)
class ExperimentPage:
    """What the page says, in words already.

    Attributes:
        differences: (setting, its value in each arm).
        notes: what the arms do not share besides.
        same_order: whether pairs met the same pictures and noise.
        loss_comparable: whether their losses measure the same; with the same order they are subtracted step by step.
        findings, limits: what the pairs show, and what they cannot.
    """

    name: str
    command: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    differences: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]
    same_order: bool
    loss_comparable: bool
    findings: tuple[str, ...]
    limits: tuple[str, ...]
    rows: tuple[FigureRow, ...]
    runs: tuple[RunShown, ...]
    drift: tuple[Line, ...] = field(default=())


@dataclass(frozen=True)
class Chart:
    """One drawing and its heading."""

    title: str
    note: str
    svg: Markup


@dataclass(frozen=True)
class Pictures:
    """Previews of every arm and seed at the same steps: `cells[step][prompt][seed][arm]` is a data URI or None."""

    steps: tuple[int, ...]
    prompts: tuple[Heading, ...]
    cells: tuple[tuple[tuple[tuple[str | None, ...], ...], ...], ...]
    note: str


def write_experiment_page(path: Path, page: ExperimentPage) -> Path:
    """Write the page and return its path.

    Raises:
        DiskFullError: no space left; an earlier page survives.
        RunError: the file cannot be written for another reason.
    """
    write_text(path, render_experiment_page(page))
    return path


def render_experiment_page(page: ExperimentPage) -> str:
    """The page as text."""
    done = sum(one.state == "finished" for one in page.runs)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("experiment_page.html").render(
        page=page, done=done, charts=charts(page), pictures=pictures(page.runs, page.arms, page.seeds)
    )


def charts(page: ExperimentPage) -> list[Chart]:
    """The losses over each other, their difference step by step, held-out losses and drift; those that have values."""
    losses = {(one.arm, one.seed): _loss_line(page, one) for one in page.runs}
    lines = [line for line in losses.values() if line.steps]
    if not lines:
        return []
    found = [Chart("Training loss", "a line for each run, smoothed; the colour is the arm's",
                   Markup(overlay_svg(lines, label="loss", smooth=True)))]  # fmt: skip
    if page.same_order and page.loss_comparable:
        found += _difference_charts(page, losses)
    held_out = [_held_out_line(page, one) for one in page.runs]
    for title, note, measured in (
        ("Held-out loss", "pictures that are never trained, the same noise each time", held_out),
        ("Drift score", "how far the 8-step model has been bent; 0 is Turbo itself", list(page.drift)),
    ):
        if any(line.steps for line in measured):
            svg = overlay_svg(measured, label=title.lower(), smooth=False)
            found.append(Chart(title, note, Markup(svg)))
    return found


def _difference_charts(page: ExperimentPage, losses: dict[tuple[int, int], Line]) -> list[Chart]:
    found = []
    for arm in range(1, len(page.arms)):
        pairs = [(losses[0, seed], losses[arm, seed]) for seed in page.seeds if (arm, seed) in losses]
        lines = difference_lines([pair for pair in pairs if pair[0].steps and pair[1].steps])
        if lines:
            svg = overlay_svg(lines, label=f"loss of {page.arms[arm]} minus {page.arms[0]}", smooth=False, zero=True)
            note = "same pictures and noise in both, so only the settings are left; a line for each seed, smoothed"
            found.append(Chart(f"Loss of {page.arms[arm]} minus {page.arms[0]}", note, Markup(svg)))
    return found


def _loss_line(page: ExperimentPage, shown: RunShown) -> Line:
    rows = [row for row in read_metrics(shown.run.metrics) if column([row], "loss")]
    return Line(_name(page, shown), shown.arm, [row["step"] for row in rows], [row["loss"] for row in rows])


def _held_out_line(page: ExperimentPage, shown: RunShown) -> Line:
    rows = read_rows(shown.run.validation)
    return Line(_name(page, shown), shown.arm, [row["step"] for row in rows], [row["loss"] for row in rows])


def _name(page: ExperimentPage, shown: RunShown) -> str:
    return f"{page.arms[shown.arm]}, seed {shown.seed}"


def pictures(runs: Sequence[RunShown], arms: Sequence[str], seeds: Sequence[int]) -> Pictures | None:
    """The previews of all runs at the steps that every run with pictures has; None where there are none."""
    drawn = {(one.arm, one.seed): find_previews(one.run) for one in runs}
    drawn = {place: previews for place, previews in drawn.items() if previews.steps}
    if not drawn:
        return None
    shared = sorted(set.intersection(*(set(previews.steps) for previews in drawn.values())))
    steps_of_all = shared or sorted({step for previews in drawn.values() for step in previews.steps})
    headings = run_headings(read_object(next(one.run for one in runs if (one.arm, one.seed) in drawn).manifest))
    num_prompts = min(_MOST_PROMPTS, max(previews.num_prompts for previews in drawn.values()))
    most_steps = max(2, min(_MOST_STEPS, _MOST_PICTURES // (num_prompts * len(drawn))))
    steps = thinned(steps_of_all, most_steps)
    paths = {
        (step, prompt, arm, seed): path
        for (arm, seed), previews in drawn.items()
        for (step, prompt), path in previews.paths.items()
        if step in steps and prompt < num_prompts
    }
    uris = embed_pictures(list(paths.values()), PICTURE_BUDGET_BYTES)

    def uri(step: int, prompt: int, arm: int, seed: int) -> str | None:
        path = paths.get((step, prompt, arm, seed))
        return None if path is None else uris.get(path)

    cells = tuple(
        tuple(
            tuple(tuple(uri(step, prompt, arm, seed) for arm in range(len(arms))) for seed in seeds)
            for prompt in range(num_prompts)
        )
        for step in steps
    )
    note = "" if len(steps) == len(steps_of_all) else f"{len(steps)} of {len(steps_of_all)} steps are shown."
    prompts = tuple(headings[number] if number < len(headings) else Heading("") for number in range(num_prompts))
    return Pictures(steps, prompts, cells, note)
