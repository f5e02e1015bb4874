"""Out of memory while training: less is kept, the step is done again, and the run can't tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from slipstream import worker
from slipstream.config.run_config import dump_yaml, parse_config
from slipstream.core.errors import TrainingError
from slipstream.runs.create import create_run
from slipstream.runs.exit_codes import FINISHED
from slipstream.runs.progress import read_progress
from slipstream.training.checkpoint import TrainingState
from slipstream.training.gradients import FlatGradients
from slipstream.training.out_of_memory import is_out_of_memory, whole_update

NO_ROOM = "CUDA out of memory. Tried to allocate 2.00 GiB"


def crowd(monkeypatch: pytest.MonkeyPatch, place: type, name: str, times: Callable[[int], bool]) -> list[int]:
    """The method raises out of memory at those calls, counted from 0, of which `times` is true."""
    calls: list[int] = []
    original = getattr(place, name)

    def crowded(*arguments: object, **named: object) -> object:
        calls.append(len(calls))
        if times(calls[-1]):
            raise torch.OutOfMemoryError(NO_ROOM)
        return original(*arguments, **named)

    monkeypatch.setattr(place, name, crowded)
    return calls


@pytest.fixture
def trained(tmp_path: Path, monkeypatch) -> Callable[..., tuple[dict[str, Tensor], str]]:
    monkeypatch.setattr(worker.WorkerRequests, "listen", lambda self: None)
    (tmp_path / "pictures").mkdir()
    for stem, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        Image.new("RGB", (144, 144), colour).save(tmp_path / "pictures" / f"{stem}.png")

    def train(name: str, *overrides: str) -> tuple[dict[str, Tensor], str]:
        settings = {
            "job": {"name": name, "output_dir": str(tmp_path), "device": "cpu"},
            "model": {"name_or_path": "tiny/turbo"}, "target": {"rank": 4, "dropout": 0.1},
            "training": {"steps": 3, "optimizer": "adamw"}, "save": {"every": 0},
            "datasets": [{"path": str(tmp_path / "pictures"), "resolutions": [64, 128]}], "sample": {"prompts": []},
            "advanced": {"tensorboard": False},
        }  # fmt: skip
        run, _ = create_run(tmp_path, name, dump_yaml(parse_config(settings, list(overrides))))
        code = worker.work(run)
        assert code == FINISHED, run.log.read_text()
        return load_file(run.lora), run.log.read_text()

    return train


def test_a_step_that_is_done_again_with_less_kept_gives_the_same_bits(trained, monkeypatch):
    whole, _ = trained("whole")
    calls = crowd(monkeypatch, FlatGradients, "norm", lambda call: call in (1, 2))
    again, log = trained("again")
    assert len(calls) == 5
    assert log.count("warning: out of memory in step 2: activations at 128 x 128: ") == 2
    assert "it is done again from the same state, nothing is lost" in log
    assert whole.keys() == again.keys()
    assert all(torch.equal(tensor, again[key]) for key, tensor in whole.items())


def test_out_of_memory_in_the_first_update_of_the_optimizer_leaves_no_trace(trained, monkeypatch):
    whole, _ = trained("whole")
    steps: list[int] = []
    original = torch.optim.AdamW.step

    def half(self, *arguments: object, **named: object) -> object:
        steps.append(len(steps))
        result = original(self, *arguments, **named)
        if steps[-1] == 0:
            raise torch.OutOfMemoryError(NO_ROOM)
        return result

    half.hooked = True  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.optim.AdamW, "step", half)
    again, log = trained("again")
    assert "out of memory in step 1" in log
    assert all(torch.equal(tensor, again[key]) for key, tensor in whole.items())


def test_half_of_a_later_update_is_not_built_upon(small):
    lora = small().lora
    state = TrainingState(lora, torch.optim.AdamW(lora.parameters()), None)
    state.optimizer.step()
    with pytest.raises(TrainingError, match="while the optimizer wrote the weights"), whole_update(state):
        raise torch.OutOfMemoryError(NO_ROOM)


def test_previews_are_drawn_one_by_one_when_a_batch_does_not_fit(trained, monkeypatch):
    import slipstream.previews.render as rendering

    sizes: list[int] = []
    original = rendering._denoise

    def denoise(renderer, batch, on_step):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError(NO_ROOM)
        return original(renderer, batch, on_step)

    monkeypatch.setattr(rendering, "_denoise", denoise)
    _, log = trained(
        "drawn", "sample.prompts=[a, b]", "sample.width=64", "sample.height=64", "sample.steps=1", "sample.every=0"
    )
    assert sizes == [2, 1, 1, 1, 1]
    assert "out of memory in previews: pictures are made one at a time from now on" in log


def test_after_the_tightest_plan_comes_a_clear_error(trained, monkeypatch, tmp_path):
    calls = crowd(monkeypatch, FlatGradients, "norm", lambda call: True)
    with pytest.raises(torch.OutOfMemoryError):
        trained("hopeless")
    assert 3 <= len(calls) <= 8
    (run,) = (path for path in tmp_path.rglob("hopeless") if path.is_dir())
    from slipstream.runs.layout import RunDir

    progress = read_progress(RunDir(run))
    assert progress is not None
    assert progress.state == "failed"
    assert "quantization.transformer" in progress.message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError(NO_ROOM), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
        (None, False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


def test_an_error_that_was_met_on_the_way_out_counts_too():
    def break_off() -> None:
        try:
            raise torch.OutOfMemoryError(NO_ROOM)
        finally:
            raise RuntimeError("the capture was broken off")

    with pytest.raises(RuntimeError, match="broken off") as caught:
        break_off()
    assert is_out_of_memory(caught.value)
