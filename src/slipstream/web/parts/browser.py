"""Parts that work in the browser: Vue components in `web/browser/`, which read through the REST API.

NiceGUI knows a component by a class of its own, hence the subclasses; they hold nothing but properties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nicegui import ui
from nicegui.dependencies import register_esm
from nicegui.elements import echart  # its modules are what the chart draws with

from slipstream.web.parts.say import say
from slipstream.web.theme import SERIES

BROWSER = Path(__file__).parents[1] / "browser"
_MODULE = "studio"
assert echart  # imported for what it registers
register_esm(_MODULE, BROWSER, max_time=max(path.stat().st_mtime for path in BROWSER.iterdir()))

WALL_TEXTS = (
    "title", "view", "size", "mode_grid", "mode_steps", "size_small", "size_medium", "size_large", "count", "trigger",
    "no_trigger", "none", "none_running", "none_ended", "prompt", "picture", "checkpoint",
)  # fmt: skip
VIEWER_TEXTS = (
    "title", "mode", "mode_one", "mode_beside", "mode_over", "mode_difference", "gain", "mean", "original", "download",
    "close", "absent", "cut", "run", "step", "prompt", "keys",
)  # fmt: skip
COMPARE_TEXTS = (
    "title", "align", "by_step", "by_prompt", "size", "size_small", "size_medium", "size_large", "prompt", "step",
    "picture", "none", "none_text",
)  # fmt: skip
CHART_TEXTS = (
    "smoothing", "log", "more", "loss", "validation", "drift", "learning_rate", "grad_norm", "seconds", "none",
    "none_text", "step",
)  # fmt: skip
LOG_TEXTS = ("title", "search", "follow", "found", "cut", "none")


class PreviewWall(ui.element, component=BROWSER / "preview_wall.js"):
    """Previews of a run, checkpoints by prompts, with a viewer."""

    def __init__(self, run: str, *, version: int, running: bool) -> None:
        super().__init__()
        self._props.update(run=run, version=version, running=running)
        self._props["texts"] = {name: say(f"wall.{name}") for name in WALL_TEXTS}
        self._props["viewer-texts"] = viewer_texts()

    def now(self, *, version: int, running: bool) -> None:
        """Tell it what changed; it asks for the rest."""
        _set(self, version=version, running=running)


class LossChart(ui.element, component=BROWSER / "loss_chart.js"):
    """Curves of runs over each other: loss, and what else is chosen."""

    def __init__(
        self, runs: Sequence[str], *, version: float, labels: Sequence[str] = (), colours: Sequence[str] = SERIES
    ) -> None:
        """`labels`: what runs are called instead of their names; `colours` by run, repeated where there are fewer."""
        super().__init__()
        self._props["runs"] = [{"name": name, "label": label} for name, label in zip(runs, labels or runs, strict=True)]
        self._props.update(version=version, colours=list(colours))
        self._props["texts"] = {name: say(f"chart.{name}") for name in CHART_TEXTS}

    def now(self, *, version: float) -> None:
        """Tell it that there are later updates; it reads on."""
        _set(self, version=version)


@dataclass(frozen=True)
class Column:
    """A column of a comparison: a run, or with `step` one checkpoint of it."""

    run: str
    label: str
    step: int | None
    colour: str


class CompareWall(ui.element, component=BROWSER / "compare_wall.js"):
    """Previews of runs beside each other, aligned by prompt and step."""

    def __init__(self, columns: Sequence[Column], *, version: int) -> None:
        super().__init__()
        self._props["items"] = [asdict(column) for column in columns]
        self._props["version"] = version
        self._props["texts"] = {name: say(f"together.{name}") for name in COMPARE_TEXTS}
        self._props["viewer-texts"] = viewer_texts()

    def now(self, *, version: int) -> None:
        """Tell it that there are new pictures."""
        _set(self, version=version)


class LogView(ui.element, component=BROWSER / "log_view.js"):
    """The end of a run's log."""

    def __init__(self, run: str, *, running: bool) -> None:
        super().__init__()
        self._props.update(run=run, running=running)
        self._props["texts"] = {name: say(f"log.{name}") for name in LOG_TEXTS}

    def now(self, *, running: bool) -> None:
        """Tell it whether more is to come."""
        _set(self, running=running)


def viewer_texts() -> dict[str, str]:
    """What the viewer of pictures says."""
    return {name: say(f"viewer.{name}") for name in VIEWER_TEXTS}


def _set(element: ui.element, **values: object) -> None:
    """Properties that changed; one that did not is not sent again."""
    changed = {name: value for name, value in values.items() if element._props.get(name) != value}
    if changed:
        element._props.update(changed)
        element.update()
