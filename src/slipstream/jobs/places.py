"""Where the queue keeps what it knows: the database, the supervisor's log and lock."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

HOME_VARIABLE = "SLIPSTREAM_HOME"
DATABASE_VARIABLE = "SLIPSTREAM_DATABASE"


def home_dir() -> Path:
    """`SLIPSTREAM_HOME`, else `slipstream` in `XDG_DATA_HOME`, else `~/.local/share/slipstream`."""
    if given := os.environ.get(HOME_VARIABLE):
        return Path(given).expanduser().resolve()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().resolve() / "slipstream"


def database_url() -> str:
    """`SLIPSTREAM_DATABASE`, such as `postgresql://user@host/name`, else an SQLite file in the home folder."""
    return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{quote(str(home_dir() / 'queue.db'))}"
