"""The loading phases before training: captions, latents, transformer. Each frees what the next does not need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.dropout import Dropout
from slipstream.adapters.inject import inject_fresh, select_targets
from slipstream.adapters.kinds import Recipe
from slipstream.adapters.patterns import places
from slipstream.adapters.training_adapter import TrainingAdapter, attach_training_adapter, no_training_adapter
from slipstream.config.target import block_numbers
from slipstream.config.variants import adapter_source
from slipstream.data.crops import View
from slipstream.data.dataset import Example
from slipstream.data.encode import count_missing_captions, count_missing_latents, encode_captions, encode_latents
from slipstream.data.loader import cached_features, cached_latents, fresh_latents
from slipstream.models.z_image.family import release_memory
from slipstream.models.z_image.latents import ImageCodec
from slipstream.models.z_image.text import TextEncoder
from slipstream.precision.placing import count_quantized, weight_bytes
from slipstream.training.reporter import Reporter
from slipstream.training.setting import Setting

KIND_LABELS = {"lora": "LoRA", "lokr": "LoKr", "loha": "LoHa", "dora": "DoRA", "oft": "OFT"}
Features = Callable[[str], Tensor]
Latents = Callable[[Example, View], Tensor]


def prepare_features(setting: Setting, reporter: Reporter) -> Features:
    """Caption -> features (tokens, T): from the disk cache, or from a text encoder that stays loaded."""
    identity = setting.model.text_identity
    use = setting.config.training.text_encoder
    if use == "keep":
        with reporter.phase("load text encoder"):
            encoder = setting.model.load_text_encoder()
        reporter.log("text encoder: stays loaded, captions are encoded at every step (training.text_encoder keep)")
        return _one_at_a_time(encoder)
    missing = count_missing_captions(setting.captions, identity, setting.text_cache)
    if missing:
        with reporter.phase("load text encoder"):
            encoder = setting.model.load_text_encoder()
        with reporter.phase("encode captions", missing) as tick:
            encode_captions(setting.captions, encoder.encode, identity, setting.text_cache, tick)
        del encoder
        release_memory()
    reporter.log(
        f"captions: {len(setting.captions)} needed, {missing} encoded now, the rest from the cache; text encoder freed"
    )
    if use == "unload":
        alone = ", ".join(repr(caption) if caption else "no words" for caption in setting.dataset.captions())
        reporter.log(f"captions: not learned, every picture is trained on {alone} (training.text_encoder unload)")
    return cached_features(setting.text_cache, identity)


def _one_at_a_time(encoder: TextEncoder) -> Features:
    """Caption -> features by a resident encoder; the loader's thread and previews take turns."""
    turn = Lock()

    def features(caption: str) -> Tensor:
        with turn:
            return encoder.encode([caption])[0]

    return features


def prepare_latents(setting: Setting, reporter: Reporter) -> tuple[Latents, ImageCodec | None]:
    """(Example, view) -> latents, and the image codec where previews or uncached pictures need it."""
    identity = setting.model.latent_identity
    dataset, cache = setting.dataset, setting.latent_cache
    missing = count_missing_latents(dataset, identity, cache)
    uncached = any(not example.cache_latents for example in dataset.examples)
    codec = None
    if missing or uncached or setting.pictures:
        with reporter.phase("load VAE"):
            codec = setting.model.load_codec()
    if missing and codec is not None:
        with reporter.phase("encode pictures", missing) as tick:
            encode_latents(dataset, codec.encode, identity, cache, tick)
    reporter.log(
        f"latents: {missing} encoded now, the rest from the cache" + (", some at every step" if uncached else "")
    )
    cached = cached_latents(cache, identity)
    if not uncached or codec is None:
        return cached, codec
    fresh = fresh_latents(codec.encode)
    return (lambda example, view: (cached if example.cache_latents else fresh)(example, view)), codec


@dataclass(frozen=True)
class Adapted:
    """The frozen transformer with its training adapter (active) and the trainable LoRA."""

    transformer: nn.Module
    adapter: TrainingAdapter
    lora: BranchSet


def prepare_transformer(setting: Setting, reporter: Reporter) -> Adapted:
    """Load the transformer, attach the training adapter, inject the LoRA."""
    with reporter.phase("load transformer"):
        transformer = setting.model.load_transformer()
    for line in quantization_lines(transformer, setting.compute.transformer_scheme):
        reporter.log(line)
    adapter = no_training_adapter()
    if setting.adapter is not None:
        adapter = attach_training_adapter(transformer, setting.adapter, adapter_source(setting.config.model))
        reporter.log(f"training adapter: {adapter.matched}")
    names = chosen_modules(setting, transformer)
    lora = new_lora(setting, transformer, names)
    reporter.log(describe_lora(setting, lora))
    return Adapted(transformer, adapter, lora)


def chosen_modules(setting: Setting, transformer: nn.Module) -> list[str]:
    """Names of the linears that TARGET means.

    Raises:
        AdapterError: a pattern, a part or a block means nothing in this model.
    """
    target = setting.config.target
    return select_targets(
        transformer, target.parts, target.target_modules, exclude=target.exclude_modules,
        blocks=block_numbers(target.blocks),
    )  # fmt: skip


def new_lora(setting: Setting, transformer: nn.Module, names: list[str]) -> BranchSet:
    """The trainable LoRA of TARGET beside these linears.

    Raises:
        AdapterError: the kind does not fit one of them.
    """
    target = setting.config.target
    recipe = Recipe(
        kind=target.type,
        rank=target.rank,
        alpha=alpha_of(setting),
        dropout=Dropout(target.dropout, target.rank_dropout, target.module_dropout),
        lokr_factor=target.lokr_factor,
        lokr_full_rank=target.lokr_full_rank,
    )
    return inject_fresh(transformer, names, recipe, seed=setting.config.job.seed)


def describe_lora(setting: Setting, lora: BranchSet) -> str:
    """One line: kind, number of modules, rank, alpha, parameters, and where they are."""
    target = setting.config.target
    count = sum(parameter.numel() for parameter in lora.parameters())
    strength = "no limit" if target.type == "oft" and target.alpha is None else f"alpha {alpha_of(setting):g}"
    return (
        f"{KIND_LABELS[target.type]}: {len(lora.branches)} modules, rank {target.rank}, {strength}, "
        f"{count:,} parameters ({places(lora.branches)})"
    )


def quantization_lines(transformer: nn.Module, scheme: str | None) -> list[str]:
    """What became of the transformer's weights, where they are quantized."""
    if scheme is None:
        return []
    packed, linears = count_quantized(transformer)
    return [
        f"transformer: {packed} of {linears} linears in {scheme}, {weight_bytes(transformer) / 2**30:.2f} GiB of "
        "weights (embedders, adaLN, norms and the final layer are not quantized)",
        f"previews are drawn with these {scheme} weights, as the LoRA is trained on them; tools that load the base in "
        "bf16 draw slightly different pictures",
    ]


def alpha_of(setting: Setting) -> float:
    """The LoRA's alpha; unset it is the rank, which makes the scale 1, and for an OFT 0, which is no limit."""
    target = setting.config.target
    if target.alpha is None:
        return 0.0 if target.type == "oft" else float(target.rank)
    return target.alpha
