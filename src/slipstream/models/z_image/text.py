"""Captions to Qwen3 features, as the Z-Image pipeline makes them: chat template, `hidden_states[-2]`, pads dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MAX_TOKENS = 512


@dataclass(frozen=True)
class TextEncoder:
    """A Qwen3 encoder with its tokenizer. `identity` names weights and precision for cache keys."""

    model: nn.Module
    tokenizer: Any
    identity: str

    def encode(self, captions: list[str]) -> list[Tensor]:
        """Features (tokens, T) per caption on the CPU, in the encoder's dtype; captions are cut at 512 tokens.

        One caption at a time and without padding, so that a caption's features never depend on its neighbours.
        """
        return [self._encode_one(caption) for caption in captions]

    def token_ids(self, caption: str) -> list[int]:
        """Token ids of the templated caption, cut at 512."""
        return list(
            self.tokenizer(templated(self.tokenizer, caption), padding=False, truncation=True, max_length=MAX_TOKENS)[
                "input_ids"
            ]
        )

    @torch.no_grad()
    def _encode_one(self, caption: str) -> Tensor:
        device = next(self.model.parameters()).device
        ids = torch.tensor([self.token_ids(caption)], device=device)
        output = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        return output.hidden_states[-2][0].cpu()


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
