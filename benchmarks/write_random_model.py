"""Writes a whole Z-Image model with random weights in diffusers' layout, and a training adapter for it.

    python benchmarks/write_random_model.py /tmp/random_z_image                 # about 20 GB, made on the GPU
    python benchmarks/write_random_model.py /tmp/tiny_z_image --size tiny       # a few MB, for dry runs

Sizes, dtypes, keys and shards are those of the published model, so that loading, caching, training, previews and saves
cost what they cost with it. The tokenizer is the tiny family's, whose ids all lie in the real vocabulary.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from composition import write_random_adapter  # noqa: E402
from random_model import (  # noqa: E402
    ModelSize,
    empty_text_encoder,
    empty_transformer,
    model_size,
    random_vae,
    random_weights,
)
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from slipstream.core.quiet import quiet_imports  # noqa: E402
from slipstream.models.z_image.resolve import TINY_ROOT  # noqa: E402

ADAPTER = "training_adapter.safetensors"
SHARD_BYTES = 4 * 2**30
WRITERS = 4
DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Target:
    """Where a component's weights go: `folder/stem.safetensors`, or numbered shards of it with an index."""

    folder: Path
    stem: str
    prefix: str = ""


def write_model(folder: Path, size: ModelSize, device: torch.device, *, seed: int = 1) -> dict[str, float]:
    """Write every component; returns the seconds that each took."""
    seconds: dict[str, float] = {}
    folder.mkdir(parents=True, exist_ok=True)
    tiny = TINY_ROOT / "turbo"
    shutil.copy(tiny / "model_index.json", folder)
    for component in ("scheduler", "tokenizer"):
        shutil.copytree(tiny / component, folder / component, dirs_exist_ok=True)
    for name, write in (
        ("transformer", _write_transformer), ("text_encoder", _write_text_encoder), ("vae", _write_vae),
    ):  # fmt: skip
        started = time.perf_counter()
        write(folder / name, size, device, seed)
        seconds[name] = round(time.perf_counter() - started, 2)
    started = time.perf_counter()
    write_random_adapter(folder / ADAPTER, size, device)
    seconds["training_adapter"] = round(time.perf_counter() - started, 2)
    return seconds


def _write_transformer(folder: Path, size: ModelSize, device: torch.device, seed: int) -> None:
    model: Any = empty_transformer(size)
    model.save_config(folder)
    write_weights(model, Target(folder, "diffusion_pytorch_model"), device, seed)


def _write_text_encoder(folder: Path, size: ModelSize, device: torch.device, seed: int) -> None:
    model: Any = empty_text_encoder(size)
    model.config.architectures = ["Qwen3ForCausalLM"]
    model.config.save_pretrained(folder)
    write_weights(model, Target(folder, "model", prefix="model."), device, seed + 1)


def _write_vae(folder: Path, size: ModelSize, device: torch.device, seed: int) -> None:
    with torch.random.fork_rng(), quiet_imports():
        torch.manual_seed(seed + 2)
        vae: Any = random_vae(size, torch.device("cpu"), DTYPE)
        vae.save_pretrained(folder)


def write_weights(model: nn.Module, target: Target, device: torch.device, seed: int) -> None:
    """Random weights for every parameter: made on the device, written by several threads, a shard each."""
    target.folder.mkdir(parents=True, exist_ok=True)
    sizes = [parameter.numel() * DTYPE.itemsize for parameter in model.parameters()]
    names = shard_names(sizes, target.stem)
    weights = random_weights(model, device, DTYPE, seed=seed)
    index: dict[str, str] = {}
    writing: list[Future[None]] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        for name, shard in _shards(weights, names):
            tensors = {target.prefix + key: weight for key, weight in shard.items()}
            index |= dict.fromkeys(tensors, name)
            if len(writing) >= WRITERS:
                writing[-WRITERS].result()  # so that a slow disk does not fill the memory
            writing.append(pool.submit(save_file, tensors, target.folder / name, {"format": "pt"}))
    for done in writing:
        done.result()
    if len(writing) > 1:
        path = target.folder / f"{target.stem}.safetensors.index.json"
        path.write_text(json.dumps({"metadata": {"total_size": sum(sizes)}, "weight_map": index}, indent=1))


def shard_names(sizes: list[int], stem: str) -> list[str]:
    """The file name of every parameter, given its bytes: one file where all fit, else `stem-00001-of-00003`."""
    shard, filled, numbers = 1, 0, []
    for size in sizes:
        if filled and filled + size > SHARD_BYTES:
            shard, filled = shard + 1, 0
        filled += size
        numbers.append(shard)
    if shard == 1:
        return [f"{stem}.safetensors"] * len(sizes)
    return [f"{stem}-{number:05d}-of-{shard:05d}.safetensors" for number in numbers]


def _shards(weights: Iterator[tuple[str, Tensor]], names: list[str]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(file name, tensors in host memory) of each shard in turn."""
    current, shard = names[0], {}
    for (key, weight), name in zip(weights, names, strict=True):
        if name != current:
            yield current, shard
            current, shard = name, {}
        shard[key] = weight.cpu()
    yield current, shard


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=("real", "tiny"), default="real")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    seconds = write_model(options.folder, model_size(options.size), torch.device(options.device), seed=options.seed)
    gib = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file()) / 2**30
    print(f"{options.folder}: {gib:.2f} GiB in {time.perf_counter() - started:.1f} s {seconds}", flush=True)


if __name__ == "__main__":
    main()
