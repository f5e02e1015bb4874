"""What a file of weights holds, told by its names: a Z-Image transformer or one of the things given for it by mistake.

No torch here: a wrong file is refused before anything is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from slipstream.core.errors import ModelError
from slipstream.core.tensor_file import TensorFile

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "model.")
"""What may stand before the transformer's own names: ComfyUI's checkpoints, its exports, some trainers'."""

TRANSFORMER = "a Z-Image transformer"
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_PADS = ("x_pad_token", "cap_pad_token")
_GIVE = "give a Z-Image transformer (a .safetensors with keys like `layers.0.attention...` and `x_pad_token`)"


def _some(*parts: str) -> Callable[[Iterable[str]], bool]:
    return lambda names: any(part in name for name in names for part in parts)


def _start(*parts: str) -> Callable[[Iterable[str]], bool]:
    return lambda names: any(name.startswith(parts) for name in names)


_KINDS: tuple[tuple[str, Callable[[Iterable[str]], bool]], ...] = (
    ("a LoRA", _some("lora_", ".lokr_", ".hada_", ".oft_blocks", ".dora_scale", ".lora.")),
    ("a Z-Image ControlNet", _some("control_layers.", "control_all_x_embedder")),
    ("a Flux transformer", _some("double_blocks.", "single_transformer_blocks.")),
    ("a Stable Diffusion checkpoint", _some("input_blocks.", "conditioner.embedders.", "cond_stage_model.")),
    ("a Stable Diffusion UNet", _start("down_blocks.", "unet.")),
    ("a Stable Diffusion 3 transformer", _some("joint_blocks.", "joint_transformer_blocks.")),
    ("a Qwen-Image or Wan transformer", _some("img_mod.", "transformer_blocks.", "blocks.0.cross_attn", ".attn1.")),
    ("a text encoder", _some(".self_attn.q_proj", "embed_tokens.", "text_model.", "encoder.block.")),
    ("a VAE", _start("decoder.", "encoder.", "quant_conv.", "first_stage_model.", "vae.")),
    ("a Lumina 2 transformer", _some("cap_embedder.")),
)  # fmt: skip


def prefix_of(names: Iterable[str]) -> str | None:
    """What stands before the names of a Z-Image transformer among these; None where there is none."""
    known = set(names)
    for prefix in ("", *PREFIXES):
        if all(prefix + pad in known for pad in _PADS):
            return prefix
    return None


def kind_of(names: Iterable[str]) -> str:
    """What names of weights belong to, in words."""
    known = list(names)
    if prefix_of(known) is not None:
        return TRANSFORMER
    return next((kind for kind, fits in _KINDS if fits(known)), "not a model known here")


def require_transformer(file: TensorFile, where: str) -> str:
    """The prefix of the transformer's names in a file.

    Raises:
        ModelError: it holds something else.
    """
    if _SHARD.search(file.path.stem) is not None:
        raise ModelError(
            "this is one of the several files that make up a transformer", where=where,
            fix="give the folder of the whole model: the one in which `transformer/` lies.",
        )  # fmt: skip
    prefix = prefix_of(file.tensors)
    if prefix is not None and any(name.startswith(f"{prefix}siglip_") for name in file.tensors):
        raise ModelError(
            "this is Z-Image Omni or Edit, which also looks at reference pictures", where=where,
            fix="give Turbo, De-Turbo or Base: LoRAs for Omni and Edit are not trained here.",
        )  # fmt: skip
    if prefix is not None:
        return prefix
    kind = kind_of(file.tensors)
    fix = f"{_GIVE} as model.name_or_path."
    if kind == "a LoRA":
        fix += " To go on training a LoRA set target.start_from; a training adapter is model.training_adapter."
    elif kind in ("a text encoder", "a VAE"):
        fix += " Text encoder and VAE come from model.extras_from, a folder or repository in diffusers' layout."
    shown = ", ".join(list(file.tensors)[:2])
    raise ModelError(f"this is {kind}, expected {TRANSFORMER} (its keys: {shown}, ...)", where=where, fix=fix)
