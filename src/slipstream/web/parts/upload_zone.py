"""Sending files from a browser into a dataset: dropped on the page or chosen, folders and zips too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nicegui.element import Element

from slipstream.web.parts.say import say

_TAKEN = [".jpg", ".jpeg", ".png", ".webp", ".txt", ".zip"]


@dataclass(frozen=True)
class Uploaded:
    """What became of an upload: counts, and (file, why, what to do) of what was refused."""

    pictures: int
    captions: int
    unchanged: int
    refused: tuple[tuple[str, str, str | None], ...]


class UploadZone(Element, component="upload_zone.js"):
    """The zone; a subclass because NiceGUI ties a component's script to a class."""

    def __init__(self, target: str, *, on_finished: Callable[[Uploaded], None], on_arrived: Callable[[], None]) -> None:
        """Take files for an address.

        Args:
            target: where they are posted.
            on_finished: told what became of all of them.
            on_arrived: told whenever some have arrived.
        """
        super().__init__()
        self._props["target"] = target
        self._props["taken"] = _TAKEN
        keys = ("drop", "files", "folder", "uploading", "stop", "not_taken", "lost")
        self._props["texts"] = {key: say(f"dataset.upload_{key}") for key in keys}
        self.on("finished", lambda event: on_finished(_uploaded(event.args)))
        self.on("arrived", lambda _: on_arrived())

    def opens(self, *, folder: bool) -> str:
        """The script of a click that opens the browser's choice of files or of a folder; browsers open it only
        within the click itself."""
        return f"() => getElement({self.id}).pick({str(folder).lower()})"


def _uploaded(report: dict[str, Any]) -> Uploaded:
    refused = tuple((str(one["file"]), str(one["message"]), one.get("fix")) for one in report["refused"])
    return Uploaded(int(report["pictures"]), int(report["captions"]), int(report["unchanged"]), refused)
