"""What all panels share: frozen, nothing unknown accepted, and a field's docstring is its help text.

The help of the command line, the docs and any form comes from those docstrings. Numbers and switches are
strict: text is not read as a number, `true` is not 1, and 1 is not `true`.
"""

from __future__ import annotations

from pydantic import ConfigDict

PANEL = ConfigDict(
    extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, protected_namespaces=()
)
MAX_SEED = 2**32 - 1
