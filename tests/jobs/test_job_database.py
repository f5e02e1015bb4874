from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from job_values import AddJob
from sqlalchemy import inspect, text

from slipstream.core.errors import JobError
from slipstream.jobs import store
from slipstream.jobs.database import BUSY_SECONDS, Database, open_database
from slipstream.jobs.job import ACTIVE, STATES, NewJob
from slipstream.jobs.migrations.upgrade import HEAD, alembic_config, current
from slipstream.jobs.models import Base
from slipstream.jobs.places import HOME_VARIABLE


def test_scripts_and_models_agree(db: Database) -> None:
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_what_a_comparison_does_not_see_is_there_too(db: Database) -> None:
    """The check of states and the condition of the index that lets a device have one worker."""
    inspector = inspect(db.engine)
    (check,) = [c for c in inspector.get_check_constraints("jobs") if c["name"] == "ck_jobs_state"]
    assert all(f"'{state}'" in check["sqltext"] for state in STATES)
    (index,) = [i for i in inspector.get_indexes("jobs") if i["name"] == "one_active_job_a_device"]
    condition = str(index["dialect_options"][f"{db.engine.dialect.name}_where"])
    assert index["unique"]
    assert [state for state in STATES if f"'{state}'" in condition] == list(ACTIVE)


def test_a_reader_sees_one_state_whatever_is_committed_meanwhile(db: Database, add: AddJob) -> None:
    """Else a page would be told jobs of one version and the number of the next, and never ask for that one."""
    add("first")
    with db.reading() as session:
        before = session.execute(text("SELECT version FROM clock")).scalar_one()
        add("second")
        assert session.execute(text("SELECT count(*) FROM jobs")).scalar_one() == 1
        assert session.execute(text("SELECT version FROM clock")).scalar_one() == before
    assert store.list_jobs(db).total == 2
    assert store.version(db) > before


def test_a_database_is_opened_while_somebody_is_in_the_middle_of_a_change(db: Database, database_url: str) -> None:
    with db.changing():
        began = time.monotonic()
        open_database(database_url).close()
        assert time.monotonic() - began < BUSY_SECONDS / 2


def test_the_newest_script_is_the_one_the_code_expects(db: Database) -> None:
    with db.engine.connect() as connection:
        assert ScriptDirectory.from_config(alembic_config(connection)).get_heads() == [HEAD]
        assert current(connection) == HEAD


def test_opening_again_changes_nothing_and_loads_no_alembic(database_url: str, db: Database) -> None:
    code = f"""
import sys
from slipstream.jobs import store
from slipstream.jobs.database import open_database
print(store.version(open_database({database_url!r})), "alembic" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "False"]


def _open_and_add(url: str, who: int, ready: Barrier) -> None:
    ready.wait()
    db = open_database(url)
    for number in range(5):
        store.add(db, NewJob(name="x", run_dir=Path("/runs") / f"{who}-{number}"))


def test_four_processes_may_open_a_new_database_at_once(database_url: str) -> None:
    fork = multiprocessing.get_context("fork")
    ready = fork.Barrier(4)
    workers = [fork.Process(target=_open_and_add, args=(database_url, n, ready)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    page = store.list_jobs(open_database(database_url))
    assert (page.total, page.version) == (20, 20)
    assert sorted({job.version for job in page.jobs}) == list(range(1, 21))
    assert len({job.position for job in page.jobs}) == 20


def test_sqlite_is_set_up_for_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "añil b%20c?"))
    db = open_database()
    with db.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert int(connection.execute(text("PRAGMA busy_timeout")).scalar() or 0) >= 10_000
    assert (tmp_path / "añil b%20c?" / "queue.db").exists()


def test_tables_of_a_newer_version_are_left_alone(database_url: str, db: Database) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(JobError, match="another slipstream"):
        open_database(database_url)


@pytest.mark.parametrize("url", ["mysql://a@b/c", "sqlite://", "nonsense"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(JobError, match=r"sqlite:///FILE or postgresql"):
        open_database(url)


def test_a_server_that_is_not_there_is_one_message() -> None:
    with pytest.raises(JobError, match="cannot be opened") as caught:
        open_database("postgresql://me:secret@127.0.0.1:9/none")
    assert "secret" not in str(caught.value)
