"""The loading phases before training: captions, latents, transformer. Each frees what the next does not need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.start import start_from
from slipstream.adapters.training_adapter import TrainingAdapter, attach_training_adapter, no_training_adapter
from slipstream.config.variants import adapter_source
from slipstream.core.errors import ConfigError
from slipstream.data.crops import View
from slipstream.data.dataset import Example
from slipstream.data.encode import count_missing_captions, count_missing_latents, encode_captions, encode_latents
from slipstream.data.loader import cached_features, cached_latents, fresh_latents
from slipstream.kernels.attention import PLAIN_LINE
from slipstream.models.z_image.family import MODULE_ALIASES, release_memory
from slipstream.models.z_image.latents import ImageCodec
from slipstream.models.z_image.text import TextEncoder
from slipstream.precision.placing import count_quantized, weight_bytes
from slipstream.training.device import DTYPES
from slipstream.training.fast_path import NO_KERNELS, FastPath, Kernels, can_run_fast, fast_path
from slipstream.training.folding_stage import fold_adapter, packs_to_fold
from slipstream.training.keeping import Keeping, choose_keeping
from slipstream.training.reporter import Reporter
from slipstream.training.setting import Setting
from slipstream.training.target_stage import describe_lora, new_lora

Features = Callable[[str], Tensor]
Latents = Callable[[Example, View], Tensor]


def prepare_features(setting: Setting, reporter: Reporter) -> Features:
    """Caption -> features (tokens, T): from the disk cache, or from a text encoder that stays loaded."""
    identity = setting.model.text_identity
    use = setting.config.training.text_encoder
    if use == "keep":
        with reporter.byte_phase("load text encoder") as read:
            encoder = setting.model.load_text_encoder(read)
        reporter.log("text encoder: stays loaded, captions are encoded at every step (training.text_encoder keep)")
        return _one_at_a_time(encoder)
    missing = count_missing_captions(setting.captions, identity, setting.text_cache)
    if missing:
        with reporter.byte_phase("load text encoder") as read:
            encoder = setting.model.load_text_encoder(read)
        with reporter.phase("encode captions", missing) as tick:
            encode_captions(setting.captions, encoder.encode, identity, setting.text_cache, tick, encoder.batches)
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
    datasets, cache = setting.datasets, setting.latent_cache
    missing = sum(count_missing_latents(dataset, identity, cache) for dataset in datasets)
    uncached = any(not example.cache_latents for dataset in datasets for example in dataset.examples)
    codec = None
    if missing or uncached or setting.pictures:
        with reporter.phase("load VAE"):
            codec = setting.model.load_codec()
    if missing and codec is not None:
        for dataset in datasets:
            if ahead := count_missing_latents(dataset, identity, cache):
                with reporter.phase("encode pictures", ahead) as tick:
                    encode_latents(dataset, codec.encode, identity, cache, tick, setting.compute.device)
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
    """The frozen transformer with its training adapter (active), the trainable LoRA, the fast path if it fits, and what
    is kept of the blocks' activations."""

    transformer: nn.Module
    adapter: TrainingAdapter
    lora: BranchSet
    fast: FastPath | None
    keeping: Keeping


def prepare_transformer(
    setting: Setting, reporter: Reporter, *, resumes: bool = False, known: Kernels = NO_KERNELS
) -> Adapted:
    """Load the transformer, attach the training adapter, inject the LoRA, which a resumed run fills itself.

    `known` are the kernels that the run used before, where it did.

    Raises:
        AdapterError: TARGET means nothing in this model, or a file does not fit.
        ConfigError: float8 products were asked for and something keeps the blocks from them.
    """
    offload = setting.offloading.begin(setting.compute, sides=1)
    packs = packs_to_fold(setting, offload)
    with reporter.byte_phase("load transformer") as read:
        transformer = setting.model.load_transformer(read, packs.watch if packs is not None else None, offload)
    for line in quantization_lines(transformer, setting.compute.transformer_scheme):
        reporter.log(line)
    adapter = no_training_adapter()
    if setting.adapter is not None:
        adapter = attach_training_adapter(transformer, setting.adapter, adapter_source(setting.config.model))
        reporter.log(f"training adapter: {adapter.matched}")
    lora = new_lora(setting, transformer)
    reporter.log(describe_lora(setting, lora))
    if setting.start is not None and not resumes:
        reporter.log(start_from(transformer, lora, setting.start, aliases=MODULE_ALIASES))
    device, float8 = setting.compute.device, setting.compute.float8_products
    if can_run_fast(transformer, device, float8=float8):
        adapter, line = fold_adapter(adapter, packs, setting.compute, offload)
        reporter.log(line)
    del packs  # where nothing took them, their memory is free again
    streaming = setting.offloading.streaming
    fast, lines = fast_path(
        transformer, lora, device, known=known, float8=float8, keep_transposed=setting.compute.keep_transposed,
        streaming=streaming,
    )  # fmt: skip
    keeping = choose_keeping(
        setting.config, setting.compute, transformer, sum(parameter.numel() for parameter in lora.parameters()),
        [bucket for bucket, _, _ in setting.dataset.bucket_table()], is_fused=fast is not None,
    )  # fmt: skip
    if fast is not None:
        fast.keep(keeping)
    elif streaming.blocks:
        raise ConfigError(
            f"offloaded blocks need the fused blocks; {lines[0]}", where="quantization.layer_offloading",
            fix="set it to 0, or train a plain LoRA without dropout.",
        )  # fmt: skip
    elif setting.config.quantization.compute_dtype == "float8":
        raise ConfigError(
            f"float8 products need the fused blocks; {lines[0]}", where="quantization.compute_dtype",
            fix="leave it at auto, which multiplies in bf16 then, or train a plain LoRA without dropout.",
        )  # fmt: skip
    else:
        lines += lines_by_modules(setting)
    for line in (*lines, *keeping.lines):
        reporter.log(line)
    return Adapted(transformer, adapter, lora, fast, keeping)


def lines_by_modules(setting: Setting) -> list[str]:
    """What the blocks compute with where they are not fused."""
    if not setting.compute.float8_products:
        return [PLAIN_LINE]
    dtype = next(name for name, dtype in DTYPES.items() if dtype == setting.compute.transformer_dtype)
    return [PLAIN_LINE, f"products of the blocks' linears: {dtype} after all, since float8 needs the fused blocks"]


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
