"""The judge recognises what the tiny Turbo draws in 8 steps: a check of the judge and of the whole render path."""

from __future__ import annotations

import json

import pytest
import torch

from slipstream.evaluation.frechet import frechet_distance
from slipstream.evaluation.judge import FEATURES, load_judge, save_judge
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.previews.render import Picture, render

STYLES = ("noto", "blob", "twemoji", "flat", "glossy", "classic")
CONCEPTS = (
    "airplane", "ballot box with ballot", "bottle with popping cork", "castle", "cloud with lightning and rain",
    "crossed swords", "drooling face", "fallen leaf", "french fries", "grinning face", "horse face", "kissing face",
    "magnifying glass tilted left", "mountain cableway", "old woman", "performing arts", "pick", "radio",
    "running shirt", "skull and crossbones", "speech balloon", "sushi", "tractor", "watch",
)  # fmt: skip


@pytest.fixture(scope="module")
def judge():
    return load_judge(TINY_ROOT / "judge")


@pytest.fixture(scope="module")
def drawn(tiny):
    pictures = [
        Picture(f"a {STYLES[index % 6]} emoji of {concept}", "", 128, 128, seed=index, steps=8, guidance_scale=0.0)
        for index, concept in enumerate(CONCEPTS)
    ]
    images = dict(render(tiny.renderer(), pictures))
    return torch.stack([images[index] for index in range(len(pictures))])


def test_the_labels_hold_the_known_concepts_and_styles(judge):
    labels = json.loads((TINY_ROOT / "judge" / "labels.json").read_text(encoding="utf-8"))
    assert set(CONCEPTS) <= set(labels["concepts"])
    assert set(STYLES) <= set(labels["styles"])
    assert judge.net.concept_head.out_features == len(labels["concepts"]) > 800


def test_most_pictures_of_the_tiny_turbo_are_recognised(judge, drawn):
    """Guessing would be right once in 838; the wrong order of prompts hardly ever."""
    guesses = [judge.concepts[index] for index in judge.concept_logits(drawn).argmax(1)]
    assert sum(guess == concept for guess, concept in zip(guesses, CONCEPTS, strict=True)) >= 0.7 * len(CONCEPTS)
    shifted = CONCEPTS[1:] + CONCEPTS[:1]
    assert sum(guess == concept for guess, concept in zip(guesses, shifted, strict=True)) <= 1


def test_styles_are_told_apart(judge, drawn):
    guesses = [judge.styles[index] for index in judge.style_logits(drawn).argmax(1)]
    right = sum(guess == STYLES[index % 6] for index, guess in enumerate(guesses))
    assert right >= 0.4 * len(guesses)


def test_noise_is_farther_from_the_pictures_than_the_pictures_from_each_other(judge, drawn):
    noise = torch.rand(drawn.shape, generator=torch.Generator().manual_seed(0))
    features = judge.features(drawn)
    assert features.shape == (len(CONCEPTS), FEATURES)
    halves = frechet_distance(features[::2], features[1::2])
    assert frechet_distance(features, judge.features(noise)) > 2 * halves


def test_a_saved_judge_judges_alike(judge, drawn, tmp_path):
    save_judge(tmp_path / "judge", judge)
    loaded = load_judge(tmp_path / "judge")
    assert (loaded.concepts, loaded.styles) == (judge.concepts, judge.styles)
    assert torch.equal(loaded.concept_logits(drawn[:2]), judge.concept_logits(drawn[:2]))
