"""A grid of thousands of pictures in a browser: it fetches a list and keeps only what is in view in the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from nicegui.element import Element
from nicegui.events import GenericEventArguments

from slipstream.web.parts.say import say


class PictureGrid(Element, component="picture_grid.js"):
    """The grid; a subclass because NiceGUI ties a component's script to a class."""

    def __init__(
        self,
        source: str,
        pictures: str,
        *,
        on_open: Callable[[str], Awaitable[None]],
        on_selection: Callable[[Sequence[str]], None],
        on_loaded: Callable[[int], None],
    ) -> None:
        """Show a list.

        Args:
            source: the address of the list: objects with `f` (path), `v` (version), `c` (caption), `m` (has a mask).
            pictures: the address below which `thumbnail?file=` answers.
            on_open: told of a picture that is clicked on.
            on_selection: told of all pictures that are selected, whenever that changes.
            on_loaded: told how many pictures a list that arrived has.
        """
        super().__init__()
        self._props["source"] = source
        self._props["pictures"] = pictures
        keys = ("label", "select", "masked", "uncaptioned")
        self._props["texts"] = {key: say(f"dataset.grid_{key}") for key in keys}

        async def opened(event: GenericEventArguments) -> None:
            await on_open(str(event.args["file"]))

        self.on("open", opened)
        self.on("selection", lambda event: on_selection([str(file) for file in event.args["files"]]))
        self.on("loaded", lambda event: on_loaded(int(event.args["total"])))

    def show(self, source: str) -> None:
        """Show another list, or the same one anew."""
        if self._props["source"] == source:
            self.run_method("load")
        else:
            self._props["source"] = source
            self.update()

    def caption(self, captions: Mapping[str, str]) -> None:
        """Show other captions below pictures."""
        self.run_method("patch", dict(captions))

    def select_all(self) -> None:
        """Select every picture of the list."""
        self.run_method("selectAll")

    def select_none(self) -> None:
        """Select none."""
        self.run_method("clear")
