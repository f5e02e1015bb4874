"""The doors take other trainers' files: plan, dataset check and import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from slipstream.cli.app import app
from slipstream.config.run_config import load_config
from slipstream.core.errors import ConfigError

JOB = """\
job: extension
config:
  name: one
  process:
    - type: sd_trainer
      training_folder: runs
      trigger_word: zone
      network: {type: lora, linear: 4, linear_alpha: 2}
      datasets: [{folder_path: pictures, resolution: 64, caption_dropout_rate: 0.1}]
      train: {steps: 5, lr: 1e-4, optimizer: adamw, a_typo: 1}
      model: {arch: MODEL, name_or_path: NAME}
      sample: {prompts: ["a [trigger]"], width: 64, height: 64}
"""
TINY = ["model.name_or_path=tiny/turbo", "job.device=cpu"]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job file beside its pictures."""
    (tmp_path / "pictures").mkdir()
    for number, colour in enumerate(("red", "green")):
        Image.new("RGB", (70, 70), colour).save(tmp_path / "pictures" / f"{number}.png")
    path = tmp_path / "job.yaml"
    path.write_text(JOB.replace("MODEL", "zimage").replace("NAME", "Tongyi-MAI/Z-Image-Turbo"))
    monkeypatch.chdir(tmp_path)
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return re.sub(r"\s+", " ", result.output)


def test_plan_takes_a_job_file_and_tells_what_matters(job, capsys):
    from slipstream.cli.plan import plan_command

    plan_command(job, TINY)
    shown = capsys.readouterr().out
    assert "imported" in shown
    assert "train.a_typo = 1: not a key that is known here" in shown
    assert "network.linear_alpha = 2 -> target.alpha=4" in shown
    assert "5 updates" in shown


def test_dataset_check_takes_a_job_file_with_overrides(job):
    assert "2 pictures" in run("dataset", "check", job, *TINY)
    shown = run("dataset", "check", job, *TINY, "--json", "-")
    assert shown.startswith("{"), "nothing but JSON goes to where JSON was asked for"


def test_keys_and_settings_are_shown_to_their_ends_on_a_narrow_terminal(job):
    longer = "train: {diff_output_preservation_class: person, "
    job.write_text(job.read_text().replace("train: {", longer))
    assert "…" not in run("import", job)
    assert "datasets.mask.prior_weight" in run("explain", "datasets.mask")


def test_import_writes_a_config_of_ours_and_never_over_another(job):
    run("import", job, "training.steps=7", *TINY)
    written = job.with_name("job.slipstream.yaml")
    config = load_config(written)
    assert (config.training.steps, config.model.name_or_path) == (7, "tiny/turbo")
    assert "# network.linear_alpha: 2; alpha has no effect there" in written.read_text()
    with pytest.raises(ConfigError, match="such a file already"):
        run("import", job)
    run("import", job, "--replace")
    assert load_config(written).training.steps == 5


def test_our_own_config_and_another_model_family_are_refused_with_a_way_out(job):
    run("import", job, "--out", "mine.yaml")
    with pytest.raises(ConfigError, match="no file of another trainer"):
        run("import", "mine.yaml")
    job.write_text(JOB.replace("MODEL", "flux").replace("NAME", "black-forest-labs/FLUX.1-dev"))
    with pytest.raises(ConfigError, match="slipstream trains Z-Image"):
        run("plan", job)
