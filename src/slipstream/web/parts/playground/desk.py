"""What the parts of the playground's form share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from slipstream.web.parts.playground.state import PlaygroundState
from slipstream.web.services.playground.devices import DrawingDevice
from slipstream.web.settings import StudioSettings


@dataclass(frozen=True)
class Offered:
    """What can be chosen."""

    bases: list[str]
    runs: list[str]
    files: list[str]
    devices: list[DrawingDevice]


@dataclass
class Desk:
    """One open page: what is filled in, what can be chosen, and how the form is built anew."""

    settings: StudioSettings
    state: PlaygroundState
    offered: Offered
    rebuild: Callable[[], None] = lambda: None
    on_change: list[Callable[[], None]] = field(default_factory=list)

    def changed(self) -> None:
        """Something was filled in that other parts show."""
        for act in self.on_change:
            act()
