"""What an installation can do and what is wrong with it: one finding a line, each with what to do about it.

Nothing heavy is imported before `examine` runs, and nothing here ends a check early: what cannot be found out is a
finding too.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import slipstream
from slipstream.config.variants import CACHE_VARIABLE, DEFAULT_CACHE, VARIANTS
from slipstream.core.quiet import quiet_imports

Level = Literal["ok", "warn", "fail"]
GIB = 2**30
OLDEST_PYTHON = (3, 11)
_HUB_SECONDS = 4.0
_MODEL_GIB = 25
"""A model of Z-Image on the disk: transformer 11.5, text encoder 7.5, and what is downloaded meanwhile."""
_HOST_GIB = 12
"""Host memory with which a model can be read and pictures prepared."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, what was found, and what to do where something is to be done."""

    name: str
    level: Level
    text: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at everything. The hub is asked in the background meanwhile."""
    hub = _in_background(_hub)
    findings = [_python(), *_torch(), *_libraries(), *_disk(), _host_memory()]
    return [*findings, *hub(), _token()]


def as_values(findings: list[Finding]) -> dict[str, Any]:
    """For JSON."""
    return {
        "slipstream": slipstream.__version__,
        "ok": all(finding.level != "fail" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }


def _in_background(check: Callable[[], Finding]) -> Callable[[], list[Finding]]:
    """Begin a check; the function that is returned waits for it."""
    found: list[Finding] = []
    thread = threading.Thread(target=lambda: found.append(check()), name="doctor", daemon=True)
    thread.start()

    def wait() -> list[Finding]:
        thread.join(2 * _HUB_SECONDS)
        return found or [Finding("hub", "warn", "no answer", "look whether this machine may reach huggingface.co")]

    return wait


def _python() -> Finding:
    text = (
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, slipstream {slipstream.__version__}"
    )
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("Python", "fail", text, "use Python 3.11 or later")
    return Finding("Python", "ok", text)


def _torch() -> Iterator[Finding]:
    """Torch and, where there are some, the GPUs."""
    try:
        with quiet_imports():
            torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        yield Finding(
            "torch", "fail", f"does not load: {error}", "install it anew: pip install --force-reinstall torch"
        )
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    yield Finding("torch", "ok", f"{torch.__version__} ({build})")
    from slipstream.workflows.doctor_gpu import gpu_findings

    yield from gpu_findings()


def _libraries() -> Iterator[Finding]:
    """What a training or some optimizers load late; found out now, it costs no run."""
    for name, module, use, needed in (
        ("diffusers", "diffusers", "the model", True),
        ("transformers", "transformers", "the text encoder", True),
        ("bitsandbytes", "bitsandbytes", "training.optimizer adamw8bit and lion8bit", False),
        ("pytorch-optimizer", "pytorch_optimizer", "training.optimizer prodigy, lion, came, adafactor and more", False),
        ("prodigy-plus-schedule-free", "prodigyplus", "training.optimizer prodigy_schedulefree", False),
    ):
        yield _library(name, module, use, needed)


def _library(name: str, module: str, use: str, needed: bool) -> Finding:
    try:
        with quiet_imports():
            importlib.import_module(module)
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "ok", "loads; its version is not known")
    except Exception as error:  # noqa: BLE001 a library that breaks in its own way is what is looked for
        return Finding(
            name, "fail" if needed else "warn", f"does not load ({_short(error)}); needed for {use}",
            f"pip install --upgrade {name}" + ("" if needed else ", or choose another optimizer, such as adamw"),
        )  # fmt: skip


def _disk() -> Iterator[Finding]:
    """Room for caches and for a download."""
    from huggingface_hub import constants

    from slipstream.workflows.inspect import is_present

    here = is_present(VARIANTS["turbo"].default_repo)
    yield _folder("disk for models", Path(constants.HF_HUB_CACHE), 2 if here else _MODEL_GIB, "HF_HOME")
    yield _folder("disk for caches", Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE), 2, CACHE_VARIABLE)


def _folder(name: str, folder: Path, needed_gib: int, variable: str) -> Finding:
    folder = folder.expanduser()
    there = next((one for one in (folder, *folder.parents) if one.exists()), Path.cwd())
    free = shutil.disk_usage(there).free / GIB
    text = f"{free:.1f} GiB free at {folder}"
    if not os.access(there, os.W_OK):
        return Finding(name, "fail", f"{folder} cannot be written", f"set {variable} to a folder of yours")
    if free < needed_gib:
        return Finding(
            name, "fail" if free < 1 else "warn", f"{text}; about {needed_gib} are wanted",
            f"make room, or set {variable} to a folder on a larger disk",
        )  # fmt: skip
    return Finding(name, "ok", text)


def _host_memory() -> Finding:
    from slipstream.training.device import available_host_bytes

    free = available_host_bytes() / GIB
    if free < _HOST_GIB:
        return Finding(
            "host memory", "warn", f"{free:.1f} GiB available; the 6B wants about {_HOST_GIB}",
            "close other programs; weights that wait in host memory need more",
        )  # fmt: skip
    return Finding("host memory", "ok", f"{free:.1f} GiB available")


def _hub() -> Finding:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Finding("hub", "ok", "HF_HUB_OFFLINE is set: only what is on this machine is used")
    from huggingface_hub import constants

    from slipstream.hub.reach import ask

    if ask(_HUB_SECONDS) == "answers":
        return Finding("hub", "ok", f"{constants.ENDPOINT} answers")
    return Finding(
        "hub", "warn", f"{constants.ENDPOINT} does not answer: models that are here already can be trained",
        "look whether this machine may reach it; HF_HUB_OFFLINE=1 saves the waiting, HF_ENDPOINT names a mirror",
    )  # fmt: skip


def _token() -> Finding:
    from huggingface_hub import get_token

    if get_token():
        return Finding("hub token", "ok", "present (never shown)")
    return Finding("hub token", "ok", "none: needed only for closed repositories and `slipstream push` (hf auth login)")


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
