"""Databases of both kinds, and short ways to put jobs into them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import postgres
import pytest
from job_values import AddJob
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from slipstream.jobs import store
from slipstream.jobs.database import Database, open_database
from slipstream.jobs.job import Job, NewJob


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """One server for all tests."""
    with postgres.server() as url:
        yield url


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """`new_database("postgresql")`: the URL of an empty database of that kind."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / 'home' / 'queue.db'}"
        server = make_url(request.getfixturevalue("postgres_server")).set(drivername="postgresql+psycopg")
        name = f"t{uuid.uuid4().hex[:12]}"
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return server.set(database=name, drivername="postgresql").render_as_string()

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
    """The URL of an empty database."""
    return new_database(request.param)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """An open database with empty tables."""
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def add(db: Database, tmp_path: Path) -> AddJob:
    """`add("a", queue="gpu:0")`: hand in a job with a run folder of its own."""

    def add_job(name: str, **more: object) -> Job:
        return store.add(db, NewJob(name=name, run_dir=tmp_path / "runs" / name, **more))  # type: ignore[arg-type]

    return add_job
