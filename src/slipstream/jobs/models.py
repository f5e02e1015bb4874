"""The tables. Rows stay in this room; `store` turns them into `Job`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Double, ForeignKey, Index, MetaData, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from slipstream.jobs.job import ACTIVE, STATES

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


def quoted(states: tuple[str, ...]) -> str:
    """The states as SQL writes a list of texts."""
    return ", ".join(f"'{state}'" for state in states)


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(naming_convention=NAMES)


class JobRow(Base):
    """A job. Fields as in `job.Job`."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(32))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    config_yaml: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    position: Mapped[int] = mapped_column(BigInteger)
    queue: Mapped[str] = mapped_column(String(32))
    device: Mapped[str | None] = mapped_column(String(32))
    run_dir: Mapped[str] = mapped_column(Text, unique=True)
    created: Mapped[float] = mapped_column(Double)
    started: Mapped[float | None] = mapped_column(Double)
    ended: Mapped[float | None] = mapped_column(Double)
    attempt: Mapped[int] = mapped_column(default=0)
    resumes: Mapped[int] = mapped_column(default=0)
    max_resumes: Mapped[int]
    exit_code: Mapped[int | None]
    message: Mapped[str] = mapped_column(Text, default="")
    owner: Mapped[str | None] = mapped_column(String(64))
    lease_expires: Mapped[float | None] = mapped_column(Double)
    heartbeat: Mapped[float | None] = mapped_column(Double)
    kill_at: Mapped[float | None] = mapped_column(Double)
    continues: Mapped[bool]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    version: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint(f"state IN ({quoted(STATES)})", name="state"),
        Index(
            "one_active_job_a_device", "device", unique=True,
            sqlite_where=text(f"state IN ({quoted(ACTIVE)})"), postgresql_where=text(f"state IN ({quoted(ACTIVE)})"),
        ),
        Index("jobs_by_state", "state", "position"),
        {"sqlite_autoincrement": True},
    )  # fmt: skip


class QueueRow(Base):
    """A queue that was paused at some time."""

    __tablename__ = "queues"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    paused: Mapped[bool]


class ClockRow(Base):
    """One row: how many changes there were. Whoever changes something counts it up first, and so waits its turn."""

    __tablename__ = "clock"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
