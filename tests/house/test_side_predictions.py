"""Preservation and guidance in a whole run: what is predicted on the side, what is logged."""

from __future__ import annotations

import pytest
from observed import CONFIG, digest, observe, write_pictures


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Train with overrides, see `observed`."""
    path = tmp_path / "seen.yaml"
    path.write_text(CONFIG.format(output=tmp_path / "runs", data=write_pictures(tmp_path / "pictures")))
    return lambda *overrides: observe(path, list(overrides), monkeypatch)


def test_dop_trains_and_holds_the_class_caption_and_logs_both(run, tiny):
    seen = run("training.preservation={class_word: drawing}")
    assert {"loss", "loss_velocity", "loss_preservation"} <= set(seen["metrics"])
    # 3 updates: captions and class captions with gradient, class captions once more without LoRA
    assert len(seen["texts"]) == 6
    class_captions = seen["texts"][1::2]
    assert [texts for _, _, texts in seen["side forwards"]] == class_captions
    expected = (
        "drawing, a noto emoji of fox, on white, soft light",
        "a drawing emoji of cat, on blue, hard light",
        "drawing, a blob emoji of sun, on green, back light",
        "drawing",
    )
    met = {text for texts in class_captions for text in texts}
    assert met <= {digest(tiny.features(caption)) for caption in expected}
    assert not set(map(tuple, class_captions)) & set(map(tuple, seen["captions"]))


def test_a_plain_run_predicts_nothing_on_the_side_and_logs_one_loss(run):
    seen = run()
    assert seen["side forwards"] == []
    assert not [name for name in seen["metrics"] if name.startswith("loss_")]


def test_blank_preservation_and_contrast_share_their_prediction(run, tiny):
    seen = run("training.preservation={kind: blank_prompt}", "training.contrastive_guidance={scale: 1.5}")
    assert len(seen["side forwards"]) == 3
    assert {text for _, _, texts in seen["side forwards"] for text in texts} == {digest(tiny.features(""))}


def test_a_prior_set_is_predicted_without_the_lora(run):
    seen = run("datasets.0.regularization=prior")
    assert [texts for _, _, texts in seen["side forwards"]] == seen["captions"][: len(seen["side forwards"])]
    assert seen["first loss"] == 0
