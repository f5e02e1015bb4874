"""Start a job's worker: make or open its run folder, order the attempt, and let the process go."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from slipstream.core.atomic import write_json, write_text
from slipstream.core.errors import JobError
from slipstream.jobs.job import CPU, Job
from slipstream.launch.local import LocalWorker, start_worker
from slipstream.runs.attempts import ATTEMPT_VARIABLE, order_attempt, ordered_attempt
from slipstream.runs.create import create_run, open_run
from slipstream.runs.lock import door_lock, worker_lock
from slipstream.runs.progress import Progress, read_progress, write_progress

WORKERS: Mapping[str, str] = {
    "train": "slipstream.worker",
    "caption": "slipstream.captioning.worker",
    "rank": "slipstream.ranking_worker",
}
"""Kind of job -> the module that works on its run folder: `python -m MODULE RUN_DIR`. It does its work through
`runs.attempts.take_run`, follows the control flags, and returns one of `runs.exit_codes`. `job.json` there holds the
payload, `config.yaml` the config."""

_LOOKERS_PATIENCE_SECONDS = 0.3


def begin(job: Job, still_ours: Callable[[], bool], workers: Mapping[str, str]) -> LocalWorker | None:
    """Start the worker of a claimed job; None where the job is not ours any more.

    Raises:
        RunBusyError: somebody holds the run.
        SlipstreamError: the folder cannot be made or written, or nobody works on that kind of job.
    """
    module = workers.get(job.kind)
    if module is None:
        raise JobError(f"nothing here works on jobs of the kind {job.kind!r}", fix=f"known: {', '.join(workers)}.")
    with door_lock(job.run):
        _require_folder(job)
        with worker_lock(job.run, patience_seconds=_LOOKERS_PATIENCE_SECONDS):
            if not still_ours():
                return None
            _write_orders(job)
    return start_worker(job.run, module=module, environment=environment_of(job))


def _require_folder(job: Job) -> None:
    """The run folder, made unless it is the job's already."""
    ours = (ordered_attempt(job.run) or "").startswith(job.token)
    if job.continues or (ours and job.run.config.is_file()):
        open_run(job.run_dir)
    else:
        create_run(job.run_dir.parent, job.run_dir.name, job.config_yaml)


def _write_orders(job: Job) -> None:
    run = job.run
    if run.config.read_text(encoding="utf-8") != job.config_yaml:
        write_text(run.config, job.config_yaml)
    if job.payload:
        write_json(run.path / "job.json", dict(job.payload))
    order_attempt(run, job.attempt_name)
    before = read_progress(run) or Progress()
    write_progress(run, Progress(step=before.step, steps=before.steps))


def environment_of(job: Job) -> dict[str, str]:
    """What its worker finds in its environment: the attempt's name, and its own GPU alone, or none."""
    device = job.device or CPU
    return {
        ATTEMPT_VARIABLE: job.attempt_name,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "" if device == CPU else device.removeprefix("gpu:"),
    }
