"""The latent bank: every seen drawing on several backgrounds and canvases, encoded once, with tokenised captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from artwork import COLOURS, LONG_TEMPLATE, SHORT_TEMPLATES, SIZES, Artwork, caption_for, composite, palette
from torch import Tensor

SHORT, LONG = 32, 64


@dataclass(frozen=True)
class Captions:
    """Tokenised captions: `ids` (N, L) padded, `lengths` (N)."""

    ids: Tensor
    lengths: Tensor

    def take(self, rows: Tensor) -> Captions:
        """Rows of the table."""
        return Captions(self.ids[rows], self.lengths[rows])


@dataclass(frozen=True)
class Shelf:
    """Items of one canvas size: latents (N, C, h, w), drawing and colour index, captions per template."""

    latents: Tensor
    drawing: Tensor
    colour: Tensor
    short: Captions
    """Ids (N, templates, 32) and lengths (N, templates)."""
    long: Captions

    def random_captions(self, rows: Tensor) -> Captions:
        """Short captions of these rows, each in a random phrasing."""
        choice = torch.randint(0, self.short.ids.shape[1], (len(rows),), device=rows.device)
        return Captions(self.short.ids[rows, choice], self.short.lengths[rows, choice])


def templated(caption: str) -> str:
    """The caption inside the chat template, as the pipeline sends it."""
    return f"<|im_start|>user\n{caption}<|im_end|>\n<|im_start|>assistant\n"


def tokenise(tokenizer: Any, captions: list[str], length: int, device: torch.device) -> Captions:
    """Tokens padded to `length`; a caption that is too long is cut (the tokenizer's end stays off, as in training)."""
    rows = tokenizer([templated(caption) for caption in captions], padding=False)["input_ids"]
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    for row, tokens in zip(ids, rows, strict=True):
        row[: min(len(tokens), length)] = torch.tensor(tokens[:length])
    lengths = torch.tensor([min(len(tokens), length) for tokens in rows])
    return Captions(ids.to(device), lengths.to(device))


def all_captions(art: Artwork) -> list[str]:
    """Captions of seen drawings, to train the tokenizer on."""
    rows = art.seen.nonzero().squeeze(1).tolist()
    colours = list(COLOURS)
    captions = []
    for number, row in enumerate(rows):
        concept, style = art.concepts[art.concept[row]], art.styles[art.style[row]]
        for template in (*SHORT_TEMPLATES, LONG_TEMPLATE):
            captions.append(templated(caption_for(concept, style, colours[number % len(colours)], template)))
    return captions


def copies_of(size: tuple[int, int]) -> float:
    """How many variants of each drawing a canvas size gets."""
    return 3.0 if size == SIZES[0] else 0.3


@torch.no_grad()
def build_bank(art: Artwork, vae: Any, tokenizer: Any, device: torch.device) -> list[Shelf]:
    """Encode the bank; latents are scaled and stored in bf16 on the GPU (fp32 on the CPU)."""
    seen = art.seen.nonzero().squeeze(1)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    shelves = []
    for size in SIZES:
        copies = copies_of(size)
        count = int(len(seen) * copies)
        drawing = seen[torch.randperm(int(len(seen) * max(1, round(copies))), device=device)[:count] % len(seen)]
        colour = torch.randint(0, len(COLOURS), (count,), device=device)
        colour = torch.where(torch.rand(count, device=device) < 0.6, torch.zeros_like(colour), colour)
        latents = []
        for chunk in torch.arange(count, device=device).split(256):
            scale = 0.88 + 0.1 * torch.rand(len(chunk), device=device)
            pixels = composite(art.rgba[drawing[chunk]], palette(device)[colour[chunk]], size, scale)
            z = vae.encode(pixels).latent_dist.mode()
            latents.append(((z - vae.config.shift_factor) * vae.config.scaling_factor).to(dtype))
        texts = [
            tokenise(
                tokenizer, _captions(art, drawing, colour, template),
                LONG if template == LONG_TEMPLATE else SHORT, device,
            )
            for template in (*SHORT_TEMPLATES, LONG_TEMPLATE)
        ]  # fmt: skip
        ids, lengths = (torch.stack([getattr(t, key) for t in texts[:-1]], dim=1) for key in ("ids", "lengths"))
        shelves.append(Shelf(torch.cat(latents), drawing, colour, Captions(ids, lengths), texts[-1]))
    return shelves


def _captions(art: Artwork, drawing: Tensor, colour: Tensor, template: int) -> list[str]:
    names = list(COLOURS)
    concept, style = art.concept[drawing].tolist(), art.style[drawing].tolist()
    return [
        caption_for(art.concepts[c], art.styles[s], names[k], template)
        for c, s, k in zip(concept, style, colour.tolist(), strict=True)
    ]
