"""The devices that queues are for: NVIDIA's GPUs as `nvidia-smi` lists them, or the CPU where there are none."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from dataclasses import dataclass

from slipstream.jobs.job import CPU

_QUERY = "index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw"
_SECONDS_TO_ANSWER = 10.0
_MIB_IN_GIB = 1024


@dataclass(frozen=True)
class Gpu:
    """One GPU at one moment. What its driver does not tell is None."""

    index: int
    uuid: str
    name: str
    memory_gib: float
    used_gib: float
    busy_percent: float | None
    celsius: float | None
    watts: float | None

    @property
    def queue(self) -> str:
        """The queue of jobs that want this GPU."""
        return f"gpu:{self.index}"


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine, without touching one: no process here takes memory on a card.

    It costs a process of `nvidia-smi`, so it is for somebody who looks, and not more often than once in seconds.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_TO_ANSWER, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(answer.stdout)


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """What `nvidia-smi` answered; lines that are none of its rows are left out."""
    rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    return tuple(gpu for row in rows if (gpu := _gpu(row)) is not None)


def _gpu(row: list[str]) -> Gpu | None:
    if len(row) != len(_QUERY.split(",")):
        return None
    index, uuid, name, total, used, busy, celsius, watts = row
    total_mib, used_mib = _number(total), _number(used)
    if not index.isdigit() or total_mib is None or used_mib is None:
        return None
    return Gpu(
        int(index), uuid, name, total_mib / _MIB_IN_GIB, used_mib / _MIB_IN_GIB, _number(busy), _number(celsius),
        _number(watts),
    )  # fmt: skip


def _number(text: str) -> float | None:
    """A figure, None for `[N/A]` and the like."""
    try:
        return float(text)
    except ValueError:
        return None


def queue_names(gpus: tuple[Gpu, ...], visible: str | None = None) -> tuple[str, ...]:
    """A queue for each GPU, and `cpu` in any case: last where there are GPUs, and then only for jobs that ask for it.

    `visible` is `CUDA_VISIBLE_DEVICES` (default: as it is here), which keeps GPUs back: numbers or the beginnings of
    UUIDs.
    """
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    if allowed is None:
        return (*(gpu.queue for gpu in gpus), CPU)
    wanted = [part.strip() for part in allowed.split(",") if part.strip()]
    return (*(gpu.queue for gpu in gpus if any(_is(gpu, part) for part in wanted)), CPU)


def _is(gpu: Gpu, name: str) -> bool:
    return name == str(gpu.index) if name.isdigit() else gpu.uuid.startswith(name)
