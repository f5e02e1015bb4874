"""The whole recipe: `python recipes/tiny_family/run.py --data build/emoji.zip --out OUT [--stages ...] [--smoke]`.

Stages in order: vae, judge, base (about 8 minutes on an H100), turbo, adapters, deturbo (about 6). Later stages
start from what earlier ones saved in OUT. `--smoke` runs everything in a minute on a CPU, for testing the code.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from artwork import Artwork, load_artwork
from assess import assess
from bank import Shelf, all_captions, build_bank
from diffusers import AutoencoderKL, ZImageTransformer2DModel
from layout import save_bf16, save_pipeline_files, save_tokenizer, train_tokenizer
from model import Guide, empty_text
from stage_base import train_base
from stage_dedistil import own_pictures, train_adapter, train_de_turbo
from stage_judge import train_judge
from stage_turbo import Teacher, train_turbo
from stage_vae import train_vae
from torch import nn
from transformers import AutoTokenizer, Qwen3Model

from slipstream.evaluation.judge import Judge, load_judge, save_judge
from training import compile_blocks

STAGES = ("vae", "judge", "base", "turbo", "adapters", "deturbo")
SECONDS = {
    "vae": 95.0,
    "judge": 45.0,
    "base": 280.0,
    "turbo1": 45.0,
    "turbo2": 80.0,
    "v1": 40.0,
    "v2": 70.0,
    "deturbo": 60.0,
}


@dataclass
class Recipe:
    """Shared state of the stages; parts are loaded from OUT when a stage needs what an earlier one made."""

    data: Path
    out: Path
    smoke: bool
    guidance: float
    trajectories: int
    pictures: int
    judged: int
    device: torch.device

    def seconds(self, stage: str) -> float:
        """The stage's budget."""
        return 4.0 if self.smoke else SECONDS[stage]

    @property
    def max_steps(self) -> int:
        """A cap for smoke runs."""
        return 12 if self.smoke else 10**9

    @property
    def batch(self) -> int:
        """Samples per step."""
        return 16 if self.smoke else 512

    @cached_property
    def art(self) -> Artwork:
        """All drawings."""
        return load_artwork(self.data, self.device, limit=40 if self.smoke else 0)

    @cached_property
    def vae(self) -> Any:
        """The trained VAE."""
        return (
            AutoencoderKL.from_pretrained(self.out / "turbo/vae").to(self.device).float().eval().requires_grad_(False)
        )

    @cached_property
    def tokenizer(self) -> Any:
        """The trained tokenizer (trained on first use)."""
        folder = self.out / "turbo/tokenizer"
        if not folder.exists():
            save_tokenizer(train_tokenizer(all_captions(self.art)), folder)
        return AutoTokenizer.from_pretrained(folder)

    @cached_property
    def judge(self) -> Judge:
        """The trained judge."""
        return load_judge(self.out / "judge", self.device)

    @cached_property
    def text_encoder(self) -> nn.Module:
        """The frozen text encoder."""
        model = Qwen3Model.from_pretrained(self.out / "turbo/text_encoder", dtype=torch.float32)
        return model.to(self.device).eval().requires_grad_(False)

    @cached_property
    def bank(self) -> list[Shelf]:
        """Encoded training pictures."""
        return build_bank(self.art, self.vae, self.tokenizer, self.device)

    def transformer(self, name: str) -> nn.Module:
        """A saved transformer (`turbo`, `base`, `de_turbo`), fp32 and frozen."""
        model = ZImageTransformer2DModel.from_pretrained(self.out / name / "transformer")
        return model.to(self.device).float().eval().requires_grad_(False)

    def assess(self, name: str, transformer: nn.Module, steps: int, w: float = 0.0) -> dict[str, float]:
        """Judge pictures of a model and save a grid."""
        guide = Guide(w, empty_text(self.text_encoder, self.tokenizer, self.device) if w else None)
        grid = self.out / "grids" / f"{name}_{steps}_steps_w{w}.png"
        grid.parent.mkdir(exist_ok=True)
        return assess(
            self.art, self.judge, self.vae, self.tokenizer, self.text_encoder, transformer,
            steps=steps, guide=guide, count=32 if self.smoke else self.judged, grid=grid,
        )  # fmt: skip


def run_vae(r: Recipe) -> dict[str, Any]:
    """Train and save the VAE."""
    result = train_vae(r.art, r.device, r.seconds("vae"), r.max_steps, 8 if r.smoke else 64)
    save_bf16(result.vae, r.out / "turbo/vae")
    return result.metrics


def run_judge(r: Recipe) -> dict[str, Any]:
    """Train and save the judge."""
    judge, metrics = train_judge(r.art, r.device, r.seconds("judge"), r.max_steps, r.batch)
    save_judge(r.out / "judge", judge)
    return metrics


