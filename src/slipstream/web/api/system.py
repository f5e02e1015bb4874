"""The machine."""

from __future__ import annotations

import dataclasses

from fastapi import APIRouter
from pydantic import BaseModel

import slipstream
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/system", tags=["system"])


class GpuAnswer(BaseModel):
    """One GPU; what its driver does not tell is null."""

    index: int
    name: str
    memory_gib: float
    used_gib: float
    busy_percent: float | None
    celsius: float | None
    watts: float | None


class DiskAnswer(BaseModel):
    """The disk that a folder of the studio lies on."""

    folder: str
    total_gib: float
    free_gib: float


class MachineAnswer(BaseModel):
    """The machine as it is now."""

    version: str
    gpus: list[GpuAnswer]
    num_cores: int
    cpu_percent: float
    memory_gib: float
    memory_used_gib: float
    disks: list[DiskAnswer]


@router.get("")
def machine(studio: StudioOfRequest) -> MachineAnswer:
    """GPUs, processors, memory and disks; at most two seconds old."""
    return MachineAnswer.model_validate(
        {"version": slipstream.__version__, **dataclasses.asdict(studio.machine.look())}
    )
