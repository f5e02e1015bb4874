"""`caption`: captions by a vision-language model, beside the pictures."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

from rich.markup import escape

from slipstream.cli.screen import out
from slipstream.core.errors import ConfigError

if TYPE_CHECKING:
    from slipstream.captioning.request import CaptionRequest, Overwrite

STOPPED = 130


def caption_command(request: CaptionRequest) -> int:
    """Caption the pictures and show each caption; Ctrl+C stops after the batch. Returns the exit code."""
    from slipstream.captioning.work import caption_pictures, pictures_to_caption

    pictures = pictures_to_caption(request)
    if not pictures:
        out.print("every picture has a caption already; --overwrite all writes them anew")
        return 0
    from slipstream.captioning.model import load_captioner

    stopping = _stop_on_interrupt()
    captioner = load_captioner(request.model, request.device, request.dtype)
    out.print(f"[dim]{escape(captioner.about)}; {len(pictures)} pictures[/dim]")
    written = 0
    for done in caption_pictures(request, pictures, captioner.answers, stopping.is_set):
        written += not done.skipped
        text = f"[yellow]{escape(done.skipped)}[/yellow]" if done.skipped else escape(done.after)
        out.print(f"[bold]{escape(done.file)}[/bold]  {text}")
    out.print(f"{written} captions written; read and edit them before you train")
    return STOPPED if stopping.is_set() else 0


def parse_overwrite(text: str) -> Overwrite:
    """The policy.

    Raises:
        ConfigError: it is none.
    """
    if text == "empty":
        return "empty"
    if text == "all":
        return "all"
    raise ConfigError(f"got {text!r}, expected empty or all", where="--overwrite")


def _stop_on_interrupt() -> threading.Event:
    """Set by the first Ctrl+C; the second ends the command at once."""
    stopping = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    signal.signal(signal.SIGINT, on_signal)
    return stopping
