"""OFT: the weight is turned, never stretched. Blocks of `rank` outputs each are rotated, y = R^T W x.

Source: Qiu et al. 2023 (arXiv 2306.07280), equations 2 and 4: R = (I + Q)(I - Q)^-1 (Cayley) with Q = -Q^T is
orthogonal. Q starts at zero, so a fresh OFT changes nothing. Turning the outputs needs no access to W. `limit` caps the
norm of a layer's Q, as `alpha` does in OFT files.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from slipstream.adapters.branches import device_of, shape_of
from slipstream.adapters.dropout import NO_DROPOUT, Dropout
from slipstream.core.errors import AdapterError


class OFT(nn.Module):
    """An OFT branch: `q` (blocks, size * (size - 1) / 2) holds the upper triangles of every Q."""

    kind = "oft"
    zero_first: frozenset[str] = frozenset()
    scaled: str | None = None

    def __init__(self, q: Tensor, size: int, limit: float, *, trainable: bool, dropout: Dropout = NO_DROPOUT) -> None:
        super().__init__()
        self.q = nn.Parameter(q, requires_grad=trainable)
        self.size = size
        self.limit = limit
        self.scale = 1.0
        self.dropout = dropout
        self.strength = 1.0
        self.enabled = True
        self.eval()

    def forward(self, x: Tensor, out: Tensor, base: nn.Module) -> Tensor:
        """What turning adds to the linear's output (..., out), in which a bias stays unturned."""
        skew = self._triangles()
        skew = skew - skew.mT
        eye = torch.eye(self.size, device=skew.device)
        added = torch.linalg.solve(eye - skew, 2 * skew, left=False)  # R - I, and zero exactly where Q is
        bias = getattr(base, "bias", None)
        blocks = (out if bias is None else out - bias).unflatten(-1, (-1, self.size))
        turned = torch.einsum("...kn,knm->...km", blocks, (added * self.strength).to(out.dtype))
        return turned.flatten(-2)

    def _triangles(self) -> Tensor:
        """The upper triangles of Q (blocks, size, size) in fp32, within the limit."""
        values = self.q.float()
        if self.limit:
            norm = values.square().sum().mul(2).clamp_min(1e-16).sqrt()
            values = values * (self.limit / norm).clamp_max(1)
        rows, columns = torch.triu_indices(self.size, self.size, 1, device=values.device)
        empty = values.new_zeros(values.shape[0], self.size, self.size)
        return empty.index_put((torch.arange(len(values), device=values.device)[:, None], rows, columns), values)

    def exported(self) -> dict[str, Tensor]:
        """The triangles; readers make Q = blocks - blocks^T of them. The limit is in them."""
        return {"oft_blocks": self._triangles().detach()}

    @staticmethod
    def of_file(tensors: Mapping[str, Tensor]) -> OFT:
        """A frozen branch from a file's blocks."""
        blocks = tensors["oft_blocks"]
        skew, size = blocks - blocks.mT, blocks.shape[-1]
        rows, columns = torch.triu_indices(size, size, 1)
        return OFT(skew[:, rows, columns], size, 0.0, trainable=False)


def fresh_oft(linear: nn.Module, size: int, limit: float, name: str, dropout: Dropout) -> OFT:
    """A trainable OFT that changes nothing yet.

    Raises:
        AdapterError: the outputs do not fall into blocks of this size.
    """
    height, _ = shape_of(linear)
    if height % size:
        fitting = [number for number in range(2, min(height, 2 * size) + 1) if height % number == 0]
        raise AdapterError(
            f"{name} has {height} outputs, which are no blocks of {size}", where="target.rank",
            fix=f"an OFT's rank is its block size: use {max(fitting, default=height)}.",
        )  # fmt: skip
    q = torch.zeros(height // size, size * (size - 1) // 2, device=device_of(linear))
    return OFT(q, size, limit, trainable=True, dropout=dropout)


def shape_in_file(tensors: Mapping[str, Tensor]) -> tuple[int, None]:
    """(out, None) of the linear that a file's blocks are for: any number of inputs fits.

    Raises:
        ValueError: the blocks are not square.
    """
    blocks = tensors["oft_blocks"]
    if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2]:
        raise ValueError(f"oft_blocks of shape {tuple(blocks.shape)} are not square blocks")
    return blocks.shape[0] * blocks.shape[1], None
