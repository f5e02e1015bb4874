"""Captions in whole runs: cached and kept encoders agree, an unloaded one leaves the trigger word."""

from __future__ import annotations

import pytest
from observed import CONFIG, changed, digest, observe, write_pictures


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Train with overrides, see `observed`."""
    path = tmp_path / "seen.yaml"
    path.write_text(CONFIG.format(output=tmp_path / "runs", data=write_pictures(tmp_path / "pictures")))
    return lambda *overrides: observe(path, list(overrides), monkeypatch)


def test_kept_and_cached_encoders_train_alike_whatever_the_captions_do(run):
    everything = (
        "datasets.0.caption_shuffle=true", "datasets.0.caption_token_dropout=0.3", "datasets.0.caption_dropout=0.3",
        "datasets.0.random_triggers=[sks, ohwx]", "training.preservation={class_word: drawing}",
        "training.contrastive_guidance={scale: 1.5}",
    )  # fmt: skip
    assert changed(run(*everything), run(*everything, "training.text_encoder=keep")) == {"log"}


def test_unloaded_a_run_meets_the_trigger_word_alone(run, tiny):
    seen = run("training.text_encoder=unload")
    assert {text for batch in seen["captions"] for text in batch} == {digest(tiny.features("felt"))}
