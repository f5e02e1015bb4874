"""`slipstream dataset check` on a folder and on a config: the terminal, the page, JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from slipstream.cli.app import app
from slipstream.core.errors import ConfigError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "foxes"
    path.mkdir()
    for number in (1, 2, 2):
        name = f"fox_{len(list(path.glob('*.png')))}"
        pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 120)).save(path / f"{name}.png")
        (path / f"{name}.txt").write_text(f"a fox, number {number}")
    return path


def check(*arguments):
    result = CliRunner().invoke(app, ["dataset", "check", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_folder_gets_a_report_a_page_and_json(folder, tmp_path):
    text = check("foxes", "--resolutions", "128", "--trigger-word", "zfox", "--kind", "character", "--json", "out.json")
    assert "fox_1.png and fox_2.png (the same file)" in text
    assert "trigger word: written in 0 of 3 captions" in text
    assert "1500 to 2200 steps" in text
    assert "captions of a character" in text
    assert "dataset_check.html" in text
    assert "fox_0.png" in (tmp_path / "dataset_check.html").read_text()
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["num_images"], report["num_distinct"], report["kind"]) == (3, 2, "character")
    assert [twin["path"] for twin in report["duplicates"][0]["twins"]] == ["foxes/fox_1.png", "foxes/fox_2.png"]
    assert report["pictures"][0]["num_tokens"] > 5
    assert "thumbnail" not in report["pictures"][0]["look"]


def test_json_on_the_terminal_is_json_alone_and_a_page_can_be_left_out(folder, tmp_path):
    report = json.loads(check("foxes", "--resolutions", "128", "--json", "-", "--no-html"))
    assert report["num_examples"] == 3
    assert list(tmp_path.glob("*.html")) == []


def test_a_config_is_checked_with_its_own_settings(folder, tmp_path):
    (tmp_path / "job.yaml").write_text(
        "job: {name: a, trigger_word: zfox}\nmodel: {variant: turbo, name_or_path: tiny/turbo}\n"
        "datasets: [{path: foxes, resolutions: [64, 96], square: true}]\n"
    )
    report = json.loads(check("job.yaml", "datasets.0.num_repeats=2", "--json", "-", "--html", "mine.html"))
    assert {(row["bucket"]["width"], row["bucket"]["height"]) for row in report["buckets"]} == {(64, 64), (96, 96)}
    assert report["samples_per_epoch"] == 12
    assert report["tokenizer"] == "the tokenizer of tiny/turbo"
    assert (tmp_path / "mine.html").is_file()


def test_an_unknown_kind_is_refused(folder):
    with pytest.raises(ConfigError, match="expected character or style"):
        check("foxes", "--kind", "landscape")
