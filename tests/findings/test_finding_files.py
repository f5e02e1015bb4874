"""Findings from files: a run folder, its log as the training writes it, and the ways they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_facts import rows
from PIL import Image

from slipstream.cli.findings import findings_command
from slipstream.config.run_config import dump_yaml, parse_config
from slipstream.core.errors import TrainingError
from slipstream.findings.facts import gather
from slipstream.findings.log_lines import read_log
from slipstream.findings.look import findings_of
from slipstream.findings.tell import tell
from slipstream.reports.html import render_report
from slipstream.runs.layout import RunDir
from slipstream.runs.progress import Progress, write_progress


def make_run(path: Path, *overrides: str) -> RunDir:
    run = RunDir(path / "one")
    run.checkpoints.mkdir(parents=True)
    run.previews.mkdir()
    config = parse_config(
        {
            "job": {"name": "one", "trigger_word": "felt"}, "model": {"name_or_path": "tiny/turbo"},
            "datasets": [{"path": "pictures"}], "sample": {"prompts": ["a [trigger] fox", "a dog"]},
        },
        overrides,
    )  # fmt: skip
    run.config.write_text(dump_yaml(config))
    write_progress(run, Progress(state="finished", step=300, steps=300))
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows(300)))
    return run


def test_the_log_is_read_as_the_training_writes_it(tmp_path):
    from slipstream.models.z_image.resolve import resolve_parts
    from slipstream.training.dataset_facts import caption_warnings
    from slipstream.training.keeping import Keeping
    from slipstream.training.out_of_memory import MemoryGuard

    parts = resolve_parts("tiny/turbo", "tiny/turbo")
    lines = [f"warning: {line}" for line in caption_warnings(["fox " * 700, "dog " * 900], parts)]
    failures = iter([RuntimeError("CUDA error: out of memory"), None])

    def action() -> str:
        failure = next(failures)
        if failure is not None:
            raise failure
        return "done"

    guard = MemoryGuard(Keeping.__new__(Keeping), lambda keeping: None, None, 4, lambda: None, lines.append)
    assert guard.drawing("in previews", action) == "done"
    log = tmp_path / "log.txt"
    log.write_text("".join(f"2026-01-01 00:00:00  {line}\n" for line in lines))
    found = read_log(log)
    assert (found.cut_captions, found.most_tokens) == (2, 512)
    assert (found.out_of_memory, found.remedy) == (1, "pictures are made one at a time from now on")
    assert read_log(tmp_path / "none.txt").out_of_memory == 0


def test_a_blown_up_training_is_found_in_the_words_of_its_error(tmp_path):
    import torch

    from slipstream.training.figures import Figures

    with pytest.raises(TrainingError) as caught:
        Figures(("velocity",), torch.tensor([float("nan"), 1.0]), None, ()).read(41)
    run = make_run(tmp_path)
    write_progress(run, Progress(state="failed", step=41, steps=300, message=str(caught.value)))
    finding = findings_of(run)[0]
    assert finding.id == "not_finite"
    assert finding.seen[0].values["step"] == 42


def test_a_run_folder_is_told_in_the_terminal_as_json_and_in_the_report(tmp_path, capsys):
    run = make_run(tmp_path, "model.training_adapter=none")
    findings_command(run.path, as_json=False)
    shown = capsys.readouterr().out
    assert "problem  Turbo was trained without a training adapter" in shown
    assert "model.training_adapter=v2" in shown
    findings_command(run.path, as_json=True)
    (value,) = json.loads(capsys.readouterr().out)
    assert value["id"] == "no_adapter"
    assert value["settings"] == {"model.training_adapter": "v2"}
    page = render_report(run, [tell(finding) for finding in findings_of(run)])
    assert 'id="findings"' in page
    assert "Turbo was trained without a training adapter" in page
    assert 'id="findings"' not in render_report(run)


def test_nothing_stands_out_in_a_good_run(tmp_path, capsys):
    findings_command(make_run(tmp_path).path, as_json=False)
    assert "nothing stands out" in capsys.readouterr().out


def test_previews_are_compared_with_those_before_training(tmp_path):
    run = make_run(tmp_path)
    pictures = [{"prompt": "a felt fox", "has_trigger": True}, {"prompt": "a dog", "has_trigger": False}]
    run.manifest.write_text(json.dumps({"sample": {"pictures": pictures}}))
    for step, shade in ((0, 100), (250, 110), (300, 151)):
        for prompt in (0, 1):
            picture = Image.new("RGB", (16, 16), (shade if prompt == 0 else 100 + (shade - 100) // 3,) * 3)
            picture.save(run.preview_image(step, prompt))
    changes = gather(run).pictures
    assert changes is not None
    assert changes.step == 300
    assert changes.wanted == pytest.approx(51 / 255)
    assert changes.unwanted == pytest.approx(17 / 255)
    run.preview_image(0, 0).unlink()
    assert gather(run).pictures is None
