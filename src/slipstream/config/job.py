"""JOB: what the run is called, its trigger word, and where it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StrictInt, StringConstraints

from slipstream.config.panel import MAX_SEED, PANEL, GivenPath

MAX_NAME_LENGTH = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def folder_name(name: str) -> str:
    """The name itself if it can be a folder's, else the nearest that can."""
    if _is_folder_name(name):
        return name
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:MAX_NAME_LENGTH].strip("._-") or "my_lora"


def _is_folder_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and len(name) <= MAX_NAME_LENGTH and not name.endswith(".")


def _folder_name(name: str) -> str:
    if _is_folder_name(name):
        return name
    raise ValueError(
        f"got {name!r}, expected a name that can be a folder: letters, digits, `.`, `_` and `-`, a letter or "
        f"digit first, no `.` last, at most {MAX_NAME_LENGTH} characters; for example {folder_name(name)!r}"
    )


def _device_name(device: str) -> str:
    if not _DEVICE.fullmatch(device):
        raise ValueError(f"got {device!r}, expected auto, cpu, cuda, or cuda:N for GPU number N (from 0)")
    return device


def a_trigger_word(word: str) -> str:
    """The word, if it can be one."""
    if "[trigger]" in word.lower():
        raise ValueError(
            "got the placeholder `[trigger]`, expected the word itself, such as `zchar_anna`; "
            "`[trigger]` belongs in captions and prompts"
        )
    return word


class JobPanel(BaseModel):
    """JOB: name, trigger word, device, seed, and where runs are kept."""

    model_config = PANEL

    name: Annotated[str, AfterValidator(_folder_name)]
    """Name of the run, of its folder and of the LoRA file, such as `zimage_char_anna_v1`. Letters, digits,
    `.`, `_`, `-`.

    Change it when: you try other settings; one name is one run.
    Careful: a name that is taken is refused; `--fresh` moves the earlier run aside.
    """

    trigger_word: Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(a_trigger_word)] = ""
    """Word that calls up what the LoRA learned; it replaces `[trigger]` in captions and prompts, and is put
    in front of captions that lack it. Choose a word the model does not know, or leave it empty.

    Change it when: the LoRA should act only when asked for (`zchar_anna`, `zstyle_pencil`); with
    training.preservation it becomes truly opt-in.
    Careful: a word the model knows ("anna", "pencil") brings its old meaning along.
    """

    device: Annotated[str, AfterValidator(_device_name)] = "auto"
    """Where to train: `auto` (a GPU if there is one), `cpu`, `cuda`, or `cuda:N` for GPU number N.

    Change it when: there are several GPUs and the first one is busy.
    Careful: on the CPU only the tiny models train in reasonable time.
    """

    seed: Annotated[StrictInt, Field(ge=0, le=MAX_SEED)] = 42
    """Start of every random draw of the training. The same seed, data and settings give the same LoRA on one
    device.

    Change it when: you want to know whether a difference between two trainings is more than luck.
    Careful: comparing two settings needs the same seed in both.
    """

    output_dir: GivenPath = Path("runs")
    """Folder in which the run's own folder is made; a relative path starts at the current directory.

    Change it when: runs should go to a larger disk.
    Careful: a run with many previews and checkpoints takes some GiB.
    """
