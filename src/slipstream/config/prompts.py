"""Preview prompts: plain text, text with the flags that other trainers' users know, or a group of settings."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StrictFloat,
    StrictInt,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from slipstream.config.panel import MAX_SEED, PANEL
from slipstream.config.yaml_text import read_yaml
from slipstream.core.errors import ConfigError

Side = Annotated[StrictInt, Field(ge=64, le=4096, multiple_of=16)]
PreviewSteps = Annotated[StrictInt, Field(ge=1, le=200)]
GuidanceScale = Annotated[StrictFloat, Field(ge=0, le=30)]
Seed = Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]
LoraScale = Annotated[StrictFloat, Field(ge=-4, le=4)]

FLAGS = {
    "w": "width",
    "h": "height",
    "d": "seed",
    "l": "guidance_scale",
    "s": "steps",
    "m": "lora_scale",
    "n": "negative_prompt",
}
"""The flags of kohya's, musubi-tuner's and ai-toolkit's prompt files, and what each sets here."""

ALIASES = {"width": "w", "height": "h", "seed": "d", "cfg": "l", "steps": "s", "am": "m", "network_multiplier": "m"}
"""Longer names of flags."""

_FOREIGN = {
    "g": "that is the embedded guidance of other models, which Z-Image has not; CFG is --l",
    "fs": "the shift of Z-Image's schedule is fixed by the model",
    "f": "previews are single pictures",
    "i": "previews start from noise, not from a picture",
    "ci": "previews take no control picture",
    "cn": "previews take no control picture",
    "ss": "previews use the Euler sampler",
    "ctrl_img": "previews take no control picture",
}
_FLAG = re.compile(r"(?:(?<=\s)|^)--([A-Za-z]\S*)")
_WHOLE = ("width", "height", "seed", "steps")
_HOW = "flags are " + ", ".join(f"--{flag} ({name})" for flag, name in FLAGS.items())


def split_flags(text: str) -> dict[str, Any]:
    """A prompt's text and settings: `a fox --w 512 --d 3` is `{prompt: a fox, width: 512, seed: 3}`.

    A flag is `--` and letters after a space; `--n` takes everything up to the next flag, the others one number.
    Raises ValueError for an unknown flag, a missing or bad value, and a flag given twice: nothing is ignored.
    """
    parts = _FLAG.split(text)
    settings: dict[str, Any] = {"prompt": parts[0].strip()}
    for flag, value in zip(parts[1::2], parts[2::2], strict=True):
        name = FLAGS.get(ALIASES.get(flag, flag))
        if name is None:
            reason = _FOREIGN.get(flag)
            raise ValueError(f"--{flag} is not known here{': ' + reason if reason else ''}; {_HOW}")
        if name in settings:
            raise ValueError(f"--{flag} gives {name} a second time; keep one of them")
        settings[name] = value.strip() if name == "negative_prompt" else _number(flag, name, value.strip())
    return settings


def _number(flag: str, name: str, text: str) -> int | float:
    try:
        return int(text) if name in _WHOLE else float(text)
    except ValueError:
        kind = "a whole number" if name in _WHOLE else "a number"
        raise ValueError(f"got --{flag} {text!r}, expected {kind} ({name})") from None


def prompt_settings(value: Any) -> Any:
    """What a prompt panel is made of: text becomes a group, and flags within a group's prompt become its settings.

    Raises ValueError where the value is neither, or a setting is given by a flag and by its name.
    """
    if isinstance(value, PromptPanel):
        return value
    if isinstance(value, str):
        return split_flags(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"got {value!r}, expected text (put it in quotes) or a group that begins with `prompt:`")
    if not isinstance(value.get("prompt"), str):
        return value
    flags = split_flags(value["prompt"])
    if twice := [name for name in flags if name != "prompt" and value.get(name) is not None]:
        raise ValueError(f"{twice[0]} is given twice, by its name and by a flag within the prompt; keep one of them")
    return {**value, **flags}


