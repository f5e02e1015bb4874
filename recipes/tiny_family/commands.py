"""The product's own commands, for recipes that measure what users would get."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")


def slipstream(folder: Path, *arguments: str, threads: int | None = None) -> None:
    """Run `slipstream` in a folder, with so many threads where a number is given; its words are shown on failure.

    Raises:
        SystemExit: the command failed.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "slipstream.cli.app", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def draw(out: Path, folder: str, prompts: str, *loras: str, threads: int | None = None) -> Tensor:
    """Turbo's pictures of a file's prompts (N, 3, H, W) in [0, 1], with LoRAs where given; those there are kept."""
    count = len((out / prompts).read_text(encoding="utf-8").splitlines())
    if len(list((out / folder).glob("*.png"))) < count:
        shutil.rmtree(out / folder, ignore_errors=True)
        flags = [part for lora in loras for part in ("--lora", lora)]
        common = ("--model", "tiny/turbo", "--prompts-file", prompts, "--walk-seed", "--out", folder)
        slipstream(out, "sample", *common, *flags, threads=threads)
    return pictures_in(out / folder)


def pictures_in(folder: Path) -> Tensor:
    """The PNG files of a folder, all of one size, by name: (N, 3, H, W) in [0, 1]."""
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def save_grid(rows: list[Tensor], path: Path, columns: int = 12) -> None:
    """One row of pictures per variant."""
    wall = torch.cat([torch.cat(list(images[:columns]), dim=2) for images in rows], dim=1)
    Image.fromarray((wall.permute(1, 2, 0) * 255).round().byte().numpy()).save(path, quality=88)


def seeds_table(heading: str, forms: Mapping[str, str], results: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Markdown: one row a variant, each cell the mean of a figure and its seeds in brackets."""
    lines = [heading, "|---" * (len(forms) + 1) + "|"]
    for name, rows in results.items():
        cells = []
        for key, form in forms.items():
            values = [row[key] for row in rows]
            each = ", ".join(form.format(value) for value in values)
            cells.append(f"{form.format(sum(values) / len(values))} ({each})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def by_seed(measure: Callable[[T, int], R], things: Sequence[T], seeds: int, jobs: int) -> dict[T, list[R]]:
    """`measure(thing, seed)` of each thing for every seed, so many at a time."""
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        running = {(thing, seed): pool.submit(measure, thing, seed) for seed in range(seeds) for thing in things}
        measured = {key: future.result() for key, future in running.items()}
    return {thing: [measured[thing, seed] for seed in range(seeds)] for thing in things}
