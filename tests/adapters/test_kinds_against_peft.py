"""LoKr, LoHa, DoRA and OFT are PEFT's layers of these names: same weight, same gradients.

PEFT's DoRA has one length per output and its OFT turns inputs; ours has one length per input and turns outputs, as the
file formats mean it. So these two are compared on the transposed weight, and DoRA in PEFT's own direction too.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from slipstream.adapters.dora import DoRA
from slipstream.adapters.inject import inject_fresh
from slipstream.adapters.kinds import Recipe
from slipstream.adapters.lokr import split
from slipstream.core.quiet import quiet_imports

OUT, IN, RANK, ALPHA = 12, 20, 2, 3.0


def weight() -> Tensor:
    return torch.randn(OUT, IN, generator=torch.Generator().manual_seed(0))


def goal() -> Tensor:
    return torch.randn(OUT, IN, generator=torch.Generator().manual_seed(1))


def linear(matrix: Tensor) -> nn.Linear:
    made = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    made.weight.data = matrix.clone()
    return made


def ours(recipe: Recipe, matrix: Tensor | None = None):
    model = nn.Sequential(linear(weight() if matrix is None else matrix))
    branches = inject_fresh(model, ["0"], recipe, seed=0)
    for index, parameter in enumerate(branches.parameters()):
        if parameter is not getattr(branches.branches["0"], "magnitude", None):
            nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(index))
    return model, branches.branches["0"]


def theirs(config, matrix: Tensor) -> nn.Module:
    with quiet_imports():
        from peft import get_peft_model
    model = nn.Sequential(linear(matrix))
    get_peft_model(model, config)
    return model


def merged(model: nn.Module, width: int) -> Tensor:
    """The matrix that a model without biases is."""
    return model(torch.eye(width)).T


def compare(
    got: Tensor, expected: Tensor, mine: list[Tensor], peers: list[Tensor], *, transposed: bool = False
) -> None:
    """Both matrices are equal, and so are the gradients of a loss of them."""
    turned = expected.T if transposed else expected
    torch.testing.assert_close(got, turned, rtol=1e-4, atol=1e-5)
    assert not torch.equal(got, weight())
    (got * goal()).sum().backward()
    (turned * goal()).sum().backward()
    for parameter, peer in zip(mine, peers, strict=True):
        gradient = peer.grad if peer.grad.shape == parameter.grad.shape or peer.ndim == 1 else peer.grad.T
        torch.testing.assert_close(parameter.grad, gradient.reshape(parameter.grad.shape), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("factor", "full"), [(4, False), (-1, False), (4, True)])
def test_lokr(factor, full):
    from peft import LoKrConfig

    rank = 10 if full else RANK
    model, branch = ours(Recipe("lokr", rank, ALPHA, lokr_factor=None if factor < 0 else factor))
    assert (branch.w2_a is None) is full
    peer = theirs(LoKrConfig(r=rank, alpha=ALPHA, decompose_factor=factor, target_modules=["0"]), weight())[0]
    peers = [peer.lokr_w1["default"], *([] if full else [peer.lokr_w2_a["default"]])]
    peers.append((peer.lokr_w2 if full else peer.lokr_w2_b)["default"])
    mine = [parameter for _, parameter in branch.named_parameters()]
    for parameter, other in zip(mine, peers, strict=True):
        other.data = parameter.detach().clone()
    compare(merged(model, IN), merged(peer, IN), mine, peers)


def test_loha():
    from peft import LoHaConfig

    model, branch = ours(Recipe("loha", RANK, ALPHA))
    peer = theirs(LoHaConfig(r=RANK, alpha=ALPHA, target_modules=["0"]), weight())[0]
    names = ("w1_a", "w1_b", "w2_a", "w2_b")
    peers = [getattr(peer, f"hada_{name}")["default"] for name in names]
    mine = [getattr(branch, name) for name in names]
    for parameter, other in zip(mine, peers, strict=True):
        other.data = parameter.detach().clone()
    compare(merged(model, IN), merged(peer, IN), mine, peers)


@pytest.mark.parametrize("direction", ["per input", "per output"])
def test_dora(direction):
    from peft import LoraConfig

    config = LoraConfig(r=RANK, lora_alpha=ALPHA, use_dora=True, target_modules=["0"])
    model, branch = ours(Recipe("dora", RANK, ALPHA))
    branch.magnitude.data *= torch.linspace(0.5, 1.5, IN)
    if direction == "per input":
        peer = theirs(config, weight().T)[0]
        peers = [peer.lora_B["default"].weight, peer.lora_A["default"].weight]
    else:
        branch = DoRA(branch.a.data, branch.b.data, torch.rand(OUT, 1) + 0.5, ALPHA / RANK, trainable=True)
        model[0].branches["lora"] = branch
        peer = theirs(config, weight())[0]
        peers = [peer.lora_A["default"].weight, peer.lora_B["default"].weight]
    peers.append(peer.lora_magnitude_vector["default"].weight)
    mine = [branch.a, branch.b, branch.magnitude]
    for parameter, other in zip(mine, peers, strict=True):
        value = parameter.detach() if other.shape == parameter.shape else parameter.detach().T
        other.data = value.reshape(other.shape).clone()
    transposed = direction == "per input"
    compare(merged(model, IN), merged(peer, OUT if transposed else IN), mine, peers, transposed=transposed)


def test_oft():
    from peft import OFTConfig

    model, branch = ours(Recipe("oft", 4, 0.0))
    config = OFTConfig(r=0, oft_block_size=4, use_cayley_neumann=False, target_modules=["0"])
    peer = theirs(config, weight().T)[0]
    other = peer.oft_R["default"].weight
    other.data = branch.q.detach().clone()
    got = merged(model, IN)
    torch.testing.assert_close(got.norm(dim=0), weight().norm(dim=0))
    torch.testing.assert_close(got.T @ got, weight().T @ weight(), rtol=1e-4, atol=1e-4)
    compare(got, merged(peer, OUT), [branch.q], [other], transposed=True)


def test_sizes_are_split_as_peft_does():
    from peft.tuners.lokr.layer import factorization

    for size in (12, 64, 97, 192, 512, 768, 3840, 10240, 15360):
        assert split(size, None) == factorization(size, -1)
        for factor in (2, 3, 4, 7, 8, 16, 24):
            assert split(size, factor) == factorization(size, factor), (size, factor)
