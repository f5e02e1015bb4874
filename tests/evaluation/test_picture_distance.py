"""The distance by the VAE's encoder: zero to itself, larger the more is changed, whatever the batch."""

from __future__ import annotations

import pytest
import torch

from slipstream.evaluation.picture_distance import encoder_features, joined, paired_distance, set_distance


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """Six pictures with a bright square each, 64 x 64."""
    images = torch.full((6, 3, 64, 64), 0.9)
    for number, image in enumerate(images):
        image[number % 3, 8 + 4 * number : 40, 12 : 52 - 4 * number] = 0.1
    return images


def test_it_is_zero_to_itself_and_grows_with_the_change(tiny, pictures):
    vae = tiny.codec.vae
    features = encoder_features(vae, pictures)
    assert len(features) == 6
    assert float(paired_distance(features, features).max()) < 1e-6
    assert set_distance(features, features) == pytest.approx(0, abs=1e-3)
    paired, between = [], []
    for blur in (3, 7, 15):
        kernel = {"stride": 1, "padding": blur // 2, "count_include_pad": False}
        other = encoder_features(vae, torch.nn.functional.avg_pool2d(pictures, blur, **kernel))
        paired.append(float(paired_distance(features, other).mean()))
        between.append(set_distance(features, other))
    assert 0 < paired[0] < paired[1] < paired[2] < 1
    assert 0 < between[0] < between[1] < between[2]


def test_pairs_need_their_order_and_sets_do_not(tiny, pictures):
    features = encoder_features(tiny.codec.vae, pictures)
    turned = encoder_features(tiny.codec.vae, pictures.flip(0))
    assert float(paired_distance(features, turned).mean()) > 0.01
    assert set_distance(features, turned) == pytest.approx(0, abs=1e-3)


def test_parts_joined_are_the_whole_and_no_hook_stays(tiny, pictures):
    vae = tiny.codec.vae
    whole = encoder_features(vae, pictures)
    parts = joined([encoder_features(vae, pictures[:2]), encoder_features(vae, pictures[2:])])
    assert torch.equal(whole.summary_BF, parts.summary_BF)
    assert all(torch.equal(a, b) for a, b in zip(whole.levels, parts.levels, strict=True))
    assert not any(part._forward_hooks for part in vae.encoder.modules())
