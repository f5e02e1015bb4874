"""Predictions as CUDA graphs, captured per shape: a step at 512 x 512 would otherwise wait for its own launches.

A training prediction is a pair of graphs, forward and backward, that share the memory of their activations; all
training graphs share one pool, all predictions without gradients another, since no two of a kind are alive at once.
A shape is run without a graph the first time, which warms every kernel up, and captured the second time. Whatever that
first run left behind in autograd must be gone by then: what its loss still hangs on cannot be captured.

Where weights stream, a pair's copies are part of it. A forward graph fetches all that it needs; a backward graph begins
with what the forward one left in the slots. Predictions without gradients are then no graphs, since they may want other
weights (those without the training adapter).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from slipstream.memory.streaming import Content, Ring

Inputs = tuple[Tensor, ...]
Slots = list[list[Content | None]]
"""What each ring's slots hold."""
MOST_SHAPES = 48
"""Graphs of each kind that are kept; the one that was not used for longest goes first."""


@dataclass
class _Forward:
    """A captured prediction without gradients."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    output: Tensor
    held: Any


@dataclass
class _Pair(_Forward):
    """A captured prediction with its backward pass, which adds to the parameters' `grad`.

    Attributes:
        between: what the rings' slots hold after the forward graph, and must hold before the backward one.
        after: what they hold after that.
    """

    backward: torch.cuda.CUDAGraph
    d_output: Tensor
    between: Slots
    after: Slots


class Graphs:
    """Runs a function by replaying graphs of it.

    Args:
        function: (inputs, held) to the output; only tensors in `inputs` change between calls of one key.
        parameters: what the backward pass finds gradients for; each has a `grad` that stays where it is.
        rings: of the weights that stream.
    """

    def __init__(
        self, function: Callable[[Inputs, Any], Tensor], parameters: Sequence[nn.Parameter], rings: Sequence[Ring] = ()
    ) -> None:
        self._function, self._rings = function, list(rings)
        self._parameters = list(parameters)
        self._known: OrderedDict[Hashable, _Forward | None] = OrderedDict()
        self._pools = _new_pools()
        self._anchor: Tensor | None = None
        self.before_backward: Callable[[], None] = lambda: None
        self.generation = 0

    def run(self, key: Hashable, inputs: Inputs, held: Any) -> Tensor:
        """The output for these inputs.

        Args:
            key: everything beside the inputs' values that the function depends on.
            held: what the function also reads and must not be freed while the graph lives.
        """
        trains = torch.is_grad_enabled()
        if self._rings and not trains:
            return self._function(inputs, held)
        entry = self._entry((trains, key), inputs, held, trains)
        if entry is None:
            return self._function(inputs, held)
        for static, given in zip(entry.inputs, inputs, strict=True):
            static.copy_(given, non_blocking=True)
        if not isinstance(entry, _Pair):
            entry.graph.replay()
            return entry.output.clone()
        if self._anchor is None:
            self._anchor = torch.zeros((), device=inputs[0].device, requires_grad=True)
        return _Replay.apply(self, entry, self._anchor)

    def clear(self) -> None:
        """Drop all graphs with the memory that they hold; a shape that comes up again is captured again.

        No prediction may be waiting for its backward pass. The pools are new ones: a freed one takes no more graphs.
        """
        self._known.clear()
        self._pools = _new_pools()

    def _entry(self, key: Hashable, inputs: Inputs, held: Any, trains: bool) -> _Forward | None:
        if key not in self._known:
            self._known[key] = None
            return None
        entry = self._known[key]
        if entry is None:
            entry = self._capture_pair(inputs, held) if trains else self._capture(inputs, held)
            self._known[key] = entry
        self._known.move_to_end(key)
        while len(self._known) > 2 * MOST_SHAPES:
            self._known.popitem(last=False)
        return entry

    def _capture(self, inputs: Inputs, held: Any) -> _Forward:
        static, graph = tuple(given.clone() for given in inputs), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pools[1], capture_error_mode="thread_local"):
            output = self._function(static, held)
        return _Forward(graph, static, output, held)

    def _capture_pair(self, inputs: Inputs, held: Any) -> _Pair:
        static = tuple(given.clone() for given in inputs)
        graph, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        for ring in self._rings:
            ring.wait()
        self._forget()
        try:
            with torch.cuda.graph(graph, pool=self._pools[0], capture_error_mode="thread_local"):
                output = self._function(static, held)
            between = self._left()
            self._believe(between)
            d_output = torch.empty_like(output)
            with torch.cuda.graph(backward, pool=self._pools[0], capture_error_mode="thread_local"):
                found = torch.autograd.grad(output, self._parameters, d_output, allow_unused=True)
                _add(self._parameters, found)
            after = self._left()
        finally:
            self._forget()  # capturing copied nothing
        return _Pair(graph, static, output.detach(), held, backward, d_output, between, after)

    def replay_forward(self, pair: _Pair) -> None:
        """The prediction, which fills the slots as it goes."""
        for ring in self._rings:
            ring.wait()
        pair.graph.replay()
        self._believe(pair.between)

    def replay_backward(self, pair: _Pair) -> None:
        """Its backward pass, whatever was in the slots in the meantime."""
        self.before_backward()
        for ring, contents in zip(self._rings, pair.between, strict=True):
            ring.bring(contents)
        pair.backward.replay()
        self._believe(pair.after)

    def _believe(self, slots: Slots) -> None:
        """This is what the rings' slots hold now."""
        for ring, contents in zip(self._rings, slots, strict=True):
            ring.reset(contents)

    def _forget(self) -> None:
        for ring in self._rings:
            ring.reset([None] * ring.num_slots)

    def _left(self) -> Slots:
        return [ring.contents() for ring in self._rings]


def _new_pools() -> tuple[Any, Any]:
    """Of training predictions and of the others."""
    return torch.cuda.graph_pool_handle(), torch.cuda.graph_pool_handle()


def _add(parameters: Sequence[nn.Parameter], found: Sequence[Tensor | None]) -> None:
    """Add gradients to the parameters' own. Many at a time, if all lie in memory as their parameters do."""
    pairs = [(cast(Tensor, own.grad), new) for own, new in zip(parameters, found, strict=True) if new is not None]
    torch._foreach_add_([grad for grad, _ in pairs], [new.contiguous() for _, new in pairs])


class _Replay(torch.autograd.Function):
    """Replays the forward graph, and the backward graph when the gradient arrives."""

    @staticmethod
    def forward(ctx: Any, graphs: Graphs, pair: _Pair, anchor: Tensor) -> Tensor:
        graphs.generation += 1
        ctx.graphs, ctx.pair, ctx.generation = graphs, pair, graphs.generation
        graphs.replay_forward(pair)
        return pair.output.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        if ctx.generation != ctx.graphs.generation:
            raise RuntimeError("another training prediction ran before the backward pass of this one")
        ctx.pair.d_output.copy_(gradients[0])
        ctx.graphs.replay_backward(ctx.pair)
        return None, None, None
