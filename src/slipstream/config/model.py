"""MODEL: which base is trained. Each variant is a panel of its own, so only Turbo has a training adapter."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from slipstream.config.panel import PANEL
from slipstream.config.variants import NO_ADAPTER, VARIANTS, variant_named


def _fits_variant(name: str, info: ValidationInfo) -> str:
    """Refuse a well-known name under another variant: it would train and preview the wrong way."""
    meant, variant = variant_named(name), info.data.get("variant")
    if meant is not None and variant is not None and meant != variant:
        raise ValueError(
            f"{name!r} is {VARIANTS[meant].label}, but model.variant is {variant!r}; set model.variant to "
            f"{meant!r}, or leave name_or_path out for the default {VARIANTS[variant].default_repo!r}"
        )
    return name


def _adapter_given(value: Any) -> Any:
    """Training Turbo without an adapter must be asked for by name, never happen through an empty line."""
    if value in (None, "", False):
        raise ValueError(
            "got nothing, expected a training adapter: training Turbo without one undoes its distillation, "
            "and the LoRA then needs 20-30 steps and CFG instead of 8 steps. Use v2 (or remove the line); "
            f'"{NO_ADAPTER}" opts out'
        )
    return value


def _adapter_known(value: str) -> str:
    names = (*VARIANTS["turbo"].adapters, NO_ADAPTER)
    if value not in names and not value.partition("@")[0].endswith(".safetensors"):
        raise ValueError(
            f"got {value!r}, expected {', '.join(names)}, `org/repo/file.safetensors`, or the path of a "
            ".safetensors file"
        )
    return value


def _refuse_adapter(data: Any) -> Any:
    """Say why the other bases take no adapter, instead of calling the key unknown."""
    if isinstance(data, dict) and "training_adapter" in data:
        raise PydanticCustomError(
            "refused_setting",
            "only Turbo takes a training adapter: De-Turbo and Base are not distilled (any more), so there "
            "is nothing to protect; remove this line, or set model.variant to turbo",
            {"key": "training_adapter"},
        )
    return data


ModelName = Annotated[str, Field(min_length=1), AfterValidator(_fits_variant)]
AdapterName = Annotated[str, BeforeValidator(_adapter_given), AfterValidator(_adapter_known)]
ExtrasName = Annotated[str, Field(min_length=1)]


class TurboModel(BaseModel):
    """MODEL, Turbo with a training adapter: LoRAs that keep working at 8 steps. Right for most LoRAs."""

    model_config = PANEL

    variant: Literal["turbo"] = "turbo"
    """Which kind of base this is: `turbo`, `de_turbo` or `base`. Turbo keeps 8-step speed and fits most
    LoRAs.

    Change it when: the training is very long (de_turbo), or the LoRA will be used on the undistilled model (base).
    Careful: preview a LoRA on the base it is made for: Turbo with 8 steps and no guidance, De-Turbo with 20-30 steps
    and CFG 2-3, Base with 28-50 steps and CFG 3-5.
    """

    name_or_path: ModelName = VARIANTS["turbo"].default_repo
    """The base: a hub id `org/name` or `org/name@revision`, a diffusers folder, a single `.safetensors` file
    (a path, or `org/name/file.safetensors`), or `tiny/turbo` (packaged, for trying out).

    Change it when: the model lies in a folder or file of yours (ComfyUI's files are read, float8 ones too), or you
    train on a fine-tune of Turbo.
    Careful: a LoRA works best on the base it was trained on.
    """

    extras_from: ExtrasName | None = None
    """Where text encoder, tokenizer, VAE and scheduler come from if the base lacks them; normally left
    out.

    Change it when: the base is a transformer alone, as every single file is, and they are not to come from the
    variant's repository; name a complete Z-Image model here: a hub id or a diffusers folder.
    Careful: other encoders than the base was trained with give features it does not understand.
    """

    training_adapter: AdapterName = "v2"
    """De-distils Turbo while training and is removed afterwards: `v2`, `v1` (try it if v2 is unstable),
    `org/repo/file.safetensors`, or a path. `none` trains without one and breaks the 8 steps.

    Formula: while training y = W x + (adapter) + (LoRA); in previews and in use y = W x + (LoRA).
    Change it when: v2 trains noisily, drifts or leaves artefacts: train once more with v1, all else equal.
    Careful: without an adapter the LoRA soon needs 20-30 steps and CFG, which defeats Turbo.
    """


class DeTurboModel(BaseModel):
    """MODEL, De-Turbo: trained without an adapter, previewed with 20-30 steps and CFG. Right for long
    trainings."""

    model_config = PANEL

    variant: Literal["de_turbo"] = "de_turbo"
    """Which kind of base this is: `turbo`, `de_turbo` or `base`. De-Turbo suits long trainings and needs no
    adapter."""

    name_or_path: ModelName = VARIANTS["de_turbo"].default_repo
    """The base: a hub id `org/name` or `org/name@revision`, a diffusers folder, a single `.safetensors` file
    (a path, or `org/name/file.safetensors`), or `tiny/de-turbo` (packaged)."""

    extras_from: ExtrasName | None = None
    """Where text encoder, tokenizer, VAE and scheduler come from; left out they come from Turbo."""

    _no_adapter = model_validator(mode="before")(_refuse_adapter)


class UndistilledModel(BaseModel):
    """MODEL, Base: the undistilled Z-Image, previewed with 28-50 steps and CFG 3-5."""

    model_config = PANEL

    variant: Literal["base"] = "base"
    """Which kind of base this is: `turbo`, `de_turbo` or `base`. Base is the undistilled model and needs no
    adapter."""

    name_or_path: ModelName = VARIANTS["base"].default_repo
    """The base: a hub id `org/name` or `org/name@revision`, a diffusers folder, a single `.safetensors` file
    (a path, or `org/name/file.safetensors`), or `tiny/base` (packaged)."""

    extras_from: ExtrasName | None = None
    """Where text encoder, tokenizer, VAE and scheduler come from if the base lacks them; normally left
    out."""

    _no_adapter = model_validator(mode="before")(_refuse_adapter)


def _variant_of(value: Any) -> str:
    """The tag that chooses the panel; a MODEL panel without `variant` is Turbo."""
    variant = value.get("variant", "turbo") if isinstance(value, dict) else getattr(value, "variant", "turbo")
    return variant if isinstance(variant, str) else repr(variant)


ModelPanel = Annotated[
    Annotated[TurboModel, Tag("turbo")]
    | Annotated[DeTurboModel, Tag("de_turbo")]
    | Annotated[UndistilledModel, Tag("base")],
    Discriminator(_variant_of),
]
