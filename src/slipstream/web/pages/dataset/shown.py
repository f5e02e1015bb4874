"""What one open page of a dataset knows: the dataset, the filter, the selection, and changes that can be undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlencode

from slipstream.web.parts.picture_grid import PictureGrid
from slipstream.web.services.caption_edits import CaptionChange, apply_changes, undone
from slipstream.web.services.dataset_checks import found_files
from slipstream.web.services.dataset_index import Filter, index, shortened
from slipstream.web.services.dataset_notes import DatasetNotes
from slipstream.web.studio import Studio

_MOST_UNDONE = 50


@dataclass
class Shown:
    """The state of an open page. `on_change` is called when pictures or captions changed, `on_captioning`
    when a captioning job was started."""

    studio: Studio
    name: str
    folder: Path
    notes: DatasetNotes
    filter: Filter = field(default_factory=Filter)
    selected: tuple[str, ...] = ()
    total: int = 0
    changes: list[list[CaptionChange]] = field(default_factory=list)
    grid: PictureGrid | None = None
    on_change: Callable[[], None] = lambda: None
    on_captioning: Callable[[], None] = lambda: None

    @property
    def api(self) -> str:
        """The address of the dataset in the API."""
        return f"/api/datasets/{quote(self.name)}"

    def source(self) -> str:
        """The address of the list that the filter means."""
        query = {"show": self.filter.show, "text": self.filter.text, "side": min(self.notes.resolutions)}
        return f"{self.api}/index?{urlencode(query)}"

    def thumbnail(self, file: str, side: int = 256) -> str:
        """The address of a small copy of a picture."""
        return f"{self.api}/thumbnail?{urlencode({'file': file, 'side': side})}"

    def files(self) -> list[str]:
        """All pictures that the filter means; reads the folder."""
        wanted = replace(
            self.filter, side=min(self.notes.resolutions), files=found_files(self.folder, self.filter.show)
        )
        return [entry.file for entry in index(self.folder, wanted, self.studio.sizes)]

    def all_files(self) -> list[str]:
        """All pictures; reads the folder."""
        return [entry.file for entry in index(self.folder, Filter(), self.studio.sizes)]

    def reload(self) -> None:
        """Show the list as it is now."""
        if self.grid is not None:
            self.grid.show(self.source())
        self.on_change()

    def write(self, changes: Sequence[CaptionChange]) -> list[CaptionChange]:
        """Write captions, so that it can be undone, and show them.

        Raises:
            RefusedError: a caption is too long, or a picture is gone.
        """
        written = apply_changes(self.folder, changes)
        self.remember(written)
        self.show_captions(written)
        return written

    def remember(self, changes: Sequence[CaptionChange]) -> None:
        """Changes that were written and may be undone."""
        if changes:
            self.changes.append(list(changes))
            del self.changes[:-_MOST_UNDONE]

    def show_captions(self, changes: Sequence[CaptionChange]) -> None:
        """Show captions that were written."""
        if self.grid is not None and changes:
            self.grid.caption({change.file: shortened(change.after) for change in changes})
        self.on_change()

    def undo(self) -> int:
        """Take the newest change back; how many captions that were."""
        if not self.changes:
            return 0
        written = apply_changes(self.folder, undone(self.changes.pop()))
        self.show_captions(written)
        return len(written)
