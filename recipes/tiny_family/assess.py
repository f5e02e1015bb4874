"""How good the pictures of a tiny model are: concepts and styles right by the judge, and a grid to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from artwork import Artwork, caption_for
from bank import SHORT, tokenise
from model import NO_GUIDANCE, Guide, decode, encode, sample
from PIL import Image
from torch import Tensor, nn

from slipstream.evaluation.judge import Judge


def judged_rows(art: Artwork, count: int, seed: int = 0) -> Tensor:
    """Random seen drawings, the same for every model."""
    rows = art.seen.nonzero().squeeze(1)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).to(rows.device)
    return rows[order[:count]]


@torch.no_grad()
def assess(
    art: Artwork, judge: Judge, vae: Any, tokenizer: Any, text_encoder: nn.Module, transformer: nn.Module, *,
    steps: int, guide: Guide = NO_GUIDANCE, count: int = 1024, batch: int = 256, grid: Path | None = None,
) -> dict[str, float]:  # fmt: skip
    """Concept and style accuracy at `steps` on square white canvases; writes a grid of 64 pictures."""
    rows = judged_rows(art, count)
    device = art.rgba.device
    right, kept = torch.zeros(2), []
    for number, chunk in enumerate(rows.split(batch)):
        captions = [
            caption_for(art.concepts[art.concept[r]], art.styles[art.style[r]], "white", 0) for r in chunk.tolist()
        ]
        text = encode(text_encoder, tokenise(tokenizer, captions, SHORT, device))
        generator = torch.Generator().manual_seed(number)
        noise = torch.randn(len(chunk), 16, 16, 16, generator=generator).to(device)
        images = decode(vae, sample(transformer, noise, text, steps, guide))
        concept, style = judge.net(images)
        right[0] += (concept.argmax(1) == art.concept[chunk]).sum().cpu()
        right[1] += (style.argmax(1) == art.style[chunk]).sum().cpu()
        if not kept:
            kept = [images[:64].cpu()]
    if grid is not None:
        save_grid(kept[0], grid)
    return {"concept": float(right[0] / len(rows)), "style": float(right[1] / len(rows))}


def save_grid(images: Tensor, path: Path, columns: int = 16) -> None:
    """Write images (N, 3, H, W) in [0, 1] as one picture."""
    rows = [
        torch.cat(list(row), dim=2) for row in images.split(columns) if len(row) == columns or len(images) < columns
    ]
    pixels = (torch.cat(rows, dim=1).permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(path)
