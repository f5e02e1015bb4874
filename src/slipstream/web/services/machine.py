"""The machine: processors, memory, disks and GPUs as they are now."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_GPU_QUERY = "index,name,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw"
_SECONDS_TO_ANSWER = 5.0
_MIB_IN_GIB = 1024
_GIB = 1024**3


@dataclass(frozen=True)
class Gpu:
    """One GPU. What its driver does not tell is None."""

    index: int
    name: str
    memory_gib: float
    used_gib: float
    busy_percent: float | None
    celsius: float | None
    watts: float | None


@dataclass(frozen=True)
class Disk:
    """The disk that a folder lies on."""

    folder: str
    total_gib: float
    free_gib: float


@dataclass(frozen=True)
class Machine:
    """One look at the machine."""

    gpus: tuple[Gpu, ...]
    num_cores: int
    cpu_percent: float
    memory_gib: float
    memory_used_gib: float
    disks: tuple[Disk, ...]


@dataclass
class MachineWatch:
    """Looks at the machine when somebody asks, and at most once in `seconds`: nobody looks, nothing is spent."""

    folders: tuple[Path, ...]
    seconds: float = 2.0
    _last: tuple[float, Machine] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> Machine:
        """The machine, at most `seconds` old."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] >= self.seconds:
                self._last = (now, look_at_machine(self.folders))
            return self._last[1]


def look_at_machine(folders: Iterable[Path]) -> Machine:
    """Figures of this moment; processor load since the last look."""
    memory = psutil.virtual_memory()
    return Machine(
        gpus=find_gpus(),
        num_cores=psutil.cpu_count() or 1,
        cpu_percent=psutil.cpu_percent(),
        memory_gib=memory.total / _GIB,
        memory_used_gib=(memory.total - memory.available) / _GIB,
        disks=_disks(folders),
    )


def _disks(folders: Iterable[Path]) -> tuple[Disk, ...]:
    """One a disk, named by the first folder on it; a folder that is not there yet counts as its parent."""
    found: dict[int, Disk] = {}
    for folder in folders:
        there = next((place for place in (folder, *folder.parents) if place.exists()), None)
        if there is None:
            continue
        usage = shutil.disk_usage(there)
        found.setdefault(there.stat().st_dev, Disk(str(folder), usage.total / _GIB, usage.free / _GIB))
    return tuple(found.values())


def find_gpus() -> tuple[Gpu, ...]:
    """NVIDIA's GPUs as `nvidia-smi` lists them, without touching one: no process here takes memory on a card."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, f"--query-gpu={_GPU_QUERY}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_TO_ANSWER, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = csv.reader(io.StringIO(answer.stdout), skipinitialspace=True)
    return tuple(gpu for row in rows if (gpu := _gpu(row)) is not None)


def _gpu(row: list[str]) -> Gpu | None:
    if len(row) != len(_GPU_QUERY.split(",")):
        return None
    index, name, total, used, busy, celsius, watts = row
    numbers = [_number(text) for text in (index, total, used)]
    if any(number is None for number in numbers):
        return None
    number, total_mib, used_mib = (value or 0.0 for value in numbers)
    return Gpu(
        int(number), name, total_mib / _MIB_IN_GIB, used_mib / _MIB_IN_GIB, _number(busy), _number(celsius),
        _number(watts),
    )  # fmt: skip


def _number(text: str) -> float | None:
    """A figure, None for `[N/A]` and the like."""
    try:
        return float(text)
    except ValueError:
        return None
