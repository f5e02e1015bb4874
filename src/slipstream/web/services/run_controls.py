"""Asking a running training for something."""

from __future__ import annotations

from slipstream.config.run_config import config_from_run
from slipstream.runs.controls import Flag, request
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import is_running
from slipstream.web.problems import RefusedError


def ask(run: RunDir, flag: Flag) -> None:
    """Ask the run's worker to stop (saved), to save, or to draw previews after this update.

    Raises:
        RefusedError: nobody trains it, or it has no prompts to draw (409).
    """
    if not is_running(run):
        raise RefusedError(
            409, "nobody trains this run", where=run.name, fix="put it into the queue: it goes on where it stopped."
        )
    if flag == "preview" and not config_from_run(run.config).sample.prompts:
        raise RefusedError(
            409, "this run draws no previews: sample.prompts is empty", where=run.name,
            fix="stop it, give its config prompts, and go on.",
        )  # fmt: skip
    request(run, flag)
