"""The lean batched forward of Z-Image over diffusers' own weights: no Python lists, no mask at equal lengths.

It calls the sub-modules of `diffusers.ZImageTransformer2DModel` (so adapted linears take part) and equals its forward
to rounding; `tests/models/test_forward.py` shows it. Conventions of time and sign are NOT handled here: see
`prediction.py`.

Shape legend: B batch, C latent channels, H W latent height and width, L caption tokens, N image tokens, S = N + L,
D width of the stream, T text features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slipstream.models.z_image.layout import Rotary, StreamLayout
from slipstream.precision.checkpointing import RunBlock, run_directly

PATCH = 2

RunBlocks = Callable[[Tensor, Tensor, Rotary, "tuple[int, ...] | None"], Tensor]
"""(stream_BSD, time_BD, rotary, samples' tokens where they differ) to the stream after all blocks of a list (see
`stack.BlockStack`)."""


class Stacks(NamedTuple):
    """What takes the blocks with modulation as a whole."""

    refiner: RunBlocks
    """`noise_refiner`."""
    main: RunBlocks
    """`layers`."""


def attention(block: Any, x_BSD: Tensor, rotary: Rotary, mask: Tensor | None) -> Tensor:
    """Self-attention with per-head q/k RMSNorm and fp32 rotary embedding. Shapes (B, S, D) -> (B, S, D)."""
    attn = block.attention
    heads = (attn.heads, -1)
    query = rotary.rotate(attn.norm_q(attn.to_q(x_BSD).unflatten(-1, heads)))
    key = rotary.rotate(attn.norm_k(attn.to_k(x_BSD).unflatten(-1, heads)))
    value = attn.to_v(x_BSD).unflatten(-1, heads)
    query, key = query.type_as(value), key.type_as(value)
    mixed = F.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask
    )
    return attn.to_out[0](mixed.transpose(1, 2).flatten(2))


def feed_forward(block: Any, x_BSD: Tensor) -> Tensor:
    """SwiGLU: w2(silu(w1 x) * w3 x)."""
    ffn = block.feed_forward
    return ffn.w2(F.silu(ffn.w1(x_BSD)) * ffn.w3(x_BSD))


def modulated_block(block: Any, x_BSD: Tensor, time_BD: Tensor, rotary: Rotary, mask: Tensor | None) -> Tensor:
    """A block of `layers` or `noise_refiner`: adaLN scales (1 + s) and tanh gates, no shift."""
    scales_and_gates = block.adaLN_modulation(time_BD).unsqueeze(1).chunk(4, dim=2)
    scale_msa, gate_msa, scale_mlp, gate_mlp = scales_and_gates
    attended = attention(block, block.attention_norm1(x_BSD) * (1 + scale_msa), rotary, mask)
    x_BSD = x_BSD + gate_msa.tanh() * block.attention_norm2(attended)
    fed = feed_forward(block, block.ffn_norm1(x_BSD) * (1 + scale_mlp))
    return x_BSD + gate_mlp.tanh() * block.ffn_norm2(fed)


def plain_block(block: Any, x_BSD: Tensor, rotary: Rotary, mask: Tensor | None) -> Tensor:
    """A block of `context_refiner`: it sees no timestep."""
    x_BSD = x_BSD + block.attention_norm2(attention(block, block.attention_norm1(x_BSD), rotary, mask))
    return x_BSD + block.ffn_norm2(feed_forward(block, block.ffn_norm1(x_BSD)))


def patchify(latents_BCHW: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, N, 2*2*C), channels last inside a patch, rows before columns."""
    batch, channels, height, width = latents_BCHW.shape
    patches = latents_BCHW.view(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, PATCH * PATCH * channels)


def unpatchify(patches_BNP: Tensor, height_tokens: int, width_tokens: int) -> Tensor:
    """The inverse of `patchify`."""
    batch = patches_BNP.shape[0]
    patches = patches_BNP.view(batch, height_tokens, width_tokens, PATCH, PATCH, -1)
    return patches.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, height_tokens * PATCH, width_tokens * PATCH)


def context_tokens(
    transformer: nn.Module, text_BLT: Tensor, is_text_BL: Tensor, layout: StreamLayout, run: RunBlock = run_directly
) -> Tensor:
    """Caption branch (B, L, D): a constant of the caption, since `context_refiner` sees neither time nor image.

    `is_text_BL` is True on real caption tokens; the others become the learned pad token.
    """
    model: Any = transformer
    tokens = model.cap_embedder(text_BLT)
    tokens = torch.where(is_text_BL.unsqueeze(-1), tokens, model.cap_pad_token.to(tokens.dtype))
    for block in model.context_refiner:
        tokens = run(plain_block, block, tokens, layout.text, layout.text_mask)
    return tokens


def network_output(
    transformer: nn.Module, latents_BCHW: Tensor, time_B: Tensor, context_BLD: Tensor, layout: StreamLayout,
    run: RunBlock = run_directly, stacks: Stacks | None = None,
) -> Tensor:  # fmt: skip
    """The network's raw output (B, C, H, W) at network time `time_B` in [0, 1] (fp32; 0 = noise, 1 = clean).

    `run` calls each block: directly, or so that its activations are made anew in the backward pass. `stacks` take the
    blocks instead, where they can.
    """
    model: Any = transformer
    key = f"{PATCH}-1"
    time_BD = model.t_embedder(time_B.float() * model.t_scale).type_as(latents_BCHW)
    image = model.all_x_embedder[key](patchify(latents_BCHW))
    padding = layout.image.cos.shape[1] - image.shape[1]
    if padding:
        pads = model.x_pad_token.to(image.dtype).expand(image.shape[0], padding, -1)
        image = torch.cat((image, pads), dim=1)
    if stacks is not None:
        image = stacks.refiner(image, time_BD, layout.image, None)
    else:
        for block in model.noise_refiner:
            image = run(modulated_block, block, image, time_BD, layout.image, None)
    stream = torch.cat((image, context_BLD.type_as(image)), dim=1)
    if stacks is not None:
        stream = stacks.main(stream, time_BD, layout.joint, layout.lengths)
    else:
        for block in model.layers:
            stream = run(modulated_block, block, stream, time_BD, layout.joint, layout.joint_mask)
    patches = model.all_final_layer[key](stream[:, : layout.num_image_tokens], c=time_BD)
    return unpatchify(patches, layout.height_tokens, layout.width_tokens)
