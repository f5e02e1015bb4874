"""Bring a database's tables up to date; alembic is loaded only where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from slipstream.core.errors import JobError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The newest script in `versions/`."""
_ADVISORY_LOCK = 0x51195712
"""Whoever holds it on PostgreSQL changes tables; any number will do that nobody else uses."""


def upgrade(engine: Engine, readers: Engine) -> None:
    """Make or change the tables where they are not of the newest form, in one transaction.

    Of several processes at once one does it; the others wait and find it done. Where nothing is to be done, `readers`,
    whose connections take no lock, see it, so that nobody who is in the middle of a change is waited for.

    Raises:
        JobError: the tables were made by a newer slipstream.
    """
    with readers.connect() as connection:
        if current(connection) == HEAD:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        if current(connection) != HEAD:
            _run_scripts(connection)


def current(connection: Connection) -> str | None:
    """The script that the tables were last changed by; None where there are none yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return None if found is None else str(found)


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings for the scripts in this folder."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _run_scripts(connection: Connection) -> None:
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise JobError(
            f"the queue's tables are of another slipstream ({error})", where=connection.engine.url.render_as_string(),
            fix="update slipstream, or give it another database with SLIPSTREAM_DATABASE.",
        ) from error  # fmt: skip
