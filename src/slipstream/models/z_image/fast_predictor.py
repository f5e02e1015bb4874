"""The velocity prediction on the fast path: caption branches computed once, the blocks as a stack, CUDA graphs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from slipstream.models.z_image.forward import Stacks, context_tokens, network_output
from slipstream.models.z_image.graphs import Graphs, Inputs
from slipstream.models.z_image.layout import StreamLayout
from slipstream.models.z_image.prediction import TextBatch, layout_for
from slipstream.models.z_image.stack import BlockStack

CONTEXT_BYTES = 512 * 2**20
"""How much of the device the remembered caption branches may take."""


class FastPredictor:
    """(noisy_BCHW, sigma_B, caption features (tokens, T) per sample) -> velocity_BCHW in fp32.

    Args:
        transformer: frozen.
        refiner, main: its `noise_refiner` and its `layers`.
        parameters: what is trained, for the graphs; None runs without graphs.
        keep_contexts: whether what the model makes of a caption is computed once: no branch that is trained or
            switched may lie outside of `noise_refiner` and `layers` then, nor where there are graphs.
    """

    def __init__(
        self, transformer: nn.Module, refiner: BlockStack, main: BlockStack,
        parameters: Sequence[nn.Parameter] | None, *, keep_contexts: bool = True,
    ) -> None:  # fmt: skip
        self._transformer = transformer
        self._keeps_contexts = keep_contexts
        self._stacks = Stacks(refiner, main)
        self._both = refiner, main
        weight = next(transformer.parameters())
        self._device, self._dtype = weight.device, weight.dtype
        self._contexts: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()
        self._most_tokens = 1 << 60
        rings = [stack.streamed.ring for stack in (refiner, main) if stack.streamed.ring is not None]
        self._graphs = Graphs(self._velocity, parameters, rings) if parameters is not None else None
        if self._graphs is not None:
            self._graphs.before_backward = self._settle

    def without_graphs(self) -> FastPredictor:
        """The same prediction, every kernel launched by itself."""
        return FastPredictor(self._transformer, *self._both, None, keep_contexts=self._keeps_contexts)

    def limit_graphs(self, tokens: int) -> None:
        """Training batches of more tokens become no graphs, whose activations stay taken between steps."""
        self._most_tokens = tokens

    @property
    def has_graphs(self) -> bool:
        """Whether predictions become graphs."""
        return self._graphs is not None

    def drop_graphs(self, *, for_good: bool = False) -> None:
        """Free what graphs hold; `for_good` makes no new ones either."""
        if self._graphs is not None:
            self._graphs.clear()
        if for_good:
            self._graphs = None

    def __call__(self, noisy_BCHW: Tensor, sigma_B: Tensor, texts: list[Tensor]) -> Tensor:
        """See the class."""
        context, layout = self._contexts_of(texts, noisy_BCHW)
        inputs = noisy_BCHW, sigma_B.float(), context
        trains = torch.is_grad_enabled()
        if not trains:
            for stack in self._both:
                stack.refresh()
        too_large = trains and layout.joint.cos.shape[1] * len(texts) > self._most_tokens
        if self._graphs is None or too_large or layout.lengths is not None:  # too many sets of lengths to capture all
            return self._velocity(inputs, layout)
        factors = tuple(stack.factors() for stack in self._both) if trains else None
        return self._graphs.run((tuple(noisy_BCHW.shape), noisy_BCHW.dtype, context.shape[1], factors), inputs, layout)

    def _settle(self) -> None:
        for stack in self._both:
            stack.settle()

    def _velocity(self, inputs: Inputs, layout: StreamLayout) -> Tensor:
        noisy_BCHW, sigma_B, context_BLD = inputs
        latents = noisy_BCHW.to(self._dtype)
        output = network_output(self._transformer, latents, 1 - sigma_B, context_BLD, layout, stacks=self._stacks)
        return -output.float()

    def _contexts_of(self, texts: list[Tensor], noisy_BCHW: Tensor) -> tuple[Tensor, StreamLayout]:
        """((B, L, D) of the captions, the layout of the batch)."""
        if not self._keeps_contexts:
            batch = TextBatch.of(texts, self._device, self._dtype)
            layout = layout_for(self._transformer, noisy_BCHW, batch)
            return context_tokens(self._transformer, batch.hidden_BLT, batch.is_text_BL, layout), layout
        contexts = [self._context(text) for text in texts]
        context = pad_sequence(contexts, batch_first=True)
        return context, layout_for(self._transformer, noisy_BCHW, TextBatch(context, tuple(map(len, contexts))))

    @torch.no_grad()
    def _context(self, text: Tensor) -> Tensor:
        """(L, D) of a caption, remembered by its features' identity."""
        known = self._contexts.get(id(text))
        if known is not None:
            self._contexts.move_to_end(id(text))
            return known[1]
        batch = TextBatch.of([text], self._device, self._dtype)
        nowhere: Any = torch.empty(1, 0, 2, 2, device=self._device)
        layout = layout_for(self._transformer, nowhere, batch)
        context = context_tokens(self._transformer, batch.hidden_BLT, batch.is_text_BL, layout)[0]
        self._contexts[id(text)] = text, context
        while sum(one.nbytes for _, one in self._contexts.values()) > CONTEXT_BYTES:
            self._contexts.popitem(last=False)
        return context