class PromptPanel(BaseModel):
    """One preview: a text, and whatever differs from the SAMPLE panel. Plain text is a group with `prompt` alone."""

    model_config = PANEL

    prompt: str
    """What to draw; `[trigger]` becomes the trigger word. Flags within it are read: `--w 832 --h 1216` (size),
    `--d 7` (seed), `--l 4` (CFG), `--s 20` (steps), `--m 0.8` (LoRA weight), `--n blurry` (negative prompt, up to the
    next flag).

    Careful: a flag that is not known is refused, not drawn; `--g` (embedded guidance) and `--fs` (shift) mean nothing
    to Z-Image.
    """

    width: Side | None = None
    """Width of this preview; left out: sample.width.

    Unit: pixels, a multiple of 16.
    Change it when: the LoRA will be used in several formats; portraits and landscapes break in other ways.
    """

    height: Side | None = None
    """Height of this preview; left out: sample.height.

    Unit: pixels, a multiple of 16.
    Change it when: one prompt is for a tall or a wide picture.
    """

    seed: Seed | None = None
    """Seed of this preview's noise, whatever walk_seed says; left out: the panel's.

    Change it when: two prompts are to be compared on the same noise, or one seed draws badly with the base already.
    """

    steps: PreviewSteps | None = None
    """Denoising steps of this preview; left out: sample.steps.

    Change it when: you want to see whether a LoRA for Turbo needs more than 8 steps (drift).
    """

    guidance_scale: GuidanceScale | None = None
    """CFG of this preview, 0 or 1 = off; left out: sample.guidance_scale.

    Change it when: you compare guidance on De-Turbo or Base.
    """

    negative_prompt: str | None = None
    """What this preview steers away from; left out: sample.negative_prompt. It acts only where guidance is on.

    Change it when: one prompt needs its own.
    """

    lora_scale: LoraScale | None = None
    """Weight of the LoRA in this preview; left out: 1.

    Formula: W + lora_scale * (alpha / rank) * B A.
    Change it when: the LoRA will be used at another weight, or to see the base beside it (0).
    Careful: at another weight than 1 a preview says little about the training.
    """

    @model_serializer
    def _short(self) -> str | dict[str, Any]:
        """Text where nothing but the prompt is set, so that a written config stays readable."""
        given = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        return self.prompt if len(given) == 1 else given


Prompt = Annotated[PromptPanel, BeforeValidator(prompt_settings)]
_PROMPT: TypeAdapter[PromptPanel] = TypeAdapter(Prompt)


def parse_prompt(value: Any, where: str) -> PromptPanel:
    """One prompt from outside a config: text with flags, or a group.

    Raises:
        ConfigError: it is not understood; `where` says where it stands.
    """
    try:
        return _PROMPT.validate_python(value)
    except ValidationError as error:
        raise ConfigError(
            _first_problem(error), where=where, fix="`slipstream explain sample.prompts` tells what a prompt may say."
        ) from error


def read_prompts(path: Path) -> tuple[PromptPanel, ...]:
    """The prompts of a file: `.json`, `.yaml` or `.yml` a list as in `sample.prompts`, anything else one a line.

    In a text file empty lines and lines that begin with `#` are left out.

    Raises:
        ConfigError: the file cannot be read or holds no prompts, or one of them is not understood.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            "there is no such file of prompts",
            where=str(path),
            fix="check the path: a relative one starts at the folder of the YAML file.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the prompts: {error}", where=str(path), fix="give a UTF-8 text file."
        ) from error
    if path.suffix.lower() in (".json", ".yaml", ".yml"):
        listed = read_yaml(text, str(path)) if path.suffix.lower() != ".json" else _read_json(text, path)
        if not isinstance(listed, list):
            raise ConfigError("this is no list of prompts", where=str(path), fix='write ["a fox", {prompt: ...}].')
        found = tuple(parse_prompt(value, f"{path}, prompt {number}") for number, value in enumerate(listed, 1))
    else:
        lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
        found = tuple(
            parse_prompt(line, f"{path}, line {number}") for number, line in lines if line and not line.startswith("#")
        )
    if not found:
        raise ConfigError("there is no prompt in this file", where=str(path), fix="write one prompt a line.")
    return found


def _read_json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"this is not JSON: {error}", where=str(path), fix="check quotes and commas.") from error


def _first_problem(error: ValidationError) -> str:
    """The first finding in words: the setting, what was got, what was expected."""
    finding = error.errors(include_url=False)[0]
    if finding["type"] == "value_error":
        return str(finding["ctx"]["error"])
    name = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, PromptPanel.model_fields, n=1)
        known = f"did you mean {close[0]}?" if close else f"known are: {', '.join(PromptPanel.model_fields)}"
        return f"{name}: unknown setting; {known}"
    if finding["type"] == "missing":
        return f"{name} is missing"
    expected = finding["msg"].replace("Input should be ", "expected ")
    return f"{name}: got {finding['input']!r}, {expected}"
