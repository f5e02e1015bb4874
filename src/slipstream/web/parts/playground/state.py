"""What is filled in on the playground's page, and the form that it makes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slipstream.config.variants import VARIANTS, is_tiny, variant_of
from slipstream.core.errors import ConfigError
from slipstream.web.problems import RefusedError
from slipstream.web.services.playground.form import AxisForm, DrawingForm, LoraForm
from slipstream.web.services.playground.loras import FileLora, RunBase, RunLoras, file_facts, lora_path, loras_of_run
from slipstream.web.settings import StudioSettings

FIRST_BASE = "Tongyi-MAI/Z-Image-Turbo"
TINY_SIDE, FULL_SIDE = 128, 1024
RUN, FILE = "run", "file"


@dataclass
class LoraChoice:
    """A row of the list of LoRAs. `about` is what the run or the file says of it."""

    run: str
    file: str
    weight: float = 1.0
    about: RunLoras | FileLora | None = None

    @property
    def key(self) -> str:
        """What a list of choices calls its run or file."""
        return f"{RUN}:{self.run}" if self.run else f"{FILE}:{self.file}"

    @property
    def trigger_word(self) -> str:
        """Empty where it has none."""
        return "" if self.about is None else self.about.trigger_word

    @property
    def base(self) -> RunBase | None:
        """What it was trained on, where that is known."""
        return None if self.about is None else self.about.base

    @property
    def files(self) -> list[str]:
        """The checkpoints that can be chosen."""
        return [one.file for one in self.about.checkpoints] if isinstance(self.about, RunLoras) else [self.file]


@dataclass
class AxisChoice:
    """An axis of the grid: kind and values as text, one after another with commas; "" is no axis."""

    kind: str = ""
    text: str = ""
    files: list[str] = field(default_factory=list)


@dataclass
class PlaygroundState:
    """Everything that is filled in; None is left to the variant."""

    model: str = FIRST_BASE
    variant: str | None = None
    extras_from: str | None = None
    precision: str = "auto"
    device: str = "auto"
    share_gpu: bool = False
    loras: list[LoraChoice] = field(default_factory=list)
    prompt: str = ""
    negative_prompt: str = ""
    width: int = FULL_SIDE
    height: int = FULL_SIDE
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 42
    random_seed: bool = True
    count: int = 1
    without_lora: bool = True
    with_grid: bool = False
    columns: AxisChoice = field(default_factory=AxisChoice)
    rows: AxisChoice = field(default_factory=AxisChoice)

    @property
    def facts_variant(self) -> str:
        """The variant that steps and guidance come from."""
        return self.variant or variant_of(self.model)

    @property
    def steps_now(self) -> int:
        """As filled in, else the variant's."""
        return VARIANTS[self.facts_variant].preview_steps if self.steps is None else self.steps

    @property
    def guidance_scale_now(self) -> float:
        """As filled in, else the variant's."""
        return VARIANTS[self.facts_variant].guidance_scale if self.guidance_scale is None else self.guidance_scale

    @property
    def trigger_words(self) -> list[str]:
        """Of all LoRAs, each once."""
        return list(dict.fromkeys(lora.trigger_word for lora in self.loras if lora.trigger_word))

    @property
    def num_pictures(self) -> int:
        """How many will be drawn."""
        if self.with_grid:
            return max(1, len(axis_values(self.columns))) * max(1, len(axis_values(self.rows)))
        return self.count * (2 if self.without_lora and self.loras else 1)

    def take_base(self, model: str, variant: str | None = None, extras_from: str | None = None) -> None:
        """Another base: sizes follow where they were the usual ones, steps and guidance are its own again."""
        before, after = (TINY_SIDE if is_tiny(name) else FULL_SIDE for name in (self.model, model))
        if (self.width, self.height) == (before, before):
            self.width = self.height = after
        self.model, self.variant, self.extras_from = model, variant, extras_from
        self.steps = self.guidance_scale = None