def run_base(r: Recipe) -> dict[str, Any]:
    """Train and save text encoder and base; judge it with and without guidance."""
    result = train_base(r.bank, r.tokenizer, r.device, r.seconds("base"), r.max_steps, r.batch, peak=1.5e-3)
    save_bf16(result.text_encoder, r.out / "turbo/text_encoder")
    save_bf16(result.transformer, r.out / "base/transformer")
    save_pipeline_files(r.out / "base")
    base = r.transformer("base")
    result.metrics["judged"] = {f"30 steps, w {w}": r.assess("base", base, 30, w) for w in (0.0, 1.5, 2.5, 4.0)}
    return result.metrics


def run_turbo(r: Recipe) -> dict[str, Any]:
    """Distil and save Turbo."""
    guide = Guide(r.guidance, empty_text(r.text_encoder, r.tokenizer, r.device))
    teacher = Teacher.of(r.text_encoder, r.transformer("base"), guide)
    turbo, metrics = train_turbo(
        teacher, r.bank, r.device, count=64 if r.smoke else r.trajectories,
        seconds=(r.seconds("turbo1"), r.seconds("turbo2")), max_steps=r.max_steps, batch=r.batch,
    )  # fmt: skip
    save_bf16(turbo, r.out / "turbo/transformer")
    save_pipeline_files(r.out / "turbo")
    turbo = r.transformer("turbo")
    metrics["judged"] = {f"{steps} steps": r.assess("turbo", turbo, steps) for steps in (2, 4, 8, 12, 20, 30)}
    return metrics


def run_adapters(r: Recipe) -> dict[str, Any]:
    """Train and save training adapters v1 and v2."""
    turbo = r.transformer("turbo")
    pictures = own_pictures(turbo, r.text_encoder, r.bank, 128 if r.smoke else r.pictures, r.batch)
    metrics: dict[str, Any] = {"pictures": sum(len(p.latents) for p in pictures)}
    for name, rank in (("v1", 16), ("v2", 32)):
        path = r.out / f"adapters/training_adapter_{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        metrics[name] = train_adapter(
            turbo, pictures, r.device, path, rank=rank, seconds=r.seconds(name), max_steps=r.max_steps, batch=r.batch
        )
    return metrics


def run_deturbo(r: Recipe) -> dict[str, Any]:
    """Fine-tune and save De-Turbo."""
    turbo = r.transformer("turbo")
    pictures = own_pictures(turbo, r.text_encoder, r.bank, 128 if r.smoke else r.pictures, r.batch)
    model, metrics = train_de_turbo(
        turbo, pictures, r.device, seconds=r.seconds("deturbo"), max_steps=r.max_steps, batch=r.batch
    )
    save_bf16(model, r.out / "de_turbo/transformer")
    save_pipeline_files(r.out / "de_turbo")
    model = r.transformer("de_turbo")
    metrics["judged"] = {
        f"{s} steps, w {w}": r.assess("de_turbo", model, s, w) for s, w in ((8, 0.0), (25, 0.0), (25, 1.5))
    }
    return metrics


RUNNERS = {
    "vae": run_vae, "judge": run_judge, "base": run_base, "turbo": run_turbo, "adapters": run_adapters,
    "deturbo": run_deturbo,
}  # fmt: skip


def main() -> None:
    """Run the chosen stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--guidance", type=float, default=2.5, help="baked into Turbo, in the pipeline's form")
    parser.add_argument("--trajectories", type=int, default=32768, help="teacher trajectories that Turbo learns from")
    parser.add_argument(
        "--pictures", type=int, default=61440, help="own pictures that adapters and De-Turbo learn from"
    )
    parser.add_argument("--judged", type=int, default=1024, help="pictures per judged setting")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--seconds", default="", help="budgets such as vae=60,base=200")
    arguments = parser.parse_args()
    SECONDS.update({k: float(v) for k, v in (pair.split("=") for pair in arguments.seconds.split(",") if pair)})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    if device.type == "cuda":
        compile_blocks()
    recipe = Recipe(
        arguments.data, arguments.out, arguments.smoke, arguments.guidance,
        arguments.trajectories, arguments.pictures, arguments.judged, device,
    )  # fmt: skip
    (recipe.out / "metrics").mkdir(parents=True, exist_ok=True)
    for stage in arguments.stages.split(","):
        started = time.perf_counter()
        metrics = RUNNERS[stage](recipe)
        metrics["total_seconds"] = round(time.perf_counter() - started, 1)
        metrics["device"] = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
        (recipe.out / "metrics" / f"{stage}.json").write_text(json.dumps(metrics, indent=2) + "\n")
        print(f"== {stage}: {json.dumps(metrics)[:1500]}", flush=True)


if __name__ == "__main__":
    main()
