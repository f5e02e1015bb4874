"""A queue of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slipstream.jobs.database import Database, open_database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """An open queue without jobs."""
    opened = open_database(f"sqlite:///{tmp_path / 'home' / 'queue.db'}")
    yield opened
    opened.close()
