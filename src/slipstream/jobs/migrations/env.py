"""Run by alembic: the scripts act on the connection, and in the transaction, of whoever called."""

from __future__ import annotations

from alembic import context

from slipstream.jobs.models import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
