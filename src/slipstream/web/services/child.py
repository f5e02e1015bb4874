"""What needs torch, in a process of its own: a `slipstream` command whose JSON is the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from slipstream.core.errors import SlipstreamError
from slipstream.web.problems import RefusedError

_ERRORS_AS_JSON = {"SLIPSTREAM_ERRORS": "json"}
_AT_ONCE = threading.BoundedSemaphore(2)
"""Each loads torch and reads data: two at a time leave the machine to the trainings."""


def ask_child(arguments: Sequence[str], *, seconds: float, offline: bool) -> Any:
    """Run `slipstream ARGUMENTS` and read what it prints as JSON.

    Args:
        arguments: of the command.
        seconds: after which it is ended.
        offline: whether it may download nothing.

    Raises:
        SlipstreamError: what the command said was wrong.
        RefusedError: it took too long (504), or it failed without saying why (500).
    """
    command = [sys.executable, "-m", "slipstream.cli.app", *arguments]
    environment = {**os.environ, **_ERRORS_AS_JSON, **({"HF_HUB_OFFLINE": "1"} if offline else {})}
    with _AT_ONCE:
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL, env=environment, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RefusedError(
                504, f"slipstream {arguments[0]} did not answer in {seconds:.0f} s", where=arguments[0],
                fix="run it in a terminal: it may be downloading a model.",
            ) from error  # fmt: skip
    if done.returncode != 0:
        raise _error(arguments[0], done.stderr.decode("utf-8", "replace"))
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise _error(arguments[0], done.stdout.decode("utf-8", "replace")) from error


def _error(command: str, said: str) -> SlipstreamError:
    """The error that a command told in its last line of JSON, or that it told none."""
    for line in reversed(said.splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and isinstance(told.get("message"), str):
            return SlipstreamError(told["message"], where=told.get("where"), fix=told.get("fix"))
    return RefusedError(
        500, f"slipstream {command} failed: {said.strip()[-300:] or 'it said nothing'}", where=command,
        fix="run it in a terminal, and report what it says.",
    )  # fmt: skip
