"""Where to draw: GPUs on which nothing is trained, or the CPU."""

from __future__ import annotations

from dataclasses import dataclass

from slipstream.jobs.devices import Gpu, find_gpus, queue_names
from slipstream.jobs.job import CPU
from slipstream.reports.facts import read_object
from slipstream.runs.layout import RunDir
from slipstream.runs.lock import is_running
from slipstream.web.problems import RefusedError
from slipstream.web.services.queue import queue_of
from slipstream.web.services.runs import list_runs
from slipstream.web.settings import StudioSettings

_AUTO = "auto"
_BUSY_GIB = 1.5
"""What a GPU holds at least while somebody trains on it who is not in the queue."""


@dataclass(frozen=True)
class DrawingDevice:
    """A device to draw on. `busy_with` is the training that runs there, "" where none does."""

    name: str
    label: str
    busy_with: str


def drawing_devices(settings: StudioSettings) -> list[DrawingDevice]:
    """GPUs first, in their order, then the CPU, where drawing disturbs nobody for long."""
    gpus = find_gpus()
    busy = _busy(settings, gpus)
    allowed = set(queue_names(gpus))
    listed = [DrawingDevice(gpu.queue, gpu.name, busy.get(gpu.queue, "")) for gpu in gpus if gpu.queue in allowed]
    return [*listed, DrawingDevice(CPU, "CPU", "")]


def choose_device(settings: StudioSettings, asked: str, *, share: bool) -> str:
    """The device for a request; `auto` is the first GPU that is free, the CPU where there is no GPU at all.

    Raises:
        RefusedError: there is no such device (422), or something is trained on it and `share` is off (409).
    """
    devices = drawing_devices(settings)
    gpus = [device for device in devices if device.name != CPU]
    if asked == _AUTO:
        free = next((device for device in gpus if share or not device.busy_with), None)
        if free is not None or not gpus:
            return CPU if free is None else free.name
        chosen = gpus[0]
    else:
        chosen = next((device for device in devices if device.name == asked), DrawingDevice("", "", ""))
    if not chosen.name:
        names = ", ".join(device.name for device in devices)
        raise RefusedError(422, f"there is no device {asked!r}", where="device", fix=f"choose one of {names}.")
    if chosen.busy_with and not share:
        raise RefusedError(
            409, f"{chosen.busy_with!r} is being trained on {chosen.name}", where="device",
            fix="draw on the CPU, wait until it is done, or turn on sharing the GPU, which slows the training and may "
            "run it out of memory.",
        )  # fmt: skip
    return chosen.name


def free_device(settings: StudioSettings, name: str) -> bool:
    """Whether nothing is trained on that device now."""
    return any(device.name == name and not device.busy_with for device in drawing_devices(settings))


def _busy(settings: StudioSettings, gpus: tuple[Gpu, ...]) -> dict[str, str]:
    """Queue name of a GPU -> what is trained there: jobs of the queue, and runs that were started in a terminal."""
    if not gpus:
        return {}
    from slipstream.jobs.leases import active_jobs

    jobs = active_jobs(queue_of(settings))
    busy = {job.device: job.name for job in jobs if job.device is not None}
    queued = {job.run_dir for job in jobs}
    for summary in list_runs(settings.runs_dir):
        run = RunDir(settings.runs_dir / summary.name)
        if summary.state != "running" or run.path in queued or not is_running(run):
            continue
        if str(read_object(run.manifest).get("device", "")).startswith("device: CPU"):
            continue
        # its manifest does not tell which GPU: those that hold something are taken for it
        busy |= {gpu.queue: run.name for gpu in gpus if gpu.used_gib >= _BUSY_GIB and gpu.queue not in busy}
    return busy
