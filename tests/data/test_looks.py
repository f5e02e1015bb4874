"""Looking at pictures: copies are found and strangers are not, blur and odd tones are flagged, figures are stable."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from slipstream.data.duplicates import Candidate, find_duplicates
from slipstream.data.findings import BLURRED
from slipstream.data.images import ImageSize, decode_image, decode_reduced, decoded_size
from slipstream.data.looks import encode_veil, look_at

EMOJI = sorted((Path(__file__).parents[2] / "examples/foxy_style").glob("*.png"))


def scene(seed, width=320, height=240):
    """A made-up photograph: coloured shapes with edges and grain on a shaded ground."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    pixels = np.stack([np.full((height, width), dice.uniform(40, 120)) + 60 * x * dice.uniform(-1, 1)] * 3, -1)
    for _ in range(9):
        cx, cy, r = dice.uniform(0, 1), dice.uniform(0, height / width), dice.uniform(0.05, 0.22)
        inside = (x - cx) ** 2 + ((y - cy) * dice.uniform(0.6, 1.6)) ** 2 < r * r
        pixels[inside] = dice.uniform(0, 255, 3)
    pixels += dice.normal(0, 4, pixels.shape)
    return Image.fromarray(np.uint8(np.clip(pixels, 0, 255)))


def recompressed(picture, quality=35):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def groups_of(pictures):
    """Groups of names among `{name: picture}`."""
    candidates = [
        Candidate(Path(name), picture.width * picture.height, str(hash(picture.tobytes())), look_at(picture))
        for name, picture in pictures.items()
    ]
    return find_duplicates(candidates)


def names(group):
    return [twin.path.name for twin in group.twins]


COPIES = {
    "half": lambda picture: picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC),
    "recompressed": recompressed,
    "brighter": lambda picture: picture.point(lambda level: min(255, int(level * 1.12))),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(2)),
    "squeezed": lambda picture: picture.resize((picture.width, int(picture.height * 0.96))),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_among_strangers(copy):
    pictures = {f"{seed}": scene(seed) for seed in range(8)}
    (group,) = groups_of({**pictures, "copy": COPIES[copy](pictures["3"])})
    assert sorted(names(group)) == ["3", "copy"]
    twin = group.twins[1]
    assert twin.distance <= 6
    assert twin.similarity > 0.95
    assert not twin.mirrored
    assert not twin.identical


def test_a_mirrored_copy_is_found_and_called_so():
    pictures = {f"{seed}": scene(seed) for seed in range(5)}
    (group,) = groups_of({**pictures, "turned": recompressed(ImageOps.mirror(pictures["2"]))})
    assert sorted(names(group)) == ["2", "turned"]
    assert [twin.mirrored for twin in group.twins] == [False, True]


def test_drawings_in_one_style_on_white_are_no_duplicates():
    pictures = {path.name: Image.open(path).convert("RGB") for path in EMOJI}
    assert len(pictures) == 24
    assert groups_of(pictures) == ()
    copies = {f"copy of {name}": recompressed(COPIES["half"](picture)) for name, picture in pictures.items()}
    found = groups_of({**pictures, **copies})
    assert len(found) == 24
    assert all(names(group)[1] == f"copy of {names(group)[0]}" for group in found)


def test_the_largest_then_sharpest_is_kept_and_the_same_bytes_are_told():
    picture = scene(1)
    soft, small = picture.filter(ImageFilter.GaussianBlur(1)), COPIES["half"](picture)
    (group,) = groups_of({"small": small, "soft": soft, "sharp": picture, "again": picture.copy()})
    assert names(group)[0] in ("sharp", "again")
    assert [twin.identical for twin in group.twins] == [True, True, False, False]
    assert set(names(group)) == {"small", "soft", "sharp", "again"}


def test_blur_is_seen_and_a_soft_background_is_not_blur():
    for seed in range(4):
        picture = scene(seed, 640, 480)
        assert look_at(picture).sharpness > 2 * BLURRED
        assert look_at(picture.filter(ImageFilter.GaussianBlur(5))).sharpness < BLURRED
        portrait = picture.filter(ImageFilter.GaussianBlur(5))
        portrait.paste(picture.crop((200, 100, 440, 380)), (200, 100))
        assert look_at(portrait).sharpness > BLURRED


def test_an_enlarged_small_picture_looks_blurred():
    small = scene(5, 160, 120)
    assert look_at(small.resize((1280, 960), Image.Resampling.BICUBIC)).sharpness < BLURRED


@pytest.mark.parametrize("level", [0, 128, 255])
def test_even_pictures_of_any_size_do_not_break_the_figures(level):
    for size in [(64, 64), (1, 900), (700, 3)]:
        look = look_at(Image.new("RGB", size, (level, level, level)))
        assert look.sharpness == 0
        assert look.darkest == look.brightest == pytest.approx(level / 255)


def test_a_reduced_picture_gives_about_the_same_figures():
    picture = scene(6, 1600, 1200)
    whole, reduced = look_at(picture), look_at(picture.resize((800, 600), Image.Resampling.LANCZOS))
    assert (whole.fingerprint ^ reduced.fingerprint).bit_count() <= 2
    assert reduced.sharpness == pytest.approx(whole.sharpness, rel=0.2)
    assert reduced.brightest == pytest.approx(whole.brightest, abs=0.02)


def test_jpegs_shrink_while_decoded_and_keep_their_size_and_turn(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    scene(7, 1600, 1200).save(path, quality=90, exif=exif)
    reduced, size = decode_reduced(path.read_bytes(), path, 512)
    assert size == decoded_size(path.read_bytes(), path) == ImageSize(1200, 1600)
    assert reduced.size == (600, 800)
    assert decode_image(path.read_bytes(), path).size == (1200, 1600)


def test_a_veil_is_clear_where_weights_are_one():
    weights = np.zeros((64, 128))
    weights[:, 64:] = 1
    veil = np.asarray(Image.open(io.BytesIO(encode_veil(weights))).convert("RGBA"))
    assert veil.shape[:2] == (48, 96)
    assert veil[:, :40, 3].min() > 200
    assert veil[:, 60:, 3].max() < 12
