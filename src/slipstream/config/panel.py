"""What all panels share: frozen, nothing unknown accepted, and a field's docstring is its help text.

The help of the command line, the docs and any form comes from those docstrings. Numbers and switches are
strict: text is not read as a number, `true` is not 1, and 1 is not `true`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict

PANEL = ConfigDict(
    extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, protected_namespaces=()
)
MAX_SEED = 2**32 - 1


def _not_empty(value: Any) -> Any:
    """An empty path would mean the current folder, which nobody means by it."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("got an empty path, expected a file or folder; leave the line out for the default")
    return value


GivenPath = Annotated[Path, BeforeValidator(_not_empty)]
"""A path that is not empty."""
