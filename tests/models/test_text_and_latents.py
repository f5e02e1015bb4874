"""Captions to features and pixels to latents: shapes, limits, and independence from neighbours."""

from __future__ import annotations

from dataclasses import replace

import torch

from slipstream.models.z_image.layout import pad_to_multiple
from slipstream.models.z_image.prediction import TextBatch
from slipstream.models.z_image.text import MAX_TOKENS

CAPTIONS = ["a noto emoji of cat", "", "a much longer caption about a cat on a red sofa", "a blob emoji of fire " * 9]


def close(features: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal but for rounding, which is a matter of the largest features: those of the first token are huge."""
    return features.shape == expected.shape and (features - expected).abs().max() < 1e-5 * expected.abs().max()


def test_features_are_one_row_a_token_and_do_not_depend_on_neighbours(tiny):
    together = replace(tiny.text, tokens_at_once=1024).encode(CAPTIONS)
    assert [len(feature) for feature in together] == [len(tiny.text.token_ids(caption)) for caption in CAPTIONS]
    assert all(feature.shape[1] == 128 for feature in together)
    for caption, feature in zip(CAPTIONS, together, strict=True):
        alone = tiny.text.encode([caption])[0]
        assert close(feature, alone)
        torch.testing.assert_close(feature[1:], alone[1:], rtol=1e-3, atol=1e-3)


def test_captions_pass_together_longest_first_within_the_budget(tiny):
    captions = [f"a cat {'on a sofa ' * (number % 7)}{number}" for number in range(60)] + ["word " * 600]
    encoder = replace(tiny.text, tokens_at_once=1024)
    batches = encoder.batches(captions)
    assert sorted(caption for batch in batches for caption in batch) == sorted(captions)
    assert batches == encoder.batches(captions[::-1])
    lengths = [[len(tiny.text.token_ids(caption)) for caption in batch] for batch in batches]
    flat = [length for batch in lengths for length in batch]
    assert flat == sorted(flat, reverse=True)
    assert len(lengths[0]) == 2
    assert lengths[0][0] == 512
    assert tiny.text.batches(captions[:3]) == [[caption] for caption in captions[2::-1]]
    assert all(len(batch) * batch[0] <= encoder.tokens_at_once for batch in lengths)
    assert all((len(batch) + 1) * batch[0] > encoder.tokens_at_once for batch in lengths[:-1]), (
        "each is as full as can be"
    )


def test_the_same_batch_gives_the_same_bits(tiny):
    encoder = replace(tiny.text, tokens_at_once=1024)
    for batch in encoder.batches(CAPTIONS):
        first, again = encoder.encode(batch), encoder.encode(batch)
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_captions_are_cut_at_512_tokens(tiny):
    assert len(tiny.text.token_ids("cat " * 2000)) == MAX_TOKENS == 512
    assert len(tiny.text.token_ids("cat")) < 20


def test_the_caption_list_is_left_alone(tiny):
    captions = ["a cat"]
    tiny.text.encode(captions)
    assert captions == ["a cat"]


def test_text_batches_pad_to_a_multiple_of_32_with_zeros():
    assert [pad_to_multiple(n) for n in (1, 31, 32, 33, 512)] == [32, 32, 32, 64, 512]
    batch = TextBatch.of([torch.ones(5, 4), torch.ones(40, 4)], torch.device("cpu"), torch.float32)
    assert batch.hidden_BLT.shape == (2, 64, 4)
    assert batch.is_text_BL.sum(1).tolist() == [5, 40]
    assert torch.equal(batch.hidden_BLT[..., 0], batch.is_text_BL.float())


def picture(size: int) -> torch.Tensor:
    """A smooth picture in [-1, 1] of the kind that the VAE knows: a disc on a plain ground."""
    axis = torch.linspace(-1, 1, size)
    disc = ((axis[:, None] ** 2 + axis[None] ** 2) < 0.4).float()
    return torch.stack((0.9 - 1.2 * disc, 0.9 - 0.3 * disc, 0.9 - 1.6 * disc))


def test_pixels_to_latents_and_back(tiny):
    pixels = torch.stack((picture(128), picture(128).flip(0)))
    latents = tiny.codec.encode(pixels)
    assert latents.shape == (2, 16, 16, 16)
    assert latents.dtype == torch.float32
    assert 0.3 < latents.std() < 3
    decoded = tiny.codec.decode(latents)
    assert decoded.shape == pixels.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert (decoded - (pixels + 1) / 2).abs().mean() < 0.05


def test_latents_are_scaled_modes(tiny):
    vae, pixels = tiny.codec.vae, picture(64)[None]
    with torch.no_grad():
        mode = vae.encode(pixels).latent_dist.mean
    torch.testing.assert_close(tiny.codec.encode(pixels), (mode - vae.config.shift_factor) * vae.config.scaling_factor)
    assert torch.equal(tiny.codec.encode(pixels), tiny.codec.encode(pixels))
    assert tiny.codec.downscale == 8


def test_a_picture_does_not_depend_on_its_batch(tiny):
    pixels = torch.stack((picture(64), picture(64).flip(0)))
    together = tiny.codec.encode(pixels)
    torch.testing.assert_close(tiny.codec.encode(pixels[1:]), together[1:], rtol=0, atol=2e-4)
    assert torch.equal(tiny.codec.decode(together[1:]), tiny.codec.decode(together)[1:])
