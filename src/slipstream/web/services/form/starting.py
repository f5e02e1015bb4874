"""What a new job starts from: a preset, a run, a job, another trainer's file; and the switch between bases."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from slipstream.config.job import folder_name
from slipstream.config.presets import PRESET_GROUPS, list_presets, preset_text
from slipstream.config.variants import VARIANTS, is_tiny, tiny_name
from slipstream.web.services.form.concise import concise
from slipstream.web.services.form.draft import Draft, changed, draft_of, left_out, read_draft, told_anew
from slipstream.web.services.form.values import MISSING

PLACEHOLDER = "path/to/your/pictures"
"""Where presets have the folder that is still to be chosen."""


@dataclass(frozen=True)
class PresetChoice:
    """A preset: its group, its first line, and what it says below it."""

    name: str
    group: str
    title: str
    text: str


def preset_choices() -> list[PresetChoice]:
    """All presets in their order."""
    group_of = {name: group for group, names in PRESET_GROUPS.items() for name in names}
    return [PresetChoice(name, group_of[name], title, _about(name)) for name, title in list_presets()]


def _about(name: str) -> str:
    lines = preset_text(name).splitlines()[1:]
    comments = [line.removeprefix("#").strip() for line in lines[: lines.index("")]]
    return " ".join(line for line in comments if line)


def from_preset(name: str, *, keep: Draft | None = None, trigger_word: str = "", taken: Collection[str] = ()) -> Draft:
    """A preset under a name that is free, with what a person chose so far: pictures, trigger word, and name.

    Raises:
        ConfigError: there is no such preset.
    """
    draft = read_draft(preset_text(name))
    preset_name = str(draft.given("job.name"))
    kept_name = None if keep is None else keep.given("job.name")
    chosen = kept_name if isinstance(kept_name, str) and not _is_presets(kept_name, "job.name") else preset_name
    draft = changed(draft, "job.name", free_name(chosen, taken))
    kept_word = "" if keep is None else keep.given("job.trigger_word")
    word = kept_word if isinstance(kept_word, str) and not _is_presets(kept_word, "job.trigger_word") else ""
    if word := word or trigger_word:
        draft = changed(draft, "job.trigger_word", word)
    folder = MISSING if keep is None else keep.given("datasets.0.path")
    return told_anew(draft, "datasets.0.path", folder if isinstance(folder, str) and folder != PLACEHOLDER else "")


def _is_presets(value: str, path: str) -> bool:
    """Whether a preset stands for this value, so that nobody chose it."""
    known = {read_draft(preset_text(name)).given(path) for names in PRESET_GROUPS.values() for name in names}
    return value in known or re.sub(r"_\d+$", "", value) in known


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or the next that is free: `anna`, `anna_2`, `anna_3`."""
    name = folder_name(name)
    if name not in taken:
        return name
    stem, number = re.sub(r"_\d+$", "", name), 2
    while f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"


def taken_names(runs_dir: Path) -> frozenset[str]:
    """Names of folders in the runs folder."""
    try:
        return frozenset(path.name for path in runs_dir.iterdir())
    except OSError:
        return frozenset()


def as_copy(text: str, taken: Collection[str]) -> Draft:
    """Another run's or job's config under a name that is free, without what belongs to that run alone."""
    draft = left_out(shortened(read_draft(text)), "job.output_dir")
    name = draft.given("job.name")
    return changed(draft, "job.name", free_name(name if isinstance(name, str) else "my_lora", taken))


def shortened(draft: Draft) -> Draft:
    """A draft that says everything, as runs and jobs do, with nothing but what differs from the defaults."""
    return draft if draft.unreadable is not None or "#" in draft.text else draft_of(concise(draft.values))


def with_variant(draft: Draft, variant: str) -> Draft:
    """The draft on another base: its repository, its adapter or none, and previews as the table of variants has them.

    Settings of previews that are left out stay left out, since then they follow the base anyway.
    """
    facts = VARIANTS[variant]
    name = draft.given("model.name_or_path")
    tiny = isinstance(name, str) and is_tiny(name)
    draft = told_anew(draft, "model.variant", variant)
    draft = told_anew(draft, "model.name_or_path", tiny_name(variant) if tiny else facts.default_repo)
    if not facts.uses_training_adapter:
        draft = left_out(draft, "model.training_adapter")
    if draft.given("sample.steps") is not MISSING:
        draft = told_anew(draft, "sample.steps", facts.preview_steps)
    if draft.given("sample.guidance_scale") is not MISSING:
        draft = told_anew(draft, "sample.guidance_scale", facts.guidance_scale)
    return draft
