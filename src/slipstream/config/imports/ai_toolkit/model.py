"""`model:` of a job file: architecture, name, training adapter, and the precision of the frozen weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipstream.config.imports.reading import dtype, group, number, weight_format
from slipstream.config.imports.rules import Spot, Table, decide, lacking, skip
from slipstream.config.variants import NO_ADAPTER, VARIANTS, variant_named
from slipstream.core.errors import ConfigError

ARCHES = {"zimage:turbo": "turbo", "zimage:deturbo": "de_turbo", "zimage:de_turbo": "de_turbo", "zimage": None}
"""`arch` of the Z-Image family -> variant; None where the name has to tell."""

_OFFLOADING = "quantization.layer_offloading"
_OTHER_MODEL = skip("for another model family")
_VERSIONS = {path: name for name, path in VARIANTS["turbo"].adapters.items()}


def is_z_image(model: Mapping[str, Any]) -> bool:
    """Whether a `model:` group means a base that can be trained here."""
    arch = str(model.get("arch") or "").lower()
    return arch in ARCHES or (not arch and variant_named(str(model.get("name_or_path") or "")) is not None)


def variant_of_job(model: Mapping[str, Any]) -> str:
    """The variant: a well-known name decides, then the architecture, then whether there is a training adapter."""
    named = variant_named(str(model.get("name_or_path") or ""))
    by_arch = ARCHES.get(str(model.get("arch") or "").lower())
    return named or by_arch or ("turbo" if model.get("assistant_lora_path") else "base")


def refuse_family(model: Mapping[str, Any], where: str) -> ConfigError:
    """The error for a job that trains another model family."""
    what = model.get("arch") or next((key for key, on in model.items() if key.startswith("is_") and on), None)
    return ConfigError(
        f"this job trains {what or 'an unknown model'} ({model.get('name_or_path')!r}), and slipstream trains Z-Image",
        where=where,
        fix="to train the same data and settings on Z-Image add model.name_or_path=Tongyi-MAI/Z-Image-Turbo "
        "(or ostris/Z-Image-De-Turbo, Tongyi-MAI/Z-Image).",
    )


@decide("model.variant")
def _arch(spot: Spot) -> None:
    if not is_z_image(spot.group):
        return spot.ignore("another model family; the base was given on the command line", matters=True)
    variant = variant_of_job(spot.group)
    by_arch = ARCHES.get(str(spot.value).lower())
    if by_arch is not None and by_arch != variant:
        why = f"model.name_or_path is {VARIANTS[variant].label}, which decides"
        return spot.put("model.variant", variant, why, matters=True)
    spot.put("model.variant", variant)


@decide("model.name_or_path", "model.variant")
def _name(spot: Spot) -> None:
    if not is_z_image(spot.group):
        return spot.ignore("another model family; the base was given on the command line", matters=True)
    if not spot.value:
        return spot.ignore("empty: the variant's own repository is used")
    spot.put("model.name_or_path", spot.value)
    spot.also("model.variant", variant_of_job(spot.group))


@decide("model.training_adapter")
def _adapter(spot: Spot) -> None:
    if not is_z_image(spot.group):
        return spot.ignore("an adapter of another model family", matters=bool(spot.value))
    if variant_of_job(spot.group) != "turbo":
        why = "only Turbo takes a training adapter: De-Turbo and Base are not distilled"
        return spot.ignore(why, matters=bool(spot.value))
    if not spot.value:
        return spot.put(
            "model.training_adapter", "v2",
            "the file trains Turbo without an adapter, which undoes its 8 steps; "
            f"write {NO_ADAPTER} to do so all the same", matters=True,
        )  # fmt: skip
    name = _VERSIONS.get(str(spot.value), str(spot.value))
    spot.put("model.training_adapter", name, "the same file by its short name" if name != spot.value else "")


@decide("model.extras_from")
def _extras(spot: Spot) -> None:
    if not spot.value or not is_z_image(spot.group) or spot.value == spot.group.get("name_or_path"):
        return spot.ignore("the base's own parts")
    if spot.value == VARIANTS[variant_of_job(spot.group)].extras_repo:
        return spot.ignore("where they come from anyway")
    spot.put("model.extras_from", spot.value)


def _precision(target: str, switch: str, kind: str) -> Any:
    """A rule for a `quantize` switch or its type: both together decide one precision."""

    def act(spot: Spot) -> None:
        is_type = spot.name == kind
        if not spot.group.get(switch, spot.group.get("quantize") if switch == "quantize_te" else False):
            if is_type:
                return spot.ignore("its switch is off")
            return spot.put(target, _unquantized(spot.root), "not quantized: bf16 on a GPU")
        name = spot.group.get(kind) or "qfloat8"
        found = weight_format(name)
        if found is None:
            why = f"{name!r} is not known here; float8 is used"
            return spot.put(target, "float8", why, matters=True)
        if is_type:
            spot.also(target, found)
            if "|" in str(name):
                return spot.put(target, found, "the accuracy recovery adapter is for another trainer", matters=True)
            return spot.put(target, found, "" if found == name else _nearest(str(name), found))
        spot.put(target, found, f"with {kind} {name}; auto is full quality and faster where it fits (from 24 GB)")

    return decide(target)(act)


@decide("quantization.layer_offloading")
def _offloading(spot: Spot) -> None:
    """Layers in host memory: blocks that stream, where they can."""
    if not spot.value:
        return spot.ignore("off in the file too")
    kept = weight_format(spot.group.get("qtype") or "qfloat8") if spot.group.get("quantize") else "bf16"
    kind = str(group(spot.root, "network").get("type") or "lora").lower()
    if kept in ("int8", "nf4") or kind != "lora":
        why = f"blocks stream here with bf16 or float8 weights and a plain LoRA, not with {kept} and {kind}"
        return spot.ignore(why, matters=True)
    spot.put(_OFFLOADING, _percent(spot.group), "a percentage of the blocks, streamed ahead of their use")


@decide("quantization.layer_offloading")
def _offloading_share(spot: Spot) -> None:
    """The share of the transformer that `layer_offloading` moves."""
    if not (spot.group.get("layer_offloading") or spot.group.get("auto_memory")):
        return spot.ignore("its switch is off")
    spot.merged(_OFFLOADING, _percent(spot.group), "a percentage of the blocks")


def _percent(model: Mapping[str, Any]) -> int:
    share = number(model.get("layer_offloading_transformer_percent", 1.0))
    return max(0, min(100, round(100 * float(share))))


def _unquantized(root: Mapping[str, Any]) -> str:
    """Precision of weights that are not quantized: what `train.dtype` says."""
    return "fp32" if dtype(group(root, "train").get("dtype", "bf16")) == "fp32" else "auto"


def _nearest(name: str, found: str) -> str:
    return "the same" if name.removeprefix("q") == found else f"the nearest to {name}"


MODEL: Table = {
    "name_or_path": _name,
    "arch": _arch,
    "assistant_lora_path": _adapter,
    "extras_name_or_path": _extras,
    "quantize": _precision("quantization.transformer", "quantize", "qtype"),
    "qtype": _precision("quantization.transformer", "quantize", "qtype"),
    "quantize_te": _precision("quantization.text_encoder", "quantize_te", "qtype_te"),
    "qtype_te": _precision("quantization.text_encoder", "quantize_te", "qtype_te"),
    "dtype": skip("train.dtype decides there too"),
    "low_vram": skip("a way of loading there, with the same result; here memory is saved by quantization"),
    "layer_offloading": _offloading,
    "auto_memory": _offloading,
    "layer_offloading_transformer_percent": _offloading_share,
    "layer_offloading_text_encoder_percent": skip("the text encoder is alone on the GPU here while it is needed"),
    "lora_path": lacking("a LoRA merged into the base before training; target.start_from goes on training one"),
    "inference_lora_path": lacking("a LoRA for previews only; previews here are what the LoRA's user will get"),
    "unconditional_lora_path": lacking("a LoRA for the negative prompt only"),
    "accuracy_recovery_adapter": lacking("an adapter against errors of that trainer's quantization"),
    "quantize_kwargs": lacking("which modules are quantized is fixed here"),
    "quantized_model_id": lacking("weights that are quantized already; the base is quantized while loading here"),
    "quantized_te_id": lacking("weights that are quantized already; the base is quantized while loading here"),
    "compile": skip("compiled or not, the result is the same"),
    "block_compile": skip("compiled or not, the result is the same"),
    "compile_mode": skip("compiled or not, the result is the same"),
    "compile_fullgraph": skip("compiled or not, the result is the same"),
    "compile_dynamic": skip("compiled or not, the result is the same"),
    "cache_size_limit": skip("compiled or not, the result is the same"),
    "model_kwargs": lacking("options for another model family"),
    "model_paths": lacking("parts of the model by path; use model.name_or_path and model.extras_from"),
    "vae_path": lacking("the VAE comes with the base, or from model.extras_from"),
    "te_name_or_path": lacking("the text encoder comes with the base, or from model.extras_from"),
    "unet_path": lacking("the transformer is model.name_or_path"),
    "refiner_name_or_path": _OTHER_MODEL,
    "refiner_start_at": _OTHER_MODEL,
    "ignore_if_contains": lacking("network.network_kwargs chooses modules of the LoRA"),
    "only_if_contains": lacking("network.network_kwargs chooses modules of the LoRA"),
    "split_model_over_gpus": lacking("one GPU holds the model here"),
    "split_model_other_module_param_count_scale": skip("belongs to split_model_over_gpus"),
    "attn_masking": _OTHER_MODEL,
    "use_flux_cfg": _OTHER_MODEL,
    "latent_space_version": _OTHER_MODEL,
    "in_context": lacking("training with reference pictures"),
    "vae_device": skip("parts are loaded when they are needed here, and freed afterwards"),
    "te_device": skip("parts are loaded when they are needed here, and freed afterwards"),
    "vae_dtype": skip("the VAE is always fp32 or bf16 here"),
    "te_dtype": skip("quantization.text_encoder decides"),
    "text_encoder_bits": _OTHER_MODEL,
    "unet_sample_size": _OTHER_MODEL,
    "experimental_xl": _OTHER_MODEL,
    "use_text_encoder_1": _OTHER_MODEL,
    "use_text_encoder_2": _OTHER_MODEL,
    **{
        f"is_{name}": _OTHER_MODEL
        for name in (
            "flux", "xl", "v2", "v3", "v_pred", "pixart", "pixart_sigma", "auraflow", "lumina2", "ssd", "vega",
        )
    },
}  # fmt: skip
