"""The database: SQLite in WAL mode, or PostgreSQL; opened with its tables brought up to date."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from slipstream.core.errors import JobError
from slipstream.jobs.migrations.upgrade import upgrade
from slipstream.jobs.models import ClockRow
from slipstream.jobs.places import database_url

BUSY_SECONDS = 20.0
"""How long a writer waits for others before it gives up."""
_READS = "slipstream_reads"


@dataclass
class Change:
    """An open change. All rows it writes carry `version`; where `made` stays off, nothing is committed."""

    session: Session
    version: int
    made: bool = False


@dataclass(frozen=True)
class Database:
    """An open database; safe to share between threads, not between processes."""

    engine: Engine
    _readers: Engine = field(repr=False)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads, from one state of the database."""
        with Session(self._readers, autoflush=False) as session:
            yield session

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """A transaction that waits for all others that change something, and sees what they did.

        The first statement counts up the clock: on PostgreSQL its row lock, on SQLite the write lock makes changes
        come one after the other, so versions become visible in the order of their numbers.
        """
        with Session(self.engine, autoflush=False) as session:
            count = update(ClockRow).values(version=ClockRow.version + 1).returning(ClockRow.version)
            change = Change(session, session.execute(count).scalar_one())
            yield change
            if change.made:
                session.commit()

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def open_database(url: str | None = None) -> Database:
    """Open the database of that URL (default: `places.database_url`) and bring its tables up to date.

    Any number of processes may do so at once.

    Raises:
        JobError: the URL is none, no such server answers, or the tables are of a newer slipstream.
    """
    parsed = _parsed(url or database_url())
    try:
        engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)
        readers = _readers_of(engine)
        upgrade(engine, readers)
    except DBAPIError as error:
        raise JobError(
            f"the queue's database cannot be opened: {error.orig}", where=_shown(parsed),
            fix="check that the server runs, or the folder's permissions, and SLIPSTREAM_DATABASE.",
        ) from error  # fmt: skip
    return Database(engine, readers)


def _readers_of(engine: Engine) -> Engine:
    """The same database for transactions that only read, each from one state: SQLite does so as it is, PostgreSQL would
    show each statement what was committed meanwhile."""
    snapshot = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    return engine.execution_options(**{_READS: True, **snapshot})


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise JobError(
            "this is no database URL", where=text, fix="expected sqlite:///FILE or postgresql://USER@HOST/NAME."
        ) from error
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database not in (None, "", ":memory:"):
        return url
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise JobError(
        "the queue works on a file of SQLite and on PostgreSQL only", where=_shown(url),
        fix="expected sqlite:///FILE or postgresql://USER@HOST/NAME.",
    )  # fmt: skip


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10, "client_encoding": "utf8"})
    except ModuleNotFoundError as error:
        raise JobError(
            "PostgreSQL needs psycopg, which is not installed", where=_shown(url),
            fix="pip install 'slipstream[postgres]'",
        ) from error  # fmt: skip


def _sqlite(url: URL) -> Engine:
    path = Path(str(url.database)).expanduser().resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise JobError(
            f"cannot make the folder of the queue's database: {error}", where=str(path), fix="set SLIPSTREAM_HOME."
        ) from error
    engine = create_engine(url.set(database=str(path)), connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: sqlite3.Connection, _: Any) -> None:
    """A new connection. SQLAlchemy's begin is the only one (`_begin`): the driver's own comes too late for a reader
    who writes."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:  # another process changes it right now, and the timeout does not cover that
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin(connection: Connection) -> None:
    """A writer takes the write lock first: one that came later as a reader could not be given it any more."""
    reads = connection.get_execution_options().get(_READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def is_passing(error: Exception) -> bool:
    """Whether trying again later may help: the server restarts, another process holds the file."""
    return isinstance(error, DBAPIError) and (isinstance(error, OperationalError) or error.connection_invalidated)
