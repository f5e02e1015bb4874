"""Studios to be killed: a process that has everything imported and forks a server for each line it reads, which spares
each start a second and a half. What it forks is `slipstream serve --no-supervise` with all pages, and real HTTP.

`python studios.py FOLDER DATABASE_URL PORT`; it answers with the number of the new process. All end with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx
import psutil

SECONDS_TO_ANSWER = 30.0


@dataclass
class Studios:
    """The server of a trial: at most one at a time, always at the same address."""

    process: subprocess.Popen[str]
    address: str
    alive: list[int] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    def start(self) -> None:
        """See to it that one answers."""
        if self.alive:
            return
        began = time.monotonic()
        stdin, stdout = self._pipes()
        stdin.write("one more\n")
        stdin.flush()
        self.alive.append(int(stdout.readline()))
        while not self._answers():
            assert time.monotonic() - began < SECONDS_TO_ANSWER, "the studio does not come back"
            time.sleep(0.01)
        self.waited.append(time.monotonic() - began)

    def kill(self) -> int:
        """kill -9; returns how many died, once their port is free."""
        died = len(self.alive)
        for pid in self.alive:
            os.kill(pid, signal.SIGKILL)
            while psutil.pid_exists(pid):
                time.sleep(0.002)
        self.alive.clear()
        return died

    def close(self) -> None:
        """Kill the one that lives, and end."""
        self._pipes()[0].close()
        self.process.wait(30)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/api/queues", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout


def studios_in(folder: Path, database_url: str, log: Path) -> Studios:
    """Studios over `folder/runs`, none of them started yet."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), str(folder), database_url, str(port)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=log.open("ab"), text=True,
    )  # fmt: skip
    return Studios(process, f"http://127.0.0.1:{port}")


def _serve(folder: Path, database_url: str, port: int) -> None:
    from slipstream.web.serve import serve
    from slipstream.web.settings import StudioSettings

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    settings = StudioSettings(
        folder / "studio", folder / "runs", folder / "datasets", port=port, database_url=database_url
    )
    serve(settings, on_ready=lambda _: None, supervises=False)
    os._exit(0)


def main() -> None:
    import slipstream.jobs.control
    import slipstream.jobs.training_jobs
    import slipstream.web.app
    import slipstream.web.pages.all  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            _serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
        print(child, flush=True)
    for own in psutil.Process().children():  # not by number: those of the dead are given away again
        own.kill()
    os._exit(0)


if __name__ == "__main__":
    main()
