"""Captions to Qwen3 features, as the Z-Image pipeline makes them: chat template, `hidden_states[-2]`, pads dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slipstream.data.background import to_device

MAX_TOKENS = 512

TOKENS_AT_ONCE = 4096
"""Keeps a GPU busy; the hidden states of all layers, which the encoder hands out, stay below 1 GiB."""


@dataclass(frozen=True)
class TextEncoder:
    """A Qwen3 encoder with its tokenizer.

    Attributes:
        identity: names weights and precision for cache keys.
        tokens_at_once: tokens of a batch, padding included; a longer caption passes alone, with 0 each of them does.
    """

    model: nn.Module
    tokenizer: Any
    identity: str
    tokens_at_once: int = 0

    def encode(self, captions: list[str]) -> list[Tensor]:
        """Features (tokens, T) per caption, in the encoder's dtype and on its device, where they may still be in the
        making; captions are cut at 512 tokens.

        Captions of `batches` pass together; a caption's features depend on its neighbours by rounding at most.
        """
        ids = [self.token_ids(caption) for caption in captions]
        features: dict[int, Tensor] = {}
        for batch in _batches([len(one) for one in ids], self.tokens_at_once):
            features |= zip(batch, self._encode_together([ids[number] for number in batch]), strict=True)
        return [features[number] for number in range(len(captions))]

    def batches(self, captions: list[str]) -> list[list[str]]:
        """The captions, longest first, in the parts that pass together; depends on nothing but the captions' set."""
        ordered = sorted(captions)
        lengths = [len(self.token_ids(caption)) for caption in ordered]
        return [[ordered[number] for number in batch] for batch in _batches(lengths, self.tokens_at_once)]

    def token_ids(self, caption: str) -> list[int]:
        """Token ids of the templated caption, cut at 512."""
        return list(
            self.tokenizer(templated(self.tokenizer, caption), padding=False, truncation=True, max_length=MAX_TOKENS)[
                "input_ids"
            ]
        )

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.no_grad()
    def _encode_together(self, token_ids: list[list[int]]) -> list[Tensor]:
        """Features of captions padded at their ends.

        A token of Qwen3 sees only what stands before it, so padding at the end changes no feature and needs no mask: a
        mask without gaps lets attention take its fast causal kernel, as for a single caption.
        """
        longest = max(map(len, token_ids))
        padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids in token_ids])
        ids_BL = to_device(padded, self._device)
        output = self.model(
            input_ids=ids_BL, attention_mask=torch.ones_like(ids_BL), output_hidden_states=True, use_cache=False
        )
        hidden_BLT = output.hidden_states[-2]
        return [row[: len(ids)] for row, ids in zip(hidden_BLT, token_ids, strict=True)]


def _batches(lengths: list[int], tokens_at_once: int) -> list[list[int]]:
    """Places of the lengths, longest first, in batches whose size times longest is at most `tokens_at_once`."""
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= tokens_at_once:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def templated(tokenizer: Any, caption: str) -> str:
    """The caption inside Qwen's chat template, as the pipeline sends it."""
    return str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": caption}], tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
    )


def num_tokens(tokenizer: Any, caption: str) -> int:
    """Tokens of the templated caption, uncut."""
    return len(tokenizer(templated(tokenizer, caption), padding=False)["input_ids"])
