"""Measures what the presets by GPU memory need: each runs under the cap of its card, at its own resolutions.

    python benchmarks/memory_tiers.py --out benchmarks/results/memory_tiers.json          # one big CUDA card
    python benchmarks/memory_tiers.py --size tiny --out /tmp/tiers.json                   # a dry run on any machine

Random weights of the real size; LoRA, optimizer, update and previews are the product's own, composed from the preset.
A training adapter as large as the published one takes part. Every tier is on its own: one that fails is written down
with its error, and the others go on. The JSON file is written after each.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
import yaml  # noqa: E402
from random_model import (  # noqa: E402
    ADAPTER_RANKS,
    ModelSize,
    model_size,
    random_adapter,
    random_text_encoder,
    random_transformer,
    random_vae,
)
from results import revision  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from slipstream.adapters.inject import inject_weights  # noqa: E402
from slipstream.adapters.training_adapter import ROLE, TrainingAdapter  # noqa: E402
from slipstream.config.presets import preset_text  # noqa: E402
from slipstream.config.run_config import RunConfig, parse_config  # noqa: E402
from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.core.errors import DeviceError  # noqa: E402
from slipstream.data.buckets import Bucket  # noqa: E402
from slipstream.data.loader import TrainingBatch  # noqa: E402
from slipstream.models.z_image.family import predictor  # noqa: E402
from slipstream.models.z_image.latents import ImageCodec  # noqa: E402
from slipstream.models.z_image.loading import load_tokenizer  # noqa: E402
from slipstream.models.z_image.resolve import TINY_ROOT  # noqa: E402
from slipstream.models.z_image.text import TextEncoder  # noqa: E402
from slipstream.precision.linear import QuantizedLinear  # noqa: E402
from slipstream.precision.placing import weight_bytes  # noqa: E402
from slipstream.previews.render import LATENT_CHANNELS, Renderer, render  # noqa: E402
from slipstream.training.build import previews_at_once, step_settings  # noqa: E402
from slipstream.training.checkpoint import TrainingState  # noqa: E402
from slipstream.training.device import DTYPES, choose_compute  # noqa: E402
from slipstream.training.fast_path import fast_path  # noqa: E402
from slipstream.training.keeping import Keeping, choose_keeping  # noqa: E402
from slipstream.training.optimizer_stage import fresh_state, rate_at, settle_optimizer  # noqa: E402
from slipstream.training.pictures import preview_pictures  # noqa: E402
from slipstream.training.step import train_step  # noqa: E402
from slipstream.training.target_stage import new_lora  # noqa: E402

GIB = 2**30
LEFT_TO_THE_SCREEN_GIB = 0.5
CAPTION = "a photo of a red fox that sleeps on a warm blanket beside a window, soft light from the left, " * 5
CAPTION_TOKENS = 128


@dataclass(frozen=True)
class Tier:
    """A preset with changes, on a card of this many GiB."""

    preset: str
    card_gib: float
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The preset, and what is changed in it."""
        return " ".join((self.preset, *self.overrides))


TIERS = (
    Tier("vram_8gb", 8),
    Tier("vram_12gb", 12),
    Tier("vram_16gb", 16),
    Tier("vram_24gb", 24),
    Tier("vram_80gb", 80),
    Tier("vram_8gb", 8, ("datasets.0.resolutions=[1024]", "sample.width=1024", "sample.height=1024")),
    Tier("vram_12gb", 12, ("quantization.transformer=int8", "datasets.0.resolutions=[1024]")),
)


