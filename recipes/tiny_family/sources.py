"""The emoji artwork behind the tiny family: npm packages at pinned versions, with the licences they state."""

from __future__ import annotations

from dataclasses import dataclass

NAMES_PACKAGE = "emojibase-data@17.0.0"  # MIT: the names of the emoji


@dataclass(frozen=True)
class ArtSet:
    """One set: its npm package, the word captions use for its style, and how it may be used."""

    package: str
    version: str
    style: str
    licence: str
    held_out: bool = False

    @property
    def spec(self) -> str:
        """The npm spec."""
        return f"@iconify-json/{self.package}@{self.version}"


ART_SETS = (
    ArtSet("noto", "1.2.9", "noto", "Apache-2.0"),
    ArtSet("noto-v1", "1.2.5", "blob", "Apache-2.0"),
    ArtSet("twemoji", "1.2.5", "twemoji", "CC-BY-4.0"),
    ArtSet("fluent-emoji-flat", "1.2.6", "flat", "MIT"),
    ArtSet("fluent-emoji", "1.2.7", "glossy", "MIT"),
    ArtSet("emojione", "1.2.3", "classic", "CC-BY-4.0"),
    ArtSet("fluent-emoji-high-contrast", "1.2.6", "monochrome", "MIT", held_out=True),
    ArtSet("fxemoji", "1.2.2", "foxy", "Apache-2.0 (package); artwork CC-BY-4.0 (Mozilla)", held_out=True),
)

HELD_OUT_CONCEPTS = (
    "robot", "octopus", "dragon", "dragon face", "rocket", "penguin", "cactus", "ghost", "snowman", "teapot",
)  # fmt: skip
"""Concepts that no model of the family has seen: subjects for character and concept LoRAs."""

DROPPED_GROUPS = (2, 8, 9)  # components, symbols, flags (emojibase group numbers)
SIZE = 128
