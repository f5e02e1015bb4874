"""A studio as a process of its own, as a user starts it, and a browser to look at it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from slipstream.jobs.service import stop_supervisor

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TOKEN = "a-token-for-tests-0123456789"


@dataclass(frozen=True)
class Served:
    """A running studio: its address, folders, process, and the time of a core that it took until it answered."""

    address: str
    base: Path
    process: subprocess.Popen[str]
    core_seconds_to_start: float

    @property
    def runs(self) -> Path:
        return self.base / "runs"

    @property
    def datasets(self) -> Path:
        return self.base / "datasets"

    @property
    def home(self) -> Path:
        return self.base / "home"


@contextmanager
def serving(base: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """`slipstream serve` on a free port for the length of a block."""
    command = [
        sys.executable, "-m", "slipstream.cli.app", "serve", "--port", "0", "--home", str(base / "home"),
        "--runs", str(base / "runs"), "--datasets", str(base / "datasets"), *options,
    ]  # fmt: skip
    own = {"COLUMNS": "200", "PYTHONUNBUFFERED": "1", "SLIPSTREAM_DRAWING_IDLE_SECONDS": "30"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **own, **(env or {})},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://\S+?:\d+", line):
                break
        else:
            raise AssertionError("the studio did not start:\n" + "".join(said))
        times = psutil.Process(process.pid).cpu_times()
        threading.Thread(target=process.stdout.read, daemon=True).start()  # nothing it says may block it
        yield Served(found[0].replace("localhost", "127.0.0.1"), base, process, times.user + times.system)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        stop_supervisor(base / "home")  # it outlives its server, as it should