class Bench:
    """One run of the benchmark: the device, what is measured, and the table of results."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.size: ModelSize = model_size(options.size)
        self.compute = choose_compute(options.device, "auto", "auto")
        self.device = self.compute.device
        self.cuda = self.device.type == "cuda"
        self.started = time.perf_counter()
        self.captions_measured: set[str] = set()

    def outside_gib(self) -> float:
        """Memory of the device that is in use outside of torch's allocator: contexts, kernels, other programs."""
        free, total = torch.cuda.mem_get_info(self.device)
        return (total - free - torch.cuda.memory_reserved(self.device)) / GIB

    def cap(self, card_gib: float) -> float | None:
        """Limit the allocator to what such a card leaves it; returns the limit in GiB."""
        if not self.cuda:
            return None
        torch.zeros(1, device=self.device)
        total = torch.cuda.get_device_properties(self.device).total_memory / GIB
        limit = min(card_gib, total) - LEFT_TO_THE_SCREEN_GIB - self.outside_gib()
        torch.cuda.set_per_process_memory_fraction(limit / total, self.device)
        return round(limit, 2)

    @contextmanager
    def watched(self, figures: dict[str, Any]) -> Iterator[None]:
        """Write a block's peaks into `figures`: allocated, reserved, and the whole device's use."""
        if not self.cuda:
            yield
            return
        torch.cuda.reset_peak_memory_stats(self.device)
        try:
            yield
        finally:
            torch.cuda.synchronize(self.device)
            reserved = torch.cuda.max_memory_reserved(self.device) / GIB
            figures["peak_allocated_gib"] = round(torch.cuda.max_memory_allocated(self.device) / GIB, 2)
            figures["peak_reserved_gib"] = round(reserved, 2)
            figures["peak_device_gib"] = round(reserved + self.outside_gib(), 2)

    def attempt(self, result: dict[str, Any], name: str, work: Callable[[dict[str, Any]], None]) -> bool:
        """Do a part of a tier; an error is written down and ends that part alone."""
        figures: dict[str, Any] = {}
        result[name] = figures
        started = time.perf_counter()
        try:
            with self.watched(figures):
                work(figures)
        except Exception as error:  # noqa: BLE001 - whatever a part meets, the other parts are still measured
            figures["error"] = f"{type(error).__name__}: {str(error)[:300]}"
            if not isinstance(error, torch.OutOfMemoryError):
                figures["traceback"] = traceback.format_exc().splitlines()[-12:]
        self.release()
        figures["seconds"] = round(time.perf_counter() - started, 2)
        said = figures.get("error") or {key: value for key, value in figures.items() if key != "seconds"}
        print(f"  {name:14} {figures['seconds']:6.1f} s  {said}", flush=True)
        return "error" not in figures

    def release(self) -> None:
        """Give freed memory back, so that parts do not see each other's."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def noise(self, *shape: int) -> Tensor:
        """Seeded normal values on the CPU, as the loader would hand them over."""
        return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.cuda:
            torch.cuda.synchronize(self.device)


def tier_config(tier: Tier, size: ModelSize) -> RunConfig:
    """The preset with the tier's changes, pictures made smaller for the tiny size."""
    overrides = ["datasets.0.path=.", *tier.overrides]
    mapping = yaml.safe_load(preset_text(tier.preset))
    config = parse_config(mapping, overrides)
    if size.divide == 1:
        return config
    sides = [side // size.divide for side in config.datasets[0].resolutions]
    smaller = [f"sample.{side}={getattr(config.sample, side) // size.divide}" for side in ("width", "height")]
    return parse_config(mapping, [*overrides, f"datasets.0.resolutions={sides}", *smaller])


def measure_tier(bench: Bench, tier: Tier) -> dict[str, Any]:
    """All phases of a run with this preset, each with its peak."""
    config = tier_config(tier, bench.size)
    compute = choose_compute(bench.options.device, config.quantization.transformer, config.quantization.text_encoder)
    result: dict[str, Any] = {
        "tier": tier.name, "card_gib": tier.card_gib, "cap_gib": bench.cap(tier.card_gib),
        "transformer": compute.transformer_scheme or str(compute.transformer_dtype).removeprefix("torch."),
        "text_encoder": compute.text_encoder_scheme or str(compute.text_encoder_dtype).removeprefix("torch."),
        "gradient_checkpointing": config.training.gradient_checkpointing, "batch": config.training.batch_size,
    }  # fmt: skip
    if result["text_encoder"] not in bench.captions_measured:
        bench.captions_measured.add(result["text_encoder"])
        bench.attempt(result, "captions", lambda figures: encode_caption(bench, compute, figures))
    setting: Any = SimpleNamespace(config=config, compute=compute, samples_per_step=config.training.batch_size)
    codec = ImageCodec(random_vae(bench.size, bench.device, compute.transformer_dtype), "random")
    bench.attempt(result, "latents", lambda figures: encode_picture(bench, codec, config, figures))
    loaded: list[Any] = []
    if bench.attempt(result, "load", lambda figures: loaded.extend(load(bench, setting, figures))):
        transformer, adapter, state = loaded
        if bench.options.compiled_unpacking and compute.transformer_scheme:
            bench.attempt(result, "unpacking", lambda figures: compiled_unpacking(bench, transformer, figures))
        measure_training(bench, setting, transformer, state, result)
        bench.attempt(
            result,
            "previews",
            lambda figures: draw_previews(bench, setting, transformer, adapter, state, codec, figures),
        )
    return result


def encode_caption(bench: Bench, compute: Any, figures: dict[str, Any]) -> None:
    """The text encoder alone on the device."""
    model = random_text_encoder(bench.size, bench.device, compute.text_encoder_dtype, compute.text_encoder_scheme)
    figures["weights_gib"] = round(weight_bytes(model) / GIB, 3)
    encoder = TextEncoder(model, load_tokenizer(TINY_ROOT / "turbo/tokenizer"), "random")
    figures["tokens"] = len(encoder.encode([CAPTION])[0])


def encode_picture(bench: Bench, codec: ImageCodec, config: RunConfig, figures: dict[str, Any]) -> None:
    """The VAE alone on the device, with the largest picture."""
    side = max(config.datasets[0].resolutions)
    figures["resolution"] = side
    codec.encode(bench.noise(1, 3, side, side).clamp(-1, 1))


def load(bench: Bench, setting: Any, figures: dict[str, Any]) -> tuple[nn.Module, TrainingAdapter, TrainingState]:
    """Transformer, training adapter, LoRA and optimizer."""
    compute = setting.compute
    transformer = random_transformer(bench.size, bench.device, compute.transformer_dtype, compute.transformer_scheme)
    figures["weights_gib"] = round(weight_bytes(transformer) / GIB, 3)
    packed = [module for module in transformer.modules() if isinstance(module, QuantizedLinear)]
    if packed:
        figures["unpack_all_ms"] = unpacking_ms(bench, packed)
    adapter = attach_random_adapter(bench, transformer)
    lora = new_lora(setting, transformer)
    for index, (_, parameter) in enumerate(lora.named_parameters()):
        nn.init.normal_(parameter.data, std=0.01, generator=torch.Generator(parameter.device).manual_seed(index))
    try:
        state = fresh_state(setting.config, lora, settle_optimizer(setting.config), bench.device)
    except DeviceError:  # bitsandbytes is not here
        training = setting.config.training.model_copy(update={"optimizer": "adamw"})
        setting.config = setting.config.model_copy(update={"training": training})
        state = fresh_state(setting.config, lora, settle_optimizer(setting.config), bench.device)
    figures["optimizer"] = setting.config.training.optimizer
    figures["lora_parameters"] = sum(parameter.numel() for parameter in lora.parameters())
    return transformer, adapter, state


def unpacking_ms(bench: Bench, packed: list[QuantizedLinear]) -> float:
    """Milliseconds to make every packed weight dense once: the price of a pass, paid two or three times a step."""
    best = float("inf")
    for _ in range(3):
        bench.wait()
        started = time.perf_counter()
        for module in packed:
            module.dense_weight()
        bench.wait()
        best = min(best, time.perf_counter() - started)
    return round(best * 1000, 2)


def attach_random_adapter(bench: Bench, transformer: nn.Module) -> TrainingAdapter:
    """A small-valued adapter on every linear of the main blocks, of the published one's size."""
    pairs = random_adapter(bench.size, bench.device)
    branches, line = inject_weights(transformer, pairs, role=ROLE, source="random")
    return TrainingAdapter(branches, "random", "", line)


def measure_training(bench: Bench, setting: Any, transformer: nn.Module, state: TrainingState, result: dict) -> None:
    """Updates at each resolution by itself, then at all of them in turn, as a training meets them."""
    config = setting.config
    fast, lines = fast_path(transformer, state.lora, bench.device)
    keeping = keeping_of(setting, transformer, state, is_fused=fast is not None)
    if fast is not None:
        fast.keep(keeping)
    for line in (*lines, *keeping.lines):
        print(f"  {line}", flush=True)
    result["blocks"], result["activations"] = "; ".join(lines), list(keeping.lines)
    predict = fast.predict if fast is not None else predictor(transformer, keeping.run)
    feature = bench.noise(CAPTION_TOKENS, transformer.config.cap_feat_dim)
    settings = step_settings(setting, lambda _: feature)
    texts = [feature] * config.training.batch_size
    count = config.training.batch_size

    def update(side: int) -> float:
        latents = bench.noise(count, LATENT_CHANNELS, side // 8, side // 8)
        batch = TrainingBatch(latents, texts, tuple(range(count)))
        bench.wait()
        started = time.perf_counter()
        train_step(state, lambda _: batch, predict, settings, rate_at(config, state.step))
        bench.wait()
        return (time.perf_counter() - started) * 1000

    def updates(sides: list[int], figures: dict[str, Any], warm_ups: int = 0) -> None:
        for _ in range(warm_ups):
            update(sides[0])
        times = torch.tensor([update(side) for side in sides], dtype=torch.float64)
        figures["steps"] = len(times)
        figures["ms_per_step_median"] = round(float(times.median()), 1)
        figures["ms_per_step_p90"] = round(float(times.quantile(0.9)), 1)

    sides, warm_ups = list(config.datasets[0].resolutions), bench.options.warm_ups
    for side in sides:
        same = [side] * bench.options.steps
        bench.attempt(result, f"train_{side}", lambda figures, same=same: updates(same, figures, warm_ups))
    if len(sides) > 1:
        bench.attempt(result, "train_mixed", lambda figures: updates(sides * 2, figures))


def keeping_of(setting: Any, transformer: nn.Module, state: TrainingState, *, is_fused: bool) -> Keeping:
    """What the preset keeps of activations, for squares of its resolutions."""
    sides = setting.config.datasets[0].resolutions
    return choose_keeping(
        setting.config, setting.compute, transformer, sum(parameter.numel() for parameter in state.lora.parameters()),
        [Bucket(side, side) for side in sides], is_fused=is_fused,
    )  # fmt: skip


def compiled_unpacking(bench: Bench, transformer: nn.Module, figures: dict[str, Any]) -> None:
    """What fusing the unpacking into one kernel would give."""
    packed = [module for module in transformer.modules() if isinstance(module, QuantizedLinear)]
    figures["unpack_all_ms"] = unpacking_ms(bench, packed)
    unpack = torch.compile(packed[0].scheme.unpack, dynamic=False)
    started = time.perf_counter()
    for module in {(module.out_features, module.in_features): module for module in packed}.values():
        dense = unpack(module.packed, (module.out_features, module.in_features), module.dtype)
        figures["equal"] = figures.get("equal", True) and torch.equal(dense, module.dense_weight())
    bench.wait()
    figures["compile_seconds"] = round(time.perf_counter() - started, 1)
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        for module in packed:
            unpack(module.packed, (module.out_features, module.in_features), module.dtype)
        bench.wait()
        best = min(best, time.perf_counter() - started)
    figures["compiled_unpack_all_ms"] = round(best * 1000, 2)


def draw_previews(
    bench: Bench, setting: Any, transformer: nn.Module, adapter: TrainingAdapter, state: TrainingState,
    codec: ImageCodec, figures: dict[str, Any],
) -> None:  # fmt: skip
    """Previews as the preset has them; where they are drawn one at a time, two show the peak."""
    feature = bench.noise(CAPTION_TOKENS, transformer.config.cap_feat_dim)
    at_once = previews_at_once(keeping_of(setting, transformer, state, is_fused=False))
    renderer = Renderer(
        predict=predictor(transformer), decode=codec.decode, features=lambda _: feature, shift_at=lambda _: 3.0,
        device=bench.device, latent_downscale=codec.downscale, max_batch=at_once,
    )  # fmt: skip
    pictures = preview_pictures(setting.config)
    drawn = pictures if renderer.max_batch > 1 else pictures[:2]
    started = time.perf_counter()
    with adapter.removed(), state.lora.rounded_to(DTYPES[setting.config.save.dtype]):
        for _ in render(renderer, drawn):
            pass
    bench.wait()
    figures["pictures"] = len(drawn)
    figures["size"] = [setting.config.sample.width, setting.config.sample.height]
    figures["seconds_per_picture"] = round((time.perf_counter() - started) / len(drawn), 3)


def table(tiers: list[dict[str, Any]]) -> str:
    """The results as text: a row for every part that was measured."""
    rows = [f"{'tier':58} {'part':12} {'ms/step':>8} {'alloc':>6} {'reserv':>6} {'device':>6} {'cap':>6}"]
    for tier in tiers:
        for part, figures in tier.items():
            if not isinstance(figures, dict):
                continue
            memory = [figures.get(f"peak_{kind}_gib", "-") for kind in ("allocated", "reserved", "device")]
            shown = figures.get("ms_per_step_median", "-")
            line = f"{tier['tier'][:58]:58} {part:12} {shown!s:>8} {memory[0]!s:>6} {memory[1]!s:>6} {memory[2]!s:>6}"
            rows.append(f"{line} {tier['cap_gib']!s:>6}  {figures.get('error', '')[:60]}")
    return "\n".join(rows)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Memory and step time of the presets by GPU memory.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--size", choices=("real", "tiny"), default="real", help="size of the random models")
    parser.add_argument("--device", default="auto", help="as in job.device")
    parser.add_argument("--tiers", type=int, nargs="*", default=None, help="which of the tiers, counted from 0")
    parser.add_argument("--steps", type=int, default=10, help="measured updates per resolution")
    parser.add_argument("--warm-ups", type=int, default=2, help="updates before those")
    parser.add_argument("--compiled-unpacking", action="store_true", help="also time a compiled unpacking of weights")
    parser.add_argument("--seconds", type=float, default=330, help="no tier is begun after this time")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure every tier; returns how many could not be measured whole."""
    options = parse(arguments)
    bench = Bench(options)
    tiers: list[dict[str, Any]] = []
    report = {
        "device": bench.compute.reasons[0].removeprefix("device: "), "torch": torch.__version__,
        "revision": revision(), "size": options.size, "adapter_rank": ADAPTER_RANKS[options.size],
        "caption_tokens": CAPTION_TOKENS, "left_to_the_screen_gib": LEFT_TO_THE_SCREEN_GIB,
        "allocator": os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "default"), "tiers": tiers,
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for number, tier in enumerate(TIERS):
        if options.tiers is not None and number not in options.tiers:
            continue
        elapsed = time.perf_counter() - bench.started
        print(f"[{elapsed:5.0f} s] {tier.name}", flush=True)
        if elapsed > options.seconds:
            tiers.append({"tier": tier.name, "cap_gib": None, "skipped": {"error": "out of time"}})
            continue
        try:
            tiers.append(measure_tier(bench, tier))
        except Exception as error:  # noqa: BLE001 - the other tiers are still measured
            tiers.append({"tier": tier.name, "cap_gib": None, "setup": {"error": f"{type(error).__name__}: {error}"}})
            traceback.print_exc()
        bench.release()
        write_json(options.out, report)
    print(table(tiers), flush=True)
    return sum(any(isinstance(part, dict) and "error" in part for part in tier.values()) for tier in tiers)


if __name__ == "__main__":
    main()