def add_lora(state: PlaygroundState, settings: StudioSettings, *, run: str = "", file: str = "") -> LoraChoice:
    """Put a LoRA into the list: a run's newest unless a file is named. The first one brings its base along.

    Raises:
        RefusedError: there is none (404).
    """
    lora = LoraChoice(run, file)
    describe(lora, settings)
    if run and not file:
        lora.file = next(iter(lora.files), "")
    state.loras.append(lora)
    base = lora.base
    if base is not None and len(state.loras) == 1:
        state.take_base(base.model, base.variant, base.extras_from or None)
        state.precision = base.precision
        if isinstance(lora.about, RunLoras):
            state.width, state.height = lora.about.width, lora.about.height
            if not state.prompt:
                state.prompt = next(iter(lora.about.prompts), "")
    return lora


def describe(lora: LoraChoice, settings: StudioSettings) -> None:
    """Have what the run or the file says of itself.

    Raises:
        RefusedError: there is none (404).
    """
    if lora.run:
        lora.about = loras_of_run(settings.runs_dir, lora.run)
    else:
        form = LoraForm(file=lora.file or "?")
        path: Path = lora_path(settings.runs_dir, settings.loras_dir, form)
        lora.about = file_facts(path)


def axis_values(axis: AxisChoice) -> list[str]:
    """The values of an axis as they stand in its field; prompts one a line, others between commas."""
    if axis.kind == "checkpoint":
        return list(axis.files)
    if not axis.kind:
        return []
    parts = axis.text.splitlines() if axis.kind == "prompt" else axis.text.replace(";", ",").split(",")
    return [part.strip() for part in parts if part.strip()]


def as_form(state: PlaygroundState) -> DrawingForm:
    """What to ask for.

    Raises:
        ConfigError: something filled in cannot be.
    """
    grid = state.with_grid
    try:
        return DrawingForm.model_validate(
            {
                "model": state.model, "variant": state.variant, "extras_from": state.extras_from,
                "precision": state.precision, "device": state.device, "share_gpu": state.share_gpu,
                "loras": [LoraForm(run=one.run, file=one.file, weight=one.weight) for one in state.loras],
                "prompt": state.prompt,
                "negative_prompt": state.negative_prompt if state.guidance_scale_now > 1 else "",
                "width": state.width, "height": state.height, "steps": state.steps,
                "guidance_scale": state.guidance_scale, "seed": None if state.random_seed else state.seed,
                "count": 1 if grid else state.count,
                "without_lora": state.without_lora and bool(state.loras) and not grid,
                "columns": _axis(state.columns) if grid else None,
                "rows": _axis(state.rows) if grid and state.rows.kind else None,
            }
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "playground"
        raise ConfigError(str(first["msg"]).removeprefix("Value error, "), where=where, fix="change it.") from error


def _axis(axis: AxisChoice) -> dict[str, Any]:
    return {"kind": axis.kind, "values": axis_values(axis)}


def from_form(value: dict[str, Any], settings: StudioSettings) -> PlaygroundState:
    """The page's state with the settings of a drawing, its seed included.

    Raises:
        ConfigError: it is no form of this version.
    """
    try:
        form = DrawingForm.model_validate(value)
    except ValidationError as error:
        raise ConfigError(
            "the settings of this drawing cannot be read any more", where="playground", fix="fill them in by hand."
        ) from error
    loras = []
    for one in form.loras:
        lora = LoraChoice(one.run, one.file, one.weight)
        with suppress(RefusedError):  # drawing says that it is gone
            describe(lora, settings)
        loras.append(lora)
    return PlaygroundState(
        model=form.model, variant=form.variant, extras_from=form.extras_from, precision=form.precision,
        device=form.device, share_gpu=form.share_gpu, loras=loras, prompt=form.prompt,
        negative_prompt=form.negative_prompt, width=form.width, height=form.height, steps=form.steps,
        guidance_scale=form.guidance_scale, seed=42 if form.seed is None else form.seed, random_seed=form.seed is None,
        count=form.count, without_lora=form.without_lora, with_grid=form.columns is not None,
        columns=_as_choice(form.columns), rows=_as_choice(form.rows),
    )  # fmt: skip


def _as_choice(axis: AxisForm | None) -> AxisChoice:
    if axis is None:
        return AxisChoice()
    values = [f"{one:g}" if isinstance(one, float) else str(one) for one in axis.values]
    if axis.kind == "checkpoint":
        return AxisChoice(axis.kind, files=values)
    return AxisChoice(axis.kind, ("\n" if axis.kind == "prompt" else ", ").join(values))
