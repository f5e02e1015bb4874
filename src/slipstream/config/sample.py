"""SAMPLE: the previews drawn while training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictFloat, StrictInt

from slipstream.config.panel import PANEL, GivenPath
from slipstream.config.prompts import GuidanceScale, PreviewSteps, Prompt, Seed, Side, read_prompts

SweepScale = Annotated[StrictFloat, Field(ge=0, le=2)]


def _each_once(scales: tuple[float, ...]) -> tuple[float, ...]:
    """Each weight once, in rising order."""
    if len(set(scales)) < len(scales):
        raise ValueError(f"got {list(scales)}, expected each weight once")
    return tuple(sorted(scales))


class SamplePanel(BaseModel):
    """SAMPLE: prompts and settings of the previews. Let them match the base: left out, they do."""

    model_config = PANEL

    every: Annotated[StrictInt, Field(ge=0)] = 250
    """Draw the previews every this many steps; 0 draws them only at the end.

    Unit: updates.
    Change it when: previews take long beside the updates; the same number as save.every gives each checkpoint its row.
    """

    prompts: tuple[Prompt, ...] = ()
    """What to draw: each a text, a text with flags (`a fox --w 832 --d 7`), or a group with settings of its own. 5-10
    prompts of real use, and a couple without the trigger. None draws nothing.

    Careful: without prompts that lack the trigger you cannot see whether the LoRA leaks into everything else.
    """

    prompts_file: GivenPath | None = None
    """More prompts from a file: one a line (`#` begins a comment), or a list in `.json` or `.yaml`. It is read when the
    config is: the run's own config holds the prompts and no file.

    Change it when: several configs share their prompts, or you bring a prompt file from another trainer.
    """

    negative_prompt: str = ""
    """What to steer away from; it acts only where guidance is on.

    Change it when: you preview De-Turbo or Base the way you will use them.
    Careful: on Turbo guidance is off, so this does nothing there.
    """

    width: Side = 1024
    """Width of the previews.

    Unit: pixels, a multiple of 16.
    Change it when: you will draw in another shape, or the card is small (768).
    """

    height: Side = 1024
    """Height of the previews.

    Unit: pixels, a multiple of 16.
    Change it when: you will draw in another shape, or the card is small (768).
    """

    steps: PreviewSteps | None = None
    """Denoising steps of a preview. Left out: 8 for Turbo, 25 for De-Turbo, 40 for Base.

    Careful: more than 8 on Turbo hide that a LoRA has damaged its 8-step drawing.
    """

    guidance_scale: GuidanceScale | None = None
    """Guidance in the CFG sense; 0 or 1 is off. Left out: 0 for Turbo, 2.5 for De-Turbo, 4 for Base.
    Diffusers' own argument for Z-Image is this value minus 1.

    Formula: negative + guidance_scale * (positive - negative).
    Careful: Turbo has guidance baked in; with more its previews burn out.
    """

    seed: Seed = 42
    """Seed of the previews' noise; it stays the same from step to step, so previews can be compared.

    Change it when: the base draws a prompt badly with this one; the picture at step 0 shows it.
    Careful: another seed in a second run makes its previews incomparable with the first's.
    """

    walk_seed: StrictBool = False
    """Give each prompt its own noise: seed, seed + 1, seed + 2 and so on, by its place in the list. A prompt with a
    seed of its own keeps it, and the others theirs.

    Change it when: all previews share one composition, which one seed tends to give.
    """

    at_start: StrictBool = True
    """Draw the previews before the first step too, to see the base without the LoRA. Off, the first set comes with
    `every`.

    Change it when: you know the base's pictures already and want to start sooner.
    Careful: without them leaks and drift have nothing to be compared with.
    """

    lora_scales: Annotated[tuple[SweepScale, ...], AfterValidator(_each_once)] = ()
    """Weights at which every prompt is drawn once more at the end, such as [0.4, 0.6, 0.8, 1.0, 1.2]: a sheet and a
    section of the report show which weight to use. None draws no such sweep.

    Formula: W + weight * (alpha / rank) * B A.
    Change it when: the LoRA is strong at 1 and you want to know how far to turn it down.
    Careful: it draws prompts x weights pictures.
    """


def with_prompts_file(config: Mapping[str, Any], base_dir: Path | None) -> Mapping[str, Any]:
    """A config's plain values with the prompts of SAMPLE's file behind its own, so that they lie in the config itself.

    Raises:
        ConfigError: the file cannot be read, or one of its prompts is not understood.
    """
    panel = config.get("sample")
    if not isinstance(panel, Mapping) or not isinstance(name := panel.get("prompts_file"), str) or not name:
        return config
    prompts = panel.get("prompts") or []
    if not isinstance(prompts, list):
        return config
    path = Path(name).expanduser()
    found = [prompt.model_dump() for prompt in read_prompts(path if base_dir is None else base_dir / path)]
    return {**config, "sample": {**panel, "prompts": [*prompts, *found], "prompts_file": None}}
