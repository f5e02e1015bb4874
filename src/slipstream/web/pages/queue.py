"""The queue: what runs on each device, what waits for its turn, and what has ended."""

from __future__ import annotations

import asyncio

from nicegui import ui

from slipstream.web.pages.page import Page
from slipstream.web.parts.frame import frame
from slipstream.web.studio import Studio


def register(studio: Studio) -> None:
    """Declare the page; the database's library is loaded when it is first opened."""

    @ui.page("/queue")
    async def queue() -> None:
        from slipstream.jobs.devices import queue_names
        from slipstream.web.pages.queue_lanes import QueueLanes

        with frame(studio, "queue"):
            gpus = (await asyncio.to_thread(studio.machine.look)).gpus
            await QueueLanes(studio, {gpu.queue: gpu for gpu in gpus}, queue_names(gpus)).build()


PAGE = Page("queue", "/queue", "low_priority", register)
