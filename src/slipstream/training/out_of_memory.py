"""Out of memory in the middle of a training: what was begun is undone, less is kept, and it is begun again.

A step changes nothing but gradients until the optimizer writes, and its draws are a function of its number, so the
step that is done again is the same as one that had room at once: bit for bit, but for kernels on CUDA that add up in
another order from run to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from slipstream.core.errors import TrainingError
from slipstream.models.z_image.family import release_memory
from slipstream.models.z_image.fast_predictor import FastPredictor
from slipstream.training.checkpoint import TrainingState
from slipstream.training.keeping import Keeping

T = TypeVar("T")
_SIGNS = ("out of memory", "ALLOC_FAILED")
"""How libraries that torch calls say it, in errors of a general kind."""

ADVICE = (
    "set training.gradient_checkpointing=full, then quantization.transformer=float8 (or nf4), or lower "
    "training.batch_size (gradient_accumulation makes up for it), the datasets' resolutions or the size of the "
    "previews; then resume. `slipstream presets` lists settings by GPU memory."
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether the device ran out of memory; an error that was met while this one was on its way counts too."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


class MemoryGuard:
    """Does parts of a training again, with less memory, when there was not enough.

    Args:
        keeping: what blocks keep so far.
        keep: makes the blocks keep so much from now on, where they are fused.
        graphs: the prediction whose graphs can be dropped; None where there are none.
        at_once: pictures in a batch of previews.
        room: bytes that activations could take now; None where nobody knows.
        say: gets a line for the user.
    """

    def __init__(
        self, keeping: Keeping, keep: Callable[[Keeping], None], graphs: FastPredictor | None, at_once: int,
        room: Callable[[], int | None], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.keeping = keeping
        self.at_once = at_once
        self._keep, self._graphs, self._room, self._say = keep, graphs, room, say

    def run(self, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """Call a block as the training keeps it now (a `RunBlock`)."""
        return self.keeping.run(function, *arguments)

    def step(self, what: str, action: Callable[[], T]) -> T:
        """An update's result, however often it has to be begun.

        Raises:
            torch.OutOfMemoryError: it does not fit even with the least that a training can keep.
        """
        return self._again(what, action, self._tighten_training)

    def drawing(self, what: str, action: Callable[[], T]) -> T:
        """The same for previews and measurements, which keep nothing; `action` looks at `at_once`."""
        return self._again(what, action, self._tighten_drawing)

    def _again(self, what: str, action: Callable[[], T], tighten: Callable[[], str | None]) -> T:
        while True:
            try:
                return action()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                failure = error
            # the frames that hold what was begun; without them it is free
            failure.__traceback__ = failure.__context__ = failure.__cause__ = None
            release_memory()
            remedy = tighten()
            if remedy is None:
                raise failure
            release_memory()
            self._say(f"warning: out of memory {what}: {remedy}; it is done again from the same state, nothing is lost")

    def _tighten_training(self) -> str | None:
        """More is made again; then no graphs."""
        if self._graphs is not None:
            self._graphs.drop_graphs()
        release_memory()
        tighter = self.keeping.tighter(self._room())
        if tighter is not None:
            self.keeping = tighter
            self._keep(tighter)
            self.at_once = 1
            return tighter.lines[1] if len(tighter.lines) > 1 else "less is kept"
        return self._without_graphs()

    def _tighten_drawing(self) -> str | None:
        """One at a time; then no graphs."""
        if self.at_once > 1:
            self.at_once = 1
            if self._graphs is not None:
                self._graphs.drop_graphs()
            return "pictures are made one at a time from now on"
        return self._without_graphs()

    def _without_graphs(self) -> str | None:
        if self._graphs is None or not self._graphs.has_graphs:
            return None
        self._graphs.drop_graphs(for_good=True)
        return "no CUDA graphs from now on, which hold their activations between steps"


@contextmanager
def whole_update(state: TrainingState) -> Iterator[None]:
    """Around the optimizer's step: out of memory in it leaves the weights as they were, or says that it could not.

    An optimizer allocates its state in its first step; a copy of the weights on the host is kept meanwhile. Later
    steps need next to nothing, and half of one cannot be undone.

    Raises:
        TrainingError: out of memory in a later step.
    """
    optimizer = state.optimizer
    is_first = not optimizer.state
    weights = [parameter.detach().cpu().clone() for parameter in state.lora.parameters()] if is_first else []
    groups = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if not is_first:
            raise TrainingError(
                "the device ran out of memory while the optimizer wrote the weights", where=f"step {state.step + 1}",
                fix=f"resume: the run goes on from its newest checkpoint. If it comes again, {ADVICE}",
            ) from error  # fmt: skip
        optimizer.state.clear()
        with torch.no_grad():
            for parameter, before in zip(state.lora.parameters(), weights, strict=True):
                parameter.copy_(before)
        for group, known in zip(optimizer.param_groups, groups, strict=True):
            for name in set(group) - {"params"} - set(known):
                del group[name]
            group.update(known)
        raise
