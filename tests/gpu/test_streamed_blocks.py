"""Blocks that stream on CUDA: the resident numbers while copies overlap with computing, less memory, both sides."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from tests.gpu.test_fast_path import error
from torch import Tensor

from slipstream.kernels.float8 import float8_obstacle
from slipstream.memory.levels import LEVELS, same_level
from slipstream.memory.pinned import HostArena, Offload
from slipstream.memory.streaming import Piece, Ring, spread
from slipstream.models.z_image.streamed import Streaming
from slipstream.training.fast_path import NO_KERNELS, Kernels

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]
ADAPTED = ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3", "adaLN_modulation.0")
LINEARS = ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3")


class Case:
    """The tiny transformer with its training adapter folded in, a LoRA off its start, and a batch of 64 x 64 latents.

    Every kernel is launched by itself, in the resident case too, unless `graphs` are asked for; `known` are the kernels
    of the case to compare with, which a second timing might choose differently.
    """

    def __init__(
        self, tiny, kind: str, blocks: tuple[int, ...], num_slots: int = 2, known: Kernels = NO_KERNELS, *,
        graphs: bool = False,
    ) -> None:  # fmt: skip
        from slipstream.adapters.files import load_lora
        from slipstream.adapters.folding import FoldedBranches, FoldedPacks, dense_hosts
        from slipstream.adapters.inject import inject_lora, select_targets
        from slipstream.adapters.training_adapter import attach_training_adapter
        from slipstream.models.z_image.family import ZImage
        from slipstream.models.z_image.resolve import TINY_ROOT, resolve_parts
        from slipstream.training.fast_path import fast_path
        from slipstream.training.gradients import FlatGradients

        float8 = kind == "float8"
        if float8 and (why := float8_obstacle(torch.device("cuda"))) is not None:
            pytest.skip(why)
        chosen = {f"layers.{block}.{part}.{name}" for block in blocks for part in ("attention", "feed_forward")
                  for name in LINEARS}  # fmt: skip
        offload = Offload(chosen.__contains__, HostArena(pinned=True, chunk_bytes=2**22)) if blocks else None
        file = TINY_ROOT / "adapters" / "training_adapter_v2.safetensors"
        packs = FoldedPacks(load_lora(file).modules, "float8", torch.device("cpu"), offload) if float8 else None
        on, dtype = torch.device("cuda"), torch.bfloat16
        family = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), on, dtype, dtype, "float8" if float8 else None)
        self.model = family.load_transformer(None, packs.watch if packs else None, offload)
        adapter = attach_training_adapter(self.model, file)
        assert adapter.branches is not None
        self.folded = [FoldedBranches(adapter.branches, dense_hosts(adapter.branches), torch.device("cpu"), offload)]
        if packs is not None:
            packs.fold_into(adapter.branches)
            self.folded.append(packs)
        self.lora = inject_lora(self.model, select_targets(self.model, "layers", ADAPTED), rank=8, alpha=8.0, seed=1)
        generator = torch.Generator().manual_seed(2)
        for parameter in self.lora.parameters():
            assert parameter.device.type == "cuda"
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
        self.flat = FlatGradients(self.lora.parameters())
        path, lines = fast_path(
            self.model, self.lora, on, known=known, float8=float8,
            streaming=Streaming(blocks, num_slots) if blocks else Streaming(),
        )  # fmt: skip
        assert path is not None, lines
        self.kernels = path.kernels
        self.stack, self.predict = path.stack, path.predict if graphs else path.predict.without_graphs()
        self.noisy = torch.randn(1, 16, 64, 64, generator=generator).cuda()
        self.sigma = torch.tensor([0.4], device="cuda")
        self.texts = [tiny.features("a noto emoji of cat")]

    def step(self, between: bool = False) -> tuple[Tensor, Tensor]:
        """(velocity, all gradients as one vector); `between` draws without the training adapter before the backward
        pass."""
        self.flat.zero()
        velocity = self.predict(self.noisy, self.sigma, self.texts)
        if between:
            self.sides()
        velocity.square().mean().backward()
        found = torch.cat([parameter.grad.flatten().float() for parameter in self.lora.parameters()])
        return velocity.detach(), found

    @torch.no_grad()
    def sides(self) -> list[Tensor]:
        """Predictions with the training adapter, without it, and with it."""
        found = [self.predict(self.noisy, self.sigma, self.texts)]
        with ExitStack() as out:
            for folded in self.folded:
                out.enter_context(folded.taken_out())
            found.append(self.predict(self.noisy, self.sigma, self.texts))
        return [*found, self.predict(self.noisy, self.sigma, self.texts)]


@pytest.mark.parametrize("kind", ["bf16", "float8"])
@pytest.mark.parametrize("num_slots", [2, 3])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_numbers_are_those_of_resident_blocks(tiny, kind, num_slots, share):
    resident = Case(tiny, kind, ())
    number = len(resident.stack.blocks)
    streamed = Case(tiny, kind, spread(round(share * number), number), num_slots, known=resident.kernels)
    velocity, exact = resident.step()
    again = max(error(resident.step()[1], exact) for _ in range(5))
    for level in LEVELS:
        streamed.stack.levels_at = same_level(level, number)
        for _ in range(5):  # no wait in between: copies of a step overlap with the one before
            found_velocity, found = streamed.step()
        print(f"{kind} {level}: velocity {error(found_velocity, velocity):.2e}, gradients {error(found, exact):.2e}, "
              f"two resident runs {again:.2e}")  # fmt: skip
        assert torch.equal(found_velocity, velocity)
        assert error(found, exact) <= max(3 * again, 1e-6), level


@pytest.mark.parametrize("kind", ["bf16", "float8"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_graphs_with_their_copies_are_what_runs_without_them(tiny, kind, share):
    """Run, captured, replayed; with predictions of the other side between updates, and inside of one."""
    resident = Case(tiny, kind, ())
    number = len(resident.stack.blocks)
    streamed = Case(tiny, kind, spread(round(share * number), number), known=resident.kernels, graphs=True)
    assert streamed.predict.has_graphs
    velocity, exact = resident.step()
    again = max(error(resident.step()[1], exact) for _ in range(5))
    for between in (False, False, False, True, False, True, True, False):
        found_velocity, found = streamed.step(between)
        print(f"{kind}: velocity {error(found_velocity, velocity):.2e}, gradients {error(found, exact):.2e}")
        assert torch.equal(found_velocity, velocity)
        assert error(found, exact) <= max(3 * again, 1e-6)
        del found_velocity
    for found, expected in zip(streamed.sides(), resident.sides(), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(streamed.step()[0], velocity)


@pytest.mark.parametrize("kind", ["bf16", "float8"])
def test_the_adapter_goes_and_comes_back_without_a_copy(tiny, kind):
    resident = Case(tiny, kind, ())
    streamed = Case(tiny, kind, tuple(range(len(resident.stack.blocks))), known=resident.kernels)
    for found, expected in zip(streamed.sides(), resident.sides(), strict=True):
        assert torch.equal(found, expected)


def test_weights_are_in_pinned_memory_and_not_on_the_device(tiny):
    torch.cuda.synchronize()
    taken = []
    for streams in (False, True):
        before = torch.cuda.memory_allocated()
        case = Case(tiny, "bf16", tuple(range(4)) if streams else ())
        torch.cuda.synchronize()
        taken.append(torch.cuda.memory_allocated() - before)
        if streams:
            weight = case.model.get_submodule("layers.0.attention.to_q").base.weight
            assert weight.device.type == "cpu"
            assert weight.is_pinned()
        del case
        torch.cuda.empty_cache()
    print(f"allocated with resident blocks {taken[0]}, with streaming ones {taken[1]}")
    assert taken[1] < taken[0]


@pytest.mark.parametrize("num_slots", [2, 3])
def test_a_slot_is_never_overwritten_before_slow_computing_is_done_with_it(num_slots):
    """Copies are much faster than what reads them: only the events keep a packet in its slot for as long."""
    size, number = 2**22, 6
    sources = [torch.full((size,), float(index)).pin_memory() for index in range(number)]
    slots = [torch.empty(size, device="cuda") for _ in range(num_slots)]
    packets = [[Piece(lambda own=own: own, slots[i % num_slots])] for i, own in enumerate(sources)]
    ring = Ring(packets, num_slots, torch.device("cuda"))
    found = []
    for order in ([*range(number)], [*reversed(range(number))]) * 3:
        for place, index in enumerate(order):
            ring.take(index, order[place + 1 :])
            torch.cuda._sleep(5_000_000)
            found.append((index, slots[index % num_slots].mean(), slots[index % num_slots].max()))
            ring.release(index)
    torch.cuda.synchronize()
    for index, mean, largest in found:
        assert (float(mean), float(largest)) == (index, index)
    assert ring.num_copies == number + 5 * (number - num_slots)


def test_copies_run_beside_computing():
    """A pass takes less than copies and computing one after the other."""
    size, number = 2**26, 8
    sources = [torch.ones(size, dtype=torch.uint8).pin_memory() for _ in range(number)]
    slots = [torch.empty(size, dtype=torch.uint8, device="cuda") for _ in range(2)]
    ring = Ring([[Piece(lambda own=own: own, slots[i % 2])] for i, own in enumerate(sources)], 2, torch.device("cuda"))
    matrix = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)

    def timed(copies: bool, products: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(4):
            for index in range(number):
                if copies:
                    ring.take(index, [(index + 1) % number])
                for _ in range(products):
                    matrix @ matrix
                if copies:
                    ring.release(index)
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end)

    timed(True, 1)
    alone = timed(True, 0)
    one = timed(False, 10) / 10
    products = max(1, round(alone / one))
    computing, both = timed(False, products), timed(True, products)
    gib = size * number * 4 / 2**30
    print(f"copies {alone:.1f} ms ({gib / alone * 1000:.1f} GiB/s), computing {computing:.1f}, together {both:.1f}")
    assert both < 0.8 * (alone + computing)
