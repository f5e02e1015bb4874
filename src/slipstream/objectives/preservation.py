"""Output preservation: captions that do not ask for the LoRA are to look as they did without it."""

from __future__ import annotations

from torch import Tensor

from slipstream.objectives.losses import sample_losses


def preservation_losses(prediction: Tensor, original: Tensor) -> Tensor:
    """Per sample (B,): mean (prediction - original)^2.

    Both are predicted at the training picture's noisy latents for a caption that must not change: the caption with its
    trigger word replaced by a class word (differential output preservation), or the blank one. `original` is without
    the LoRA and without gradient. At a LoRA of zero loss and gradient are zero. Source: the convention of ai-toolkit;
    the idea is the prior preservation of Ruiz et al. 2022 (arXiv 2208.12242), without pictures of the class.
    """
    return sample_losses("mse", prediction, original, huber_delta=0.0)
