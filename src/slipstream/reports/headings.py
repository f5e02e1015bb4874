"""What stands above a column of previews: the prompt, whether it asks for the trigger, and what is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WITH_TRIGGER = "with the trigger word"
WITHOUT_TRIGGER = "without it: should stay as it was, or the LoRA leaks"


@dataclass(frozen=True)
class Heading:
    """A prompt's column. `has_trigger` None: the run has no trigger word; `note`: what differs from other prompts."""

    text: str
    note: str = ""
    has_trigger: bool | None = None

    @property
    def mark(self) -> str:
        """The short form of the legend."""
        return "" if self.has_trigger is None else "trigger" if self.has_trigger else "no trigger"


def headings_of(pictures: Sequence[Mapping[str, Any]]) -> list[Heading]:
    """One heading a picture, from its facts as the manifest holds them; what all share is left out of the notes."""
    sizes = {(picture.get("width"), picture.get("height")) for picture in pictures}
    varied = {name: len({picture.get(name) for picture in pictures}) > 1 for name in ("steps", "guidance_scale")}
    found = []
    for picture in pictures:
        notes = [] if picture.get("lora_scale", 1) == 1 else [f"LoRA x {picture['lora_scale']:g}"]
        if len(sizes) > 1:
            notes.append(f"{picture['width']} x {picture['height']}")
        if varied["steps"]:
            notes.append(f"{picture['steps']} steps")
        if varied["guidance_scale"]:
            notes.append(f"CFG {picture['guidance_scale']:g}")
        found.append(Heading(str(picture.get("prompt", "")), " · ".join(notes), picture.get("has_trigger")))
    return found


def run_headings(manifest: Mapping[str, Any]) -> list[Heading]:
    """The headings of a run's previews, from its manifest; one of an earlier version holds the prompts alone."""
    sample = manifest.get("sample") or {}
    if pictures := sample.get("pictures"):
        return headings_of(pictures)
    return [Heading(str(prompt)) for prompt in sample.get("prompts") or []]
