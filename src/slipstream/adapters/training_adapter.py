"""The training adapter: a LoRA that de-distils Turbo while a LoRA is trained, and is gone in everything the user sees.

Its state is one of `absent`, `active` (training forward and held-out loss) and `removed` (previews, drift, export).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.files import load_lora
from slipstream.adapters.folding import Folded
from slipstream.adapters.inject import inject_weights
from slipstream.core.hashing import hash_file

ROLE = "training_adapter"


@dataclass(frozen=True)
class TrainingAdapter:
    """A loaded training adapter, or its absence (`branches` is None)."""

    branches: BranchSet | None
    source: str
    content_hash: str
    matched: str
    folded: tuple[Folded, ...] = ()

    @property
    def state(self) -> str:
        """`absent`, `active` or `removed`."""
        if self.branches is None:
            return "absent"
        return "active" if all(b.enabled for b in self.branches.branches.values()) else "removed"

    @contextmanager
    def removed(self) -> Iterator[None]:
        """The model without the training adapter, bit for bit, for the length of a block."""
        if self.branches is None:
            yield
            return
        with self.branches.disabled(), ExitStack() as stack:
            for folded in self.folded:
                stack.enter_context(folded.taken_out())
            yield


def no_training_adapter() -> TrainingAdapter:
    """The absent adapter (De-Turbo, Base, or an explicit opt-out on Turbo)."""
    return TrainingAdapter(None, "none", "", "")


def attach_training_adapter(model: nn.Module, path: Path, source: str | None = None) -> TrainingAdapter:
    """Load the file beside the model's linears, frozen and active; refuses a file that does not fit completely.

    `source` is the name it goes by (`org/repo/file.safetensors`) where that is not the path.
    """
    weights = load_lora(path)
    branches, line = inject_weights(model, weights.modules, role=ROLE, source=str(path))
    return TrainingAdapter(branches, source or str(path), hash_file(path), line)
