"""The judge: a small convolutional classifier of concept and style for the tiny family's pictures.

It never takes part in training. Its penultimate features are the space in which drift is measured (Frechet distance).
Trained by `recipes/tiny_family`; weights are packaged in `tiny/judge/`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

INPUT_SIZE = 64
FEATURES = 160
WIDTHS = (24, 48, 96, FEATURES)


class JudgeNet(nn.Module):
    """Four residual stages at half resolution each, global average, two linear heads."""

    def __init__(self, num_concepts: int, num_styles: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, padding=1)
        stages: list[nn.Module] = []
        for width_in, width_out in zip(WIDTHS, (*WIDTHS[1:], WIDTHS[-1]), strict=True):
            stages.append(_Stage(width_in, width_out))
        self.stages = nn.ModuleList(stages)
        self.concept_head = nn.Linear(FEATURES, num_concepts)
        self.style_head = nn.Linear(FEATURES, num_styles)

    def features(self, images_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 160)."""
        x = F.interpolate(images_BCHW, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True)
        x = self.stem(x * 2 - 1)
        for stage in self.stages:
            x = stage(x)
        return x.mean(dim=(2, 3))

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Concept and style logits."""
        features = self.features(images_BCHW)
        return self.concept_head(features), self.style_head(features)


class _Stage(nn.Module):
    """conv-norm-silu twice with a shortcut, then halve the resolution."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.second = nn.Conv2d(width_out, width_out, 3, padding=1, groups=width_out // 8)
        self.norm_first = nn.GroupNorm(8, width_out)
        self.norm_second = nn.GroupNorm(8, width_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm_first(self.first(x)))
        x = x + F.silu(self.norm_second(self.second(x)))
        return F.avg_pool2d(x, 2)


@dataclass(frozen=True)
class Judge:
    """A trained net with its labels."""

    net: JudgeNet
    concepts: tuple[str, ...]
    styles: tuple[str, ...]

    @torch.no_grad()
    def features(self, images_BCHW: Tensor) -> Tensor:
        """Penultimate features (B, 160) of images in [0, 1]."""
        return self.net.features(images_BCHW)

    @torch.no_grad()
    def concept_logits(self, images_BCHW: Tensor) -> Tensor:
        """(B, concepts)."""
        return self.net(images_BCHW)[0]

    @torch.no_grad()
    def style_logits(self, images_BCHW: Tensor) -> Tensor:
        """(B, styles)."""
        return self.net(images_BCHW)[1]


def load_judge(folder: Path, device: torch.device | None = None) -> Judge:
    """Read `judge.safetensors` and `labels.json`."""
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    net = JudgeNet(len(labels["concepts"]), len(labels["styles"]))
    net.load_state_dict({key: value.float() for key, value in load_file(folder / "judge.safetensors").items()})
    net = net.to(device or torch.device("cpu")).requires_grad_(False).eval()
    return Judge(net, tuple(labels["concepts"]), tuple(labels["styles"]))


def save_judge(folder: Path, judge: Judge) -> None:
    """Write the weights in bf16 with their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.to("cpu", torch.bfloat16).contiguous() for key, value in judge.net.state_dict().items()}
    save_file(tensors, folder / "judge.safetensors")
    labels = {"concepts": list(judge.concepts), "styles": list(judge.styles)}
    (folder / "labels.json").write_text(json.dumps(labels, ensure_ascii=False) + "\n", encoding="utf-8")
