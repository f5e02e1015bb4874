"""The model card of a run's LoRA: what it is, how it looks, how to use it. The licence is left to its maker."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipstream.reports.facts import read_object
from slipstream.reports.headings import Heading, run_headings
from slipstream.reports.pictures import find_previews, picture_text
from slipstream.reports.usage import usage
from slipstream.runs.layout import RunDir

_MOST_PICTURES = 6
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_PACKAGED = "tiny/"


@dataclass(frozen=True)
class Example:
    """A preview that the card shows: its file, its place in the repository, its prompt."""

    path: Path
    name: str
    heading: Heading


def examples_of(run: RunDir) -> list[Example]:
    """A few previews of the newest step, those that ask for the trigger word first."""
    headings = run_headings(read_object(run.manifest))
    previews = find_previews(run, len(headings))
    if not previews.steps:
        return []
    drawn = [
        (heading, path)
        for number, heading in enumerate(headings)
        if (path := previews.paths.get((previews.steps[-1], number)))
    ]
    drawn.sort(key=lambda pair: pair[0].has_trigger is False)
    return [
        Example(path, f"images/preview_{number}.png", heading)
        for number, (heading, path) in enumerate(drawn[:_MOST_PICTURES])
    ]


def model_card(run: RunDir, lora: Path, repo: str, examples: Sequence[Example]) -> str:
    """The text of README.md for a repository that holds this LoRA and these pictures."""
    manifest, metadata = read_object(run.manifest), lora_metadata(lora)
    front = yaml.safe_dump(_front_matter(manifest, metadata, examples), sort_keys=False, allow_unicode=True, width=1000)
    parts = [
        f"---\n{front}---\n\n# {run.name}\n",
        _opening(manifest, metadata),
        _pictures(examples),
        _use(manifest, metadata, run.lora.name, repo, examples),
        _training(manifest, metadata),
        "## Licence\n\nNone is set: add `license:` to the head of this card. Whatever you choose, the licence of the "
        "base model holds too.\n",
    ]
    return "\n".join(part for part in parts if part)


def lora_metadata(path: Path) -> dict[str, str]:
    """The metadata in the head of a safetensors file; empty where it has none or cannot be read."""
    try:
        with path.open("rb") as handle:
            size = int.from_bytes(handle.read(8), "little")
            head = json.loads(handle.read(min(size, 100_000_000)))
    except (OSError, ValueError):
        return {}
    found = head.get("__metadata__") if isinstance(head, dict) else None
    return {str(key): str(value) for key, value in (found or {}).items()}


def _base_model(manifest: Mapping[str, Any]) -> str | None:
    """The hub id of the base, without its revision; None for a folder, a file, or the packaged family."""
    model = manifest.get("model") or {}
    name = str((model.get("origins") or {}).get("transformer") or model.get("name") or "")
    if name.partition("@")[0].endswith(".safetensors") and name.count("/") > 1 and not name.startswith((".", "/", "~")):
        name = "/".join(name.split("/")[:2])  # a transformer in one file of a repository
    if not _HUB_ID.fullmatch(name) or name.startswith(_PACKAGED) or Path(name).exists():
        return None
    return name.partition("@")[0]


def _front_matter(
    manifest: Mapping[str, Any], metadata: Mapping[str, str], examples: Sequence[Example]
) -> dict[str, Any]:
    front: dict[str, Any] = {}
    if base := _base_model(manifest):
        front |= {"base_model": base, "base_model_relation": "adapter"}
    front |= {"library_name": "diffusers", "pipeline_tag": "text-to-image"}
    if trigger := metadata.get("modelspec.trigger_phrase"):
        front["instance_prompt"] = trigger
    front["tags"] = ["lora", "text-to-image", "diffusers", "z-image", "slipstream"]
    if examples:
        front["widget"] = [{"text": one.heading.text, "output": {"url": one.name}} for one in examples]
    return front


def _opening(manifest: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    label = (manifest.get("model") or {}).get("label") or "Z-Image"
    lines = [f"A {_kind(metadata)} for {label.split(' (')[0]}, trained with slipstream."]
    if trigger := metadata.get("modelspec.trigger_phrase"):
        lines.append(f"Trigger word: `{trigger}`. Put it into the prompt.")
    return "\n\n".join(lines) + "\n"


def _kind(metadata: Mapping[str, str]) -> str:
    names = {"lora": "LoRA", "lokr": "LoKr", "loha": "LoHa", "dora": "DoRA", "oft": "OFT adapter"}
    return names.get(metadata.get("adapter_type", "lora"), "LoRA")


def _pictures(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    rows = [f"| ![]({one.name}) | {_cell(one.heading.text)}{_remark(one.heading)} |" for one in examples]
    return "\n".join(["| picture | prompt |", "|---|---|", *rows]) + "\n"


def _remark(heading: Heading) -> str:
    notes = [
        note for note in (heading.note, "without the trigger word" if heading.has_trigger is False else "") if note
    ]
    return f" ({', '.join(notes)})" if notes else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _use(
    manifest: Mapping[str, Any], metadata: Mapping[str, str], file: str, repo: str, examples: Sequence[Example]
) -> str:
    drawn = picture_text(examples[0].path) if examples else {}
    how = usage(repo, manifest, drawn)
    if how is None:
        return ""
    lines = [
        "## Use\n",
        f"ComfyUI: copy `{file}` to `ComfyUI/models/loras`; sampler euler, {how.steps} steps, cfg {how.cfg:g}, "
        "strength 0.6 to 1.0.",
    ]
    if metadata.get("training_adapter", "none") != "none":
        lines.append("It was trained with a training adapter, which is no part of it: load none.")
    return "\n\n".join([*lines, f"```python\n{how.code}```\n"])


def _training(manifest: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    data = manifest.get("dataset") or {}
    facts = {
        "updates": metadata.get("steps"),
        "rank": metadata.get("rank"),
        "alpha": metadata.get("alpha"),
        "images": data.get("num_images"),
        "training adapter": metadata.get("training_adapter"),
        "slipstream": metadata.get("slipstream_version"),
    }
    rows = [f"| {name} | {_cell(str(value))} |" for name, value in facts.items() if value]
    table = "\n".join(["## Training\n", "| | |", "|---|---|", *rows]) + "\n"
    if not (config := metadata.get("config")):
        return table
    return f"{table}\n<details><summary>All settings</summary>\n\n```yaml\n{config.rstrip()}\n```\n\n</details>\n"
