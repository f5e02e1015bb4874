"""The card of a run's ranking: the checkpoint to take, what speaks for it, and a job that finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import quote

from nicegui import ui

from slipstream.reports.scatter import Mark, scatter_svg
from slipstream.runs.layout import RunDir
from slipstream.web.parts.cards import bar, card
from slipstream.web.parts.notices import told
from slipstream.web.parts.run_state import phase_name
from slipstream.web.parts.say import say
from slipstream.web.services.ranking_jobs import RankedCheckpoint, RankingLook, look_at_ranking, start_ranking
from slipstream.web.studio import Studio

_COLUMNS = ("step", "strength", "drift", "leak", "memorised", "score")


class RankingCard:
    """The card; `look` shows what has changed."""

    def __init__(self, studio: Studio, run: RunDir) -> None:
        self._studio, self._run = studio, run
        self._seen: RankingLook | None = None
        with card(say("run.ranking")):
            self._box = ui.element("div").classes("r-stack")

    async def look(self) -> None:
        """Show how the ranking stands now."""
        self._show(await asyncio.to_thread(look_at_ranking, self._studio.settings, self._run))

    def _show(self, look: RankingLook) -> None:
        if look == self._seen:
            return
        self._seen = look
        self._box.clear()
        with self._box:
            if look.rows:
                self._result(look)
            else:
                ui.label(say("run.ranking_none")).classes("s-note")
            self._job(look)

    def _result(self, look: RankingLook) -> None:
        ui.label(say("run.ranking_take", step=f"{look.step:,}", weight=f"{look.weight or 1:g}")).classes("r-strong")
        best = next((row for row in look.rows if row.chosen), None)
        if best is not None:
            light = say(f"run.light_{best.light}")
            ui.label(
                say("run.ranking_why", strength=f"{best.strength:.0%}", drift=f"{best.drift:.0f}", light=light,
                    leak=f"{best.leak:.0%}", memorised=f"{best.memorised:.0%}")
            ).classes("s-note")  # fmt: skip
        with ui.element("div").classes("r-ranking"):
            ui.html(picture(look.rows), sanitize=False).classes("r-scatter")
            with ui.element("div").classes("r-ranking-scroll"):
                _table(look.rows)
        if look.newer:
            ui.label(say("run.ranking_newer")).classes("s-note")
        if look.has_page:
            address = f"/api/runs/{quote(self._run.name, safe='')}/ranking/page"
            ui.link(say("run.ranking_page"), address, new_tab=True).classes("r-link")

    def _job(self, look: RankingLook) -> None:
        job = look.job
        if job is not None and job.active:
            share = job.done / job.total if job.total else 0.0
            with ui.element("div").classes("r-bar"):
                ui.label(f"{phase_name(job.phase)} {job.done} / {job.total}" if job.total else say("run.ranking_waits"))
                ui.link(say("run.waits"), "/queue").classes("r-link")
            bar(share, say("run.ranking"))
            return
        if job is not None and job.state == "failed":
            ui.label(job.message).classes("r-message s-mono")
        if look.num_checkpoints or look.rows:
            text = say("run.ranking_again") if look.rows else say("run.ranking_start")
            with ui.element("div").classes("r-bar"):
                ui.button(text, icon="leaderboard", on_click=self._start).props("no-caps outline")
                ui.label(f"slipstream rank {self._run.path}").classes("s-mono s-note r-grow")

    async def _start(self) -> None:
        with told():
            self._show(await asyncio.to_thread(start_ranking, self._studio.settings, self._run))


def picture(rows: Sequence[RankedCheckpoint]) -> str:
    """Strength against drift, a mark a checkpoint, as SVG."""
    labelled = {rows[0].step, rows[-1].step}
    marks = [
        Mark(
            x=row.drift, y=row.strength, label=f"{row.step}" if row.chosen or row.step in labelled else "",
            tooltip=f"{row.step}: {row.strength:.0%}, {row.drift:.0f}", light=row.light, dominated=row.dominated,
            chosen=row.chosen,
        )
        for row in rows
    ]  # fmt: skip
    return scatter_svg(
        marks, x_label=say("run.ranking_drift"), y_label=say("run.ranking_strength"), percent_x=False
    )  # fmt: skip


def _table(rows: Sequence[RankedCheckpoint]) -> None:
    with ui.element("table").classes("r-ranking-table"):
        with ui.element("thead"), ui.element("tr"):
            for name in _COLUMNS:
                with ui.element("th").props('scope="col"'):
                    ui.label(say(f"run.ranking_{name}"))
        with ui.element("tbody"):
            for row in rows:
                cells = (f"{row.step:,}", f"{row.strength:.0%}", f"{row.drift:.0f}", f"{row.leak:.0%}",
                         f"{row.memorised:.0%}", f"{row.score:.2f}")  # fmt: skip
                kind = "r-ranking-chosen" if row.chosen else "r-ranking-beaten" if row.dominated else ""
                with ui.element("tr").classes(kind):
                    for text in cells:
                        with ui.element("td"):
                            ui.label(text)
