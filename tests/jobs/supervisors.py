"""Supervisors to be killed: a process that has everything imported and forks one for each line it reads.

`python supervisors.py DATABASE_URL DEVICES`; it answers with the number of the new process. All end with it at the
latest, and their workers at theirs.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import psutil

from slipstream.jobs.database import open_database
from slipstream.jobs.supervisor import Rhythm, Supervisor, supervise

RHYTHM = Rhythm(lease=0.5, heartbeat=0.1, look=0.03)
WORKERS = {"fake": "fake_worker", "train": "fake_worker"}


class Nursery:
    """Starts supervisors, each a process of its own."""

    def __init__(self, url: str, devices: tuple[str, ...], log: Path) -> None:
        here = Path(__file__)
        paths = [str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, str(here), url, ",".join(devices)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log.open("ab"), text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip

    def start(self) -> int:
        """A new supervisor; returns its process number."""
        stdin, stdout = self._pipes()
        stdin.write("one more\n")
        stdin.flush()
        return int(stdout.readline())

    def close(self) -> None:
        """Kill those that live, and end."""
        stdin, _ = self._pipes()
        stdin.close()
        self._process.wait(10)

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


def _supervise(url: str, devices: tuple[str, ...]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    supervise(Supervisor(open_database(url), devices, RHYTHM, WORKERS), ended)
    os._exit(0)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d  %(message)s")
    url, devices = sys.argv[1], tuple(sys.argv[2].split(","))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            _supervise(url, devices)
        print(child, flush=True)
    for own in psutil.Process().children():  # not by number: those of the dead are given away again
        own.kill()
    os._exit(0)


if __name__ == "__main__":
    main()
