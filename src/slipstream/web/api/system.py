"""The machine."""

from __future__ import annotations

from fastapi import APIRouter

from slipstream.web.services.machine import Machine
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/system", tags=["system"])


@router.get("")
def machine(studio: StudioOfRequest) -> Machine:
    """GPUs, processors, memory and disks; at most two seconds old."""
    return studio.machine.look()
