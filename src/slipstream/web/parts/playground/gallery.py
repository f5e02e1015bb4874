"""What the playground has drawn: a Vue component that reads through the REST API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from slipstream.web.parts.browser import BROWSER, viewer_texts
from slipstream.web.parts.say import say

GALLERY_TEXTS = (
    "cancel", "reuse", "remove", "remove_sure", "progress", "stopped", "waiting", "step_is", "loading_is", "steps_are",
    "seed_is", "with_lora", "without_lora", "split", "enlarge", "grid_title", "more", "none", "none_text", "nobody",
    "nobody_note", "no_model", "queued", "stays_until", "give_back", "axis_weight", "axis_checkpoint", "axis_seed",
    "axis_steps", "axis_guidance", "axis_prompt", "phase_start", "phase_find_model", "phase_download",
    "phase_load_text_encoder", "phase_encode_captions", "phase_load_transformer", "phase_load_vae", "phase_load_loras",
    "phase_draw", "finished_lora",
)  # fmt: skip


class PlaygroundGallery(ui.element, component=BROWSER / "playground_gallery.js"):
    """Drawings, the newest first; `on_reuse` gets the form of the one whose settings shall be used again."""

    def __init__(self, on_reuse: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._props["newest"] = ""
        self._props["texts"] = {name: say(f"playground.{name}") for name in GALLERY_TEXTS}
        own = {"prompt": say("playground.viewer_row"), "keys": say("playground.viewer_keys")}
        self._props["viewer-texts"] = {**viewer_texts(), **own}
        self.on("reuse", lambda event: on_reuse(event.args))

    def look(self, newest: str) -> None:
        """There is a new drawing."""
        self._props["newest"] = newest
        self.update()
