"""Which state may follow which, and the one way to change a state: compare and set, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import CursorResult, update

from slipstream.jobs.database import Change
from slipstream.jobs.job import ENDED, STATES, State
from slipstream.jobs.models import JobRow

ALLOWED: Mapping[State, Collection[State]] = {
    "queued": ("paused", "starting", "stopped"),
    "paused": ("queued", "stopped"),
    # a worker can be over before anyone saw it run; one that never came goes back into the queue
    "starting": ("running", "stopping", "queued", *ENDED),
    "running": ("stopping", "queued", *ENDED),
    "stopping": ENDED,
    "finished": ("queued", "paused"),
    "stopped": ("queued", "paused"),
    "failed": ("queued", "paused"),
}


def states_before(after: State) -> tuple[State, ...]:
    """From which states one may come to it."""
    return tuple(state for state in STATES if after in ALLOWED[state])


def set_state(
    change: Change,
    job_id: int,
    after: State,
    *,
    before: Collection[State] | None = None,
    if_owner: str | None = None,
    if_attempt: int | None = None,
    **values: Any,
) -> bool:
    """Set a job's state, and `values` with it, if it is in a state from which that is allowed; returns whether it was.

    `before` narrows the states it may come from; `if_owner` and `if_attempt`, where given, must be
    the job's own. All is one
    `UPDATE ... WHERE`, so of two who try at once one is refused, on any database.
    """
    allowed = states_before(after)
    given = allowed if before is None else tuple(before)
    if not set(given) <= set(allowed):
        raise ValueError(f"{after!r} cannot follow {sorted(set(given) - set(allowed))}")
    statement = update(JobRow).where(JobRow.id == job_id, JobRow.state.in_(given))
    if if_owner is not None:
        statement = statement.where(JobRow.owner == if_owner)
    if if_attempt is not None:
        statement = statement.where(JobRow.attempt == if_attempt)
    return write(change, statement.values(state=after, **values))


def write(change: Change, statement: Any) -> bool:
    """Run an UPDATE of jobs under the change's version; returns whether it met a row."""
    statement = statement.values(version=change.version).execution_options(synchronize_session=False)
    result: CursorResult[Any] = change.session.execute(statement)  # type: ignore[assignment]
    met = result.rowcount > 0
    change.made = change.made or met
    return met
