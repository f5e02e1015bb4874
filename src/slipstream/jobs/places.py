"""Where the queue keeps what it knows: the database, the supervisor's log and lock."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

HOME_VARIABLE = "SLIPSTREAM_HOME"
DATABASE_VARIABLE = "SLIPSTREAM_DATABASE"


def home_dir() -> Path:
    """`SLIPSTREAM_HOME`, else `~/.slipstream`."""
    return Path(os.environ.get(HOME_VARIABLE) or "~/.slipstream").expanduser().resolve()


def database_url(home: Path | None = None) -> str:
    """`SLIPSTREAM_DATABASE`, such as `postgresql://user@host/name`, else an SQLite file in the home folder."""
    return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{quote(str((home or home_dir()) / 'queue.db'))}"
