"""Stops at bad moments, two commands at once, a reader who leaves: nothing is lost and nothing is left untold."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest
import torch
from product import Product
from safetensors.torch import load_file

from slipstream.runs.controls import request
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, read_progress
from slipstream.worker import work

pytestmark = pytest.mark.usefixtures("in_this_process")

PREPARE_LATENTS = "slipstream.training.build.prepare_latents"


def progress_of(run: RunDir) -> Progress:
    progress = read_progress(run)
    assert progress is not None
    return progress


def before_calling(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Let something happen once, right before the function of that name is called."""
    module, _, attribute = name.rpartition(".")
    original = getattr(__import__(module, fromlist=[attribute]), attribute)
    todo = [act]

    def call(*arguments: object, **named: object) -> object:
        if todo:
            todo.pop()()
        return original(*arguments, **named)

    monkeypatch.setattr(name, call)


@pytest.mark.parametrize("how", ["signal", "flag"])
def test_a_stop_while_loading_stops_there(product: Product, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    run = product.new_run("training.steps=2", "sample.prompts=[]")
    ask = {"signal": lambda: os.kill(os.getpid(), signal.SIGTERM), "flag": lambda: request(run, "stop")}[how]
    with monkeypatch.context() as patch:
        before_calling(patch, PREPARE_LATENTS, ask)
        patch.setattr(
            "slipstream.training.target_stage.inject_fresh", lambda *a, **k: pytest.fail("it went on loading")
        )
        assert work(run) == STOPPED
    assert (progress_of(run).state, progress_of(run).step) == ("stopped", 0)
    assert not run.checkpoints.exists()
    assert work(run) == FINISHED


def test_a_stop_while_previews_are_drawn_loses_no_update(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    # of two sizes: pictures that are drawn together are all written
    prompts = 'sample.prompts=["a fox", "a cat --w 96"]'
    whole = product.new_run("job.name=whole", "training.steps=6", prompts)
    assert work(whole) == FINISHED
    run = product.new_run("job.name=cut", "training.steps=6", "sample.at_start=false", "save.every=4", prompts)
    with monkeypatch.context() as patch:
        before_calling(patch, "slipstream.training.preview_stage.save_png", lambda: request(run, "stop"))
        assert work(run) == STOPPED
    assert progress_of(run).step == 5, "the previews at step 5 were cut short"
    assert (run.checkpoints / "state_000000005.pt").exists()
    assert run.preview_image(5, 0).exists()
    assert not run.preview_image(5, 1).exists()
    assert work(run) == FINISHED
    assert run.preview_image(5, 1).read_bytes()
    ours, theirs = load_file(run.lora), load_file(whole.lora)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_last_previews_that_were_cut_short_are_drawn_on_resume(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = product.new_run("training.steps=2", "sample.at_start=false")
    with monkeypatch.context() as patch:
        before_calling(patch, "slipstream.training.preview_stage.save_png", lambda: os.kill(os.getpid(), signal.SIGINT))
        assert work(run) == STOPPED
    assert work(run) == FINISHED
    assert run.preview_image(2, 1).exists()
    assert run.contact_sheet.exists()
    assert run.lora.exists()


def test_a_failed_resume_keeps_the_count_of_steps(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    run = product.new_run("training.steps=2", "sample.prompts=[]")
    assert work(run) == FINISHED
    run.config.write_text(run.config.read_text().replace("optimizer: adamw\n", "optimizer: adamw8bit\n"))
    assert work(run) == FAILED
    assert progress_of(run).step == 2
    assert "training.optimizer was changed" in progress_of(run).message


def test_a_pace_that_cannot_be_kept_or_a_report_that_cannot_be_written_fails_no_training(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipstream.core.errors import DiskFullError

    def full(*arguments: object, **named: object) -> None:
        raise DiskFullError("no space")

    monkeypatch.setattr("slipstream.training.speed.write_json", full)
    monkeypatch.setattr("slipstream.reports.html.write_report", full)
    run = product.new_run("training.steps=1", "sample.prompts=[]")
    assert work(run) == FINISHED
    assert progress_of(run).state == "finished"


def test_out_of_memory_is_one_message_with_a_remedy(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    def crowd(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    run = product.new_run("training.steps=1", "sample.prompts=[]")
    monkeypatch.setattr("slipstream.training.build.begin_step", crowd)
    with pytest.raises(torch.OutOfMemoryError):
        work(run)
    assert progress_of(run).state == "failed"
    assert "batch_size" in progress_of(run).message


def open_door(product: Product, *overrides: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        product.command("train", str(product.write_config()), "training.steps=1", "sample.prompts=[]", *overrides),
        cwd=product.folder, env=product.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_two_trains_at_once_with_one_name(product: Product) -> None:
    doors = [open_door(product), open_door(product)]
    said = [door.communicate(timeout=120)[0] for door in doors]
    assert sorted(door.returncode for door in doors) == [0, 1], said
    refused = said[0] if doors[0].returncode else said[1]
    assert "'small' is being trained right now" in refused
    assert (product.folder / "runs/small/small.safetensors").exists()


def test_a_reader_who_leaves_does_not_leave_the_training_alone(product: Product) -> None:
    door = open_door(product)
    assert door.stdout is not None
    door.stdout.readline()
    door.stdout.close()
    assert door.wait(120) == 0, "the door stays until its worker has finished"
    assert (product.folder / "runs/small/small.safetensors").exists()
