"""What a page module hands over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slipstream.web.studio import Studio


@dataclass(frozen=True)
class Page:
    """One page of the navigation.

    Attributes:
        name: the text `nav.<name>` and what `frame` marks as the current page.
        path: its address, such as `/queue`.
        icon: a Material icon.
        register: declares its routes with `ui.page`, given the studio.
    """

    name: str
    path: str
    icon: str
    register: Callable[[Studio], None]


def has_page(name: str) -> bool:
    """Whether there is a page of this name to lead to."""
    from slipstream.web.pages.all import PAGES

    return any(page.name == name for page in PAGES)
