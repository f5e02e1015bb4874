"""What a fused block keeps between its passes: gradients do not depend on it, memory does."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from tests.models.test_stack import Case

from slipstream.kernels.attended import attended
from slipstream.kernels.attention import plain_attention
from slipstream.memory.levels import LEVELS
from slipstream.models.z_image.fused_block import enter_block, keep_block
from slipstream.models.z_image.keeping import Shelved, shelve, unshelve
from slipstream.models.z_image.layout import RopeSpec, build_layout
from slipstream.models.z_image.stack import BlockStack
from slipstream.training.fast_path import branches_of


def stack_at(case: Case, levels) -> BlockStack:
    return BlockStack(
        case.blocks, [branches_of(b) for b in case.blocks], plain_attention, levels_at=lambda batch, tokens: levels
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_bit_for_bit_the_same_at_every_level_and_mixture(fresh_transformer, batch):
    case = Case(fresh_transformer, batch)
    number = len(case.blocks)
    mixture = tuple(LEVELS[-1 - index % len(LEVELS)] for index in range(number))
    results = [case.by_stack(stack_at(case, levels)) for levels in (*((level,) * number for level in LEVELS), mixture)]
    first, gradients = results[0]
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    for found, own in results[1:]:
        assert torch.equal(found, first)
        assert all(torch.equal(a, b) for a, b in zip(own, gradients, strict=True))


class UnequalCase(Case):
    """Captions of two padded lengths: one table of angles and one call of attention a sample."""

    def __init__(self, transformer) -> None:
        super().__init__(transformer, 2)
        self.layout = build_layout(RopeSpec.of(transformer), (64, 32), 6, 8, torch.device("cpu"))
        generator = torch.Generator().manual_seed(4)
        shape = (2, self.layout.joint.cos.shape[1], 192)
        self.x = torch.randn(shape, generator=generator).requires_grad_()
        self.parts = [self.x, *self.parts[1:]]
        self.gradient = torch.randn(shape, generator=generator)

    def by_stack(self, stack: BlockStack):
        stream = stack(self.x, self.time, self.layout.joint, self.layout.lengths)
        return stream.detach(), self._gradients(stream)


def test_samples_of_different_lengths_learn_the_same_at_every_level(fresh_transformer):
    case = UnequalCase(fresh_transformer)
    results = [case.by_stack(stack_at(case, (level,) * len(case.blocks))) for level in LEVELS]
    first, gradients = results[0]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    for found, own in results[1:]:
        assert torch.equal(found, first)
        assert all(torch.equal(a, b) for a, b in zip(own, gradients, strict=True))


def storages(value, found: dict[int, int]) -> dict[int, int]:
    """Bytes by storage of every tensor that hangs on `value`: fields, shelves and what autograd saved."""
    if isinstance(value, torch.Tensor):
        found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    elif isinstance(value, dict):
        for part in value.values():
            storages(part, found)
    elif hasattr(value, "__dict__"):
        storages(vars(value), found)
    return found


def kept_bytes(level, case: Case) -> int:
    stack = stack_at(case, ("everything",) * len(case.blocks))
    stack.refresh()
    factors = torch.randn(case.x.shape[0], 4, case.x.shape[-1], generator=torch.Generator().manual_seed(1))
    cos, sin = case.layout.joint.cos[0, :, 0].contiguous(), case.layout.joint.sin[0, :, 0].contiguous()
    with torch.no_grad():
        entry = enter_block(stack.math, stack.blocks[0], case.x.detach(), factors)
        kept = keep_block(stack.math, stack.blocks[0], *entry, factors, cos, sin)
        shelved = shelve(level, kept)
    return sum(storages(shelved, {}).values())


def test_each_level_keeps_less(fresh_transformer):
    case = Case(fresh_transformer, 1)
    kept = [kept_bytes(level, case) for level in LEVELS]
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == len(LEVELS)
    assert kept[-1] == case.x.nbytes


def test_a_shelf_that_lost_its_products_alone_is_refused(fresh_transformer):
    case = Case(fresh_transformer, 1)
    stack = stack_at(case, ("everything",) * len(case.blocks))
    shelved = Shelved(case.x, outputs=object(), joined=case.x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="products"):
        unshelve(stack.math, stack.blocks[0], shelved, torch.zeros(1, 4, 192), case.x, case.x)


def operands(seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(1, 2, 8, 16, generator=generator) for _ in range(3))


def test_attention_gives_autograds_gradients_with_operands_dropped_and_put_back():
    leaves = [part.requires_grad_() for part in operands()]
    mixed = plain_attention(*leaves)
    d_mixed = torch.randn(mixed.shape, generator=torch.Generator().manual_seed(2))
    expected = torch.autograd.grad(mixed, leaves, d_mixed)
    own = attended(plain_attention, *operands())
    assert torch.equal(own.mixed, mixed)
    own.drop()
    own.restore(operands())
    assert all(torch.equal(a, b) for a, b in zip(own.backward(d_mixed), expected, strict=True))


def test_samples_of_different_lengths_attend_to_themselves_alone():
    lengths = (5, 8)
    generator = torch.Generator().manual_seed(1)
    query, key, value, d_mixed = (torch.randn(2, 3, 8, 16, generator=generator) for _ in range(4))
    leaves = [part.clone().requires_grad_() for part in (query, key, value)]
    valid = torch.arange(8)[None] < torch.tensor(lengths)[:, None]
    masked = torch.nn.functional.scaled_dot_product_attention(*leaves, attn_mask=valid[:, None, None])
    seen = d_mixed * valid[:, None, :, None]
    expected = torch.autograd.grad(masked, leaves, seen)
    own = attended(plain_attention, query, key, value, lengths)
    own.drop()
    own.restore((query, key, value))
    torch.testing.assert_close(own.mixed, masked.detach() * valid[:, None, :, None])
    for found, wanted in zip(own.backward(d_mixed), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_dropped_operands_are_free_and_nothing_is_kept_by_a_graph_that_never_runs_back():
    query, key, value = operands()
    own = attended(plain_attention, query, key, value)
    watched = [weakref.ref(query.untyped_storage()), weakref.ref(own.mixed)]
    own.drop()
    del query, key
    gc.collect()
    assert watched[0]() is None
    del own
    gc.collect()
    assert watched[1]() is None
