"""Preview pictures of a run by step and prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slipstream.reports.facts import read_object
from slipstream.reports.headings import run_headings
from slipstream.reports.pictures import find_previews, find_weights, picture_text
from slipstream.runs.layout import RunDir
from slipstream.web.problems import missing


@dataclass(frozen=True)
class PreviewPrompt:
    """A column of the grid. `has_trigger` is None where the run has no trigger word; `note`: what is its own."""

    text: str
    note: str
    has_trigger: bool | None


@dataclass(frozen=True)
class PreviewGrid:
    """Which pictures there are: `steps` by `prompts`, without the cells in `missing` [(step, prompt)].

    `version` changes with every new picture.
    """

    steps: tuple[int, ...]
    prompts: tuple[PreviewPrompt, ...]
    missing: tuple[tuple[int, int], ...]
    num_pictures: int
    version: int
    weights: tuple[float, ...]
    """LoRA weights of the newest sweep, where one was drawn; its pictures are of `weights_step`."""
    weights_step: int | None


def preview_grid(run: RunDir) -> PreviewGrid:
    """The pictures that a run has drawn, from their names alone."""
    headings = run_headings(read_object(run.manifest))
    found = find_previews(run, len(headings))
    texts = [PreviewPrompt(one.text, one.note, one.has_trigger) for one in headings]
    texts += [PreviewPrompt("", "", None)] * (found.num_prompts - len(texts))
    cells = [(step, prompt) for step in found.steps for prompt in range(found.num_prompts)]
    sweep = find_weights(run)
    return PreviewGrid(
        steps=found.steps,
        prompts=tuple(texts),
        missing=tuple(cell for cell in cells if cell not in found.paths),
        num_pictures=len(found.paths),
        version=_version(run),
        weights=() if sweep is None else sweep.scales,
        weights_step=None if sweep is None else sweep.step,
    )


def _version(run: RunDir) -> int:
    try:
        return run.previews.stat().st_mtime_ns
    except OSError:
        return 0


def preview_path(run: RunDir, step: int, prompt: int) -> Path:
    """The file of a picture.

    Raises:
        RefusedError: there is none (404).
    """
    return _there(run, run.preview_image(step, prompt), f"step {step}, prompt {prompt}")


def weight_path(run: RunDir, step: int, lora_scale: float, prompt: int) -> Path:
    """The file of a picture at another LoRA weight.

    Raises:
        RefusedError: there is none (404).
    """
    where = f"step {step}, weight {lora_scale:g}, prompt {prompt}"
    return _there(run, run.weight_image(step, lora_scale, prompt), where)


def _there(run: RunDir, path: Path, where: str) -> Path:
    if path.is_symlink() or not path.is_file():
        raise missing("such preview", where=f"{run.name}, {where}", fix="see the list of previews.")
    return path


def preview_facts(path: Path) -> dict[str, str]:
    """How a picture was drawn (prompt, seed, steps, size), as its file tells."""
    return picture_text(path)
