"""Starting points for common trainings: commented YAML files, copied and edited by the user."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from slipstream.core.errors import ConfigError

PRESET_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "by what is learned": ("turbo_character", "turbo_style", "turbo_small_set", "de_turbo_long"),
        "by GPU memory": ("vram_8gb", "vram_12gb", "vram_16gb", "vram_24gb", "vram_48gb", "vram_80gb"),
        "without a GPU": ("tiny_demo",),
    }
)
PRESETS = tuple(name for names in PRESET_GROUPS.values() for name in names)
_FOLDER = Path(__file__).parent / "presets"


def list_presets() -> list[tuple[str, str]]:
    """(name, description) of every preset, group by group; the description is the file's first line."""
    return [(name, preset_text(name).partition("\n")[0].removeprefix("#").strip()) for name in PRESETS]


def preset_text(name: str) -> str:
    """The YAML text of a preset; `datasets.0.path` in it is still to be filled in.

    Dashes count as underscores and capitals as small letters: `turbo-character` is `turbo_character`.

    Raises:
        ConfigError: there is no preset of that name.
    """
    known = name.strip().lower().replace("-", "_")
    if known not in PRESETS:
        close = difflib.get_close_matches(known, PRESETS, n=1, cutoff=0.4)
        raise ConfigError(
            f"no preset is called {name!r}, expected one of: {', '.join(PRESETS)}", where="preset",
            fix=f"did you mean {close[0]}?" if close else "choose one of these.",
        )  # fmt: skip
    return (_FOLDER / f"{known}.yaml").read_text(encoding="utf-8")
