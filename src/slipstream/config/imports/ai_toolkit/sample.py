"""`sample:` of a job file: prompts in either shape, their flags, sizes, steps and guidance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slipstream.config.imports.ai_toolkit.model import variant_of_job
from slipstream.config.imports.ai_toolkit.steps import in_updates
from slipstream.config.imports.reading import group, multiple_of_16, number, text
from slipstream.config.imports.rules import Items, Rule, Spot, Table, decide, lacking, skip, take
from slipstream.config.prompts import ALIASES, FLAGS

_GUIDANCE = "their scale g means prediction + g * (prediction - negative), which is a CFG of g + 1"
_TURBO_GUIDANCE = "Turbo has its guidance baked in: 0 is what it is used with"
_TURBO_STEPS = "9 meant 8 forwards there (the last did nothing); here 8 steps are 8 forwards"
_CONTROL = lacking("previews from reference pictures")
_VIDEO = skip("for video models")


def _variant(root: Mapping[str, Any]) -> str:
    return variant_of_job(group(root, "model"))


def cfg_of(guidance: Any, variant: str) -> tuple[Any, str]:
    """The same guidance as CFG, and why."""
    value = number(guidance)
    if not isinstance(value, int | float):
        return value, ""
    if variant == "turbo":
        return 0, "" if value == 0 else _TURBO_GUIDANCE
    return (0, "") if value <= 0 else (value + 1, _GUIDANCE)


def steps_of(steps: Any, variant: str) -> tuple[Any, str]:
    """The same number of forwards, and why."""
    value = number(steps)
    return (8, _TURBO_STEPS) if variant == "turbo" and value == 9 else (value, "")


def _guidance(target: str) -> Rule:
    def act(spot: Spot) -> None:
        value, why = cfg_of(spot.value, _variant(spot.root))
        spot.put(target, value, why)

    return decide(target)(act)


def _num_steps(target: str) -> Rule:
    def act(spot: Spot) -> None:
        value, why = steps_of(spot.value, _variant(spot.root))
        spot.put(target, value, why)

    return decide(target)(act)


def _seed(target: str) -> Rule:
    def act(spot: Spot) -> None:
        value = number(spot.value)
        if value is None or (isinstance(value, int) and value < 0):
            return spot.ignore("another one each time there; here previews keep their noise, so they can be compared")
        spot.put(target, value)

    return decide(target)(act)


def _side(target: str) -> Rule:
    return take(target, multiple_of_16, "a multiple of 16")


@decide("sample.prompts")
def _prompts(spot: Spot) -> None:
    if not spot.value:
        return spot.ignore("empty: no previews")
    if _is_disabled(spot):
        return spot.ignore("train.disable_sampling is on")
    if "samples" in spot.group:
        return spot.ignore("samples stand beside it and decide")
    prompts = spot.value if isinstance(spot.value, list) else [spot.value]
    result = [with_flags(str(prompt), _variant(spot.root)) for prompt in prompts]
    changed = any(len(prompt) > 1 for prompt in result)
    spot.put("sample.prompts", result, "flags in the text became settings of the prompt" if changed else "")


def _is_disabled(spot: Spot) -> bool:
    return bool(group(spot.root, "train").get("disable_sampling"))


_READ: Mapping[str, Callable[[Any], Any]] = {"width": multiple_of_16, "height": multiple_of_16, "negative_prompt": str}


def with_flags(prompt: str, variant: str | None) -> dict[str, Any]:
    """A prompt's text with `--w 512` and the like taken out of it, as settings of a prompt.

    Guidance and steps are translated as the variant needs it; None leaves them. Flags that mean nothing for a picture
    of Z-Image (`--gr`, `--frames`) are dropped, as every other text after `--` was dropped there.
    """
    first, *flags = prompt.split("--")
    result: dict[str, Any] = {"prompt": first.strip()}
    for flag in flags:
        name, _, value = flag.strip().partition(" ")
        if (setting := FLAGS.get(ALIASES.get(name, name))) is not None:
            result[setting] = _READ.get(setting, number)(value.strip())
    if variant is not None and "guidance_scale" in result:
        result["guidance_scale"] = cfg_of(result["guidance_scale"], variant)[0]
    if variant is not None and "steps" in result:
        result["steps"] = steps_of(result["steps"], variant)[0]
    if isinstance(result.get("seed"), int) and result["seed"] < 0:
        del result["seed"]
    return result


@decide("sample.prompts.0.prompt")
def _prompt(spot: Spot) -> None:
    if _is_disabled(spot):
        return spot.ignore("train.disable_sampling is on")
    parts = with_flags(text(spot.value), _variant(spot.root))
    flags = {name: value for name, value in parts.items() if name != "prompt"}
    for name, value in flags.items():
        spot.also(f"sample.prompts.0.{name}", value)
    spot.put("sample.prompts.0.prompt", parts["prompt"], "flags became settings of the prompt" if flags else "")


def _unless_disabled(rule: Rule) -> Rule:
    def act(spot: Spot) -> None:
        if _is_disabled(spot):
            return spot.ignore("train.disable_sampling is on")
        rule.act(spot)

    return Rule(act, rule.targets)


_SAMPLES: Table = {
    "prompt": _prompt,
    **{
        name: _unless_disabled(rule)
        for name, rule in {
            "width": _side("sample.prompts.0.width"),
            "height": _side("sample.prompts.0.height"),
            "seed": _seed("sample.prompts.0.seed"),
            "neg": take("sample.prompts.0.negative_prompt", text),
            "guidance_scale": _guidance("sample.prompts.0.guidance_scale"),
            "sample_steps": _num_steps("sample.prompts.0.steps"),
            "network_multiplier": take("sample.prompts.0.lora_scale", number),
        }.items()
    },
    "fps": _VIDEO,
    "num_frames": _VIDEO,
    "ctrl_img": _CONTROL,
    "ctrl_img_1": _CONTROL,
    "ctrl_img_2": _CONTROL,
    "ctrl_img_3": _CONTROL,
    "ctrl_idx": skip("belongs to ctrl_img"),
    "do_cfg_norm": lacking("guidance is not rescaled"),
}

SAMPLE: Table = {
    "sampler": lacking("previews take the model's own Euler path", "flowmatch"),
    "sample_every": in_updates("sample.every"),
    "sample_start_step": lacking("previews are drawn from the beginning on"),
    "width": _side("sample.width"),
    "height": _side("sample.height"),
    "prompts": _prompts,
    "samples": Items(_SAMPLES),
    "neg": take("sample.negative_prompt", text),
    "seed": _seed("sample.seed"),
    "walk_seed": take("sample.walk_seed"),
    "guidance_scale": _guidance("sample.guidance_scale"),
    "sample_steps": _num_steps("sample.steps"),
    "network_multiplier": lacking(
        "previews show the LoRA at full strength; a prompt's lora_scale changes that", 1, 1.0
    ),
    "guidance_rescale": lacking("guidance is not rescaled"),
    "format": skip("previews are PNG files, which hold their settings"),
    "adapter_conditioning_scale": skip("for other adapters"),
    "refiner_start_at": skip("for another model family"),
    "extra_values": lacking("values for other adapters"),
    "num_frames": _VIDEO,
    "fps": _VIDEO,
    "do_cfg_norm": lacking("guidance is not rescaled"),
}


def tidy_prompts(settings: dict[str, Any]) -> None:
    """Write prompts without settings of their own as plain text; drop what has settings and no text."""
    sample = settings.get("sample")
    if not isinstance(sample, dict) or not isinstance(sample.get("prompts"), list):
        return
    given = [prompt for prompt in sample["prompts"] if isinstance(prompt, dict) and prompt.get("prompt")]
    sample["prompts"] = [prompt["prompt"] if list(prompt) == ["prompt"] else prompt for prompt in given]
