"""The worker and the command with a random vision-language model: the path of a real one, without a download."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from tiny_vlm import save_tiny_vlm

import slipstream.captioning.worker as worker
from slipstream.captioning.model import load_captioner
from slipstream.captioning.request import CaptionRequest
from slipstream.captioning.work import read_captioned
from slipstream.cli.caption import caption_command
from slipstream.core.atomic import write_json
from slipstream.core.errors import DeviceError, ModelError
from slipstream.runs import controls
from slipstream.runs.exit_codes import FAILED, FINISHED, STOPPED
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import read_progress


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture
def dataset(tmp_path) -> Path:
    folder = tmp_path / "foxes"
    folder.mkdir()
    for number in range(5):
        Image.effect_noise((48 + 16 * number, 64), 40 + 20 * number).convert("RGB").save(folder / f"{number}.png")
    (folder / "0.txt").write_text("by hand\n")
    return folder


def job(tmp_path: Path, request: CaptionRequest) -> RunDir:
    run = RunDir(tmp_path / "job")
    run.path.mkdir()
    write_json(run.path / worker.JOB_FILE, request.to_json())
    return run


def texts(dataset: Path) -> list[str]:
    return [path.read_text() for path in sorted(dataset.glob("*.txt"))]


def test_the_worker_stops_when_asked_and_goes_on_where_it_was(tmp_path, dataset, model, monkeypatch):
    run = job(tmp_path, CaptionRequest(dataset, str(model), trigger_word="ohwx", max_tokens=6, batch_size=2))
    process = subprocess.Popen([sys.executable, "-m", "slipstream.captioning.worker", str(run.path)])
    until = time.monotonic() + 60
    while (read_progress(run) is None or read_progress(run).total == 0) and time.monotonic() < until:
        time.sleep(0.05)
    controls.request(run, "stop")
    assert process.wait(60) == STOPPED
    stopped = read_progress(run)
    assert (stopped.state, stopped.total) == ("stopped", 4)
    assert stopped.done == len(read_captioned(run.path / worker.DIARY)) < 4

    (dataset / "4.txt").write_text("by hand in the break\n")
    monkeypatch.setattr(worker, "on_stop_signals", lambda stop: None)
    assert worker.work(run) == FINISHED
    found = texts(dataset)
    assert found[0] == "by hand\n"
    assert found[4] == "by hand in the break\n"
    assert all(text.startswith("ohwx, ") and len(text) > 10 for text in found[1:4])
    progress = read_progress(run)
    assert (progress.state, progress.done, progress.total) == ("finished", 3, 3)
    assert [one.before for one in read_captioned(run.path / worker.DIARY)] == [None] * 3


def test_the_answers_depend_on_the_picture_and_batches_change_nothing(dataset, model):
    captioner = load_captioner(str(model), "cpu", "auto")
    pictures = [Image.open(dataset / f"{number}.png") for number in range(3)]
    together = captioner.answers(pictures, "Describe it.", 8)
    alone = [captioner.answers([picture], "Describe it.", 8)[0] for picture in pictures]
    assert together == alone
    assert len({answer.text for answer in together}) > 1
    assert all(answer.cut for answer in together)


def test_a_failure_is_told_in_the_progress(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(worker, "on_stop_signals", lambda stop: None)
    run = job(tmp_path, CaptionRequest(dataset, str(dataset)))
    assert worker.work(run) == FAILED
    assert "cannot be loaded as a vision-language model" in read_progress(run).message
    (run.path / worker.JOB_FILE).write_text("{")
    assert worker.work(run) == FAILED
    assert "no job.json" in read_progress(run).message
    assert texts(dataset) == ["by hand\n"]


def test_models_that_cannot_be_asked_are_refused(model, tmp_path, monkeypatch):
    with pytest.raises(DeviceError):
        load_captioner(str(model), "tpu", "auto")
    silent = tmp_path / "silent"
    silent.mkdir()
    for path in model.iterdir():
        if path.suffix != ".jinja":
            (silent / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="no chat template"):
        load_captioner(str(silent), "cpu", "auto")


def test_the_command_captions_what_has_none(dataset, model, capsys):
    request = CaptionRequest(dataset, str(model), "tags", overwrite="all", max_tokens=6, files=("0.png", "1.png"))
    assert caption_command(request) == 0
    said = capsys.readouterr().out
    assert "2 captions written" in said
    assert len(texts(dataset)) == 2
    assert texts(dataset)[0] != "by hand\n"
    assert caption_command(CaptionRequest(dataset, str(model), files=("0.png", "1.png"))) == 0
    assert "has a caption already" in capsys.readouterr().out
    assert json.loads(json.dumps(request.to_json()))["overwrite"] == "all"
