"""Compare: runs or checkpoints beside each other, by curves, pictures, figures, and what their configs differ in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from nicegui import ui

from slipstream.config.differences import Difference
from slipstream.reports.facts import duration
from slipstream.runs.layout import RunDir
from slipstream.web.pages.page import Page
from slipstream.web.parts.browser import Column, CompareWall, LossChart
from slipstream.web.parts.cards import card, empty_state
from slipstream.web.parts.frame import frame
from slipstream.web.parts.live import while_visible
from slipstream.web.parts.run_row import run_address
from slipstream.web.parts.run_state import loss_text, pace_text, state_text
from slipstream.web.parts.say import say
from slipstream.web.services.comparison import MOST, Compared, Item, address_of, existing, figures, read_items
from slipstream.web.services.config_differences import several
from slipstream.web.services.run_look import look_at_run
from slipstream.web.services.runs import list_runs
from slipstream.web.studio import Studio
from slipstream.web.theme import SERIES

_SECONDS = 3.0


def register(studio: Studio) -> None:
    """Declare the page."""

    @ui.page("/compare")
    async def compare(runs: str = "") -> None:
        with frame(studio, "compare", wide=True):
            runs_dir = studio.settings.runs_dir
            items, missing = await asyncio.to_thread(existing, runs_dir, read_items(runs))
            names = [one.name for one in await asyncio.to_thread(list_runs, runs_dir)]
            _chooser(items, names)
            if missing:
                ui.label(say("compare.missing", names=", ".join(missing))).classes("s-note").props('role="alert"')
            if not items:
                _nothing(bool(names))
                return
            await _Comparison(studio, items).build()


PAGE = Page("compare", "/compare", "compare", register)


def _chooser(items: Sequence[Item], names: Sequence[str]) -> None:
    """The items with a way to take each away, and a box that adds one."""
    with ui.row().classes("r-filters"):
        colours = _colours(items)
        for item in items:
            others = [one for one in items if one != item]
            with ui.element("span").classes("r-item"):
                ui.element("span").classes("r-swatch").style(f"background: {colours[item.run]}")
                ui.link(_label(item), run_address(item.run)).classes("r-run-link")
                take = ui.button(icon="close", on_click=lambda others=others: ui.navigate.to(address_of(others)))
                take.props("flat round dense size=sm").props["aria-label"] = say("compare.remove", name=_label(item))
        if len(items) < MOST and names:
            add = ui.select(
                [name for name in names if Item(name) not in items],
                label=say("compare.add"), with_input=True,
                on_change=lambda event: ui.navigate.to(address_of([*items, Item(event.value)])),
            )  # fmt: skip
            add.props("outlined dense").classes("r-filter-state")


def _colours(items: Sequence[Item]) -> dict[str, str]:
    """Each run's colour, the same in curves and headings; its checkpoints share it."""
    names = dict.fromkeys(item.run for item in items)
    return {name: SERIES[index % len(SERIES)] for index, name in enumerate(names)}


def _label(item: Item) -> str:
    return item.run if item.step is None else f"{item.run} @ {item.step:,}"


def _nothing(any_runs: bool) -> None:
    with empty_state("compare", say("compare.none"), say("compare.none_text")):
        if not any_runs:
            ui.button(say("runs.new"), on_click=lambda: ui.navigate.to("/new")).props("no-caps unelevated")


@dataclass
class _Comparison:
    """The parts of the page; curves and pictures of runs that go on are kept up."""

    studio: Studio
    items: tuple[Item, ...]
    runs: list[RunDir] = field(default_factory=list)

    async def build(self) -> None:
        """Everything, then a look now and then while a run goes on."""
        names = list(dict.fromkeys(item.run for item in self.items))
        self.runs = [RunDir(self.studio.settings.runs_dir / name) for name in names]
        curves, pictures, going_on = await asyncio.to_thread(self._versions)
        with card(say("compare.curves")):
            self.chart = LossChart(names, version=curves)
        with card(say("compare.pictures"), note=say("compare.pictures_note")):
            colours = _colours(self.items)
            shown = [Column(item.run, _label(item), item.step, colours[item.run]) for item in self.items]
            self.wall = CompareWall(shown, version=pictures)
        found = await asyncio.to_thread(lambda: [figures(run, self.studio.metrics) for run in self.runs])
        with card(say("compare.figures")):
            _figures(found)
        with card(say("compare.differences"), note=say("compare.differences_note")):
            _differences(names, await asyncio.to_thread(several, self.runs))
        if going_on:
            while_visible(_SECONDS, self.look)

    def _versions(self) -> tuple[float, int, bool]:
        looks = [look_at_run(run) for run in self.runs]
        curves = sum(look.curves_version for look in looks)
        return curves, sum(look.previews_version for look in looks), any(look.running for look in looks)

    async def look(self) -> None:
        """Tell curves and pictures what is new."""
        curves, pictures, _ = await asyncio.to_thread(self._versions)
        self.chart.now(version=curves)
        self.wall.now(version=pictures)


def _figures(found: Sequence[Compared]) -> None:
    rows = {
        "state": [state_text(one.state) for one in found],
        "step": [f"{one.step:,}" for one in found],
        "loss": [loss_text(one.loss) for one in found],
        "best_validation": [loss_text(one.best_validation) for one in found],
        "pace": [pace_text(one.seconds_per_step) for one in found],
        "time": [duration(one.total_seconds) if one.total_seconds else "–" for one in found],
        "memory": [f"{one.memory_gib:.2f} GiB" if one.memory_gib else "–" for one in found],
        "rank": [str(one.rank or "–") for one in found],
        "images": [str(one.images or "–") for one in found],
    }
    named = [(say(f"compare.figure_{name}"), tuple(values)) for name, values in rows.items()]
    _table([one.run for one in found], [row for row in named if set(row[1]) != {"–"}])


def _differences(names: Sequence[str], found: Sequence[Difference]) -> None:
    if len(names) < 2:
        ui.label(say("compare.one_run")).classes("s-note")
    elif not found:
        ui.label(say("compare.no_differences")).classes("s-note")
    else:
        _table(names, [(one.setting, one.values) for one in found], mono=True)


def _table(names: Sequence[str], rows: Sequence[tuple[str, tuple[str, ...]]], *, mono: bool = False) -> None:
    """A table with a column for each run."""
    with ui.element("div").classes("r-table-box").props('tabindex="0"'), ui.element("table").classes("r-table"):
        with ui.element("thead"), ui.element("tr"):
            ui.element("td")
            for name in names:
                with ui.element("th").props('scope="col"'):
                    ui.label(name)
        with ui.element("tbody").classes("s-mono" if mono else ""):
            for title, values in rows:
                with ui.element("tr"):
                    with ui.element("th").props('scope="row"'):
                        ui.label(title)
                    for value in values:
                        with ui.element("td"):
                            ui.label(value)
