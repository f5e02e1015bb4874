"""Looking again while somebody looks: a page that is in a hidden tab, or away, costs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from nicegui import context, ui

_EVENT = "slipstream_visibility"
_WATCH = f"""
document.addEventListener("visibilitychange",
  () => emitEvent("{_EVENT}", document.visibilityState === "visible"));
"""


@contextmanager
def steady() -> Iterator[None]:
    """Act for the page and not for the row whose button was pressed: that may be built anew, and be gone, meanwhile."""
    with context.client.content:
        yield


def while_visible(seconds: float, look: Callable[[], Awaitable[None]]) -> ui.timer:
    """Call `look` every `seconds` while the page is visible, and at once when it is again."""
    timer = ui.timer(seconds, look, immediate=False)

    async def turned(event: object) -> None:
        visible = bool(getattr(event, "args", True))
        timer.active = visible
        if visible:
            await look()

    ui.on(_EVENT, turned)
    ui.run_javascript(_WATCH)
    return timer
