"""Jobs, paused queues, and the clock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_STATES = "'queued', 'paused', 'starting', 'running', 'stopping', 'finished', 'stopped', 'failed'"
_ACTIVE = "state IN ('starting', 'running', 'stopping')"


def upgrade() -> None:
    """Make them; the clock starts at 0."""
    clock = op.create_table(
        "clock",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_clock"),
    )
    op.bulk_insert(clock, [{"id": 1, "version": 0}])
    op.create_table(
        "queues",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_queues"),
    )
    _make_jobs()


def _make_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("config_yaml", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("queue", sa.String(32), nullable=False),
        sa.Column("device", sa.String(32)),
        sa.Column("run_dir", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("ended", sa.Double),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("resumes", sa.Integer, nullable=False),
        sa.Column("max_resumes", sa.Integer, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("lease_expires", sa.Double),
        sa.Column("heartbeat", sa.Double),
        sa.Column("kill_at", sa.Double),
        sa.Column("continues", sa.Boolean, nullable=False),
        sa.Column("parent_id", sa.Integer),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["parent_id"], ["jobs.id"], name="fk_jobs_parent_id", ondelete="SET NULL"),
        sa.UniqueConstraint("token", name="uq_jobs_token"),
        sa.UniqueConstraint("run_dir", name="uq_jobs_run_dir"),
        sa.CheckConstraint(f"state IN ({_STATES})", name=op.f("ck_jobs_state")),
        sqlite_autoincrement=True,
    )
    op.create_index("jobs_by_state", "jobs", ["state", "position"])
    op.create_index(
        "one_active_job_a_device", "jobs", ["device"], unique=True,
        sqlite_where=sa.text(_ACTIVE), postgresql_where=sa.text(_ACTIVE),
    )  # fmt: skip
