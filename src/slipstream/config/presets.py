"""Starting points for common trainings: commented YAML files, copied and edited by the user."""

from __future__ import annotations

import difflib
from pathlib import Path

from slipstream.core.errors import ConfigError

PRESETS = ("turbo_character", "turbo_style", "turbo_small_set", "de_turbo_long", "tiny_demo")
_FOLDER = Path(__file__).parent / "presets"


def list_presets() -> list[tuple[str, str]]:
    """(name, description) of every preset, the usual ones first; the description is the file's first line."""
    return [(name, preset_text(name).partition("\n")[0].removeprefix("#").strip()) for name in PRESETS]


def preset_text(name: str) -> str:
    """The YAML text of a preset; `datasets.0.path` in it is still to be filled in.

    Raises:
        ConfigError: there is no preset of that name.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name.replace("-", "_"), PRESETS, n=1, cutoff=0.4)
        raise ConfigError(
            f"no preset is called {name!r}, expected one of: {', '.join(PRESETS)}", where="preset",
            fix=f"did you mean {close[0]}?" if close else "choose one of these.",
        )  # fmt: skip
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
