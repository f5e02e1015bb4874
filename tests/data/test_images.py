"""Every kind of picture file becomes upright RGB; bad ones are refused with their path and a remedy."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from slipstream.core.errors import ImageError
from slipstream.data.images import read_image

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def pixel(image, x, y):
    return image.convert("RGB").getpixel((x, y))


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.png", "a.webp"])
def test_the_three_formats(tmp_path, name):
    Image.new("RGB", (40, 24), (10, 200, 90)).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert (image.mode, image.size) == ("RGB", (40, 24))
    assert np.allclose(pixel(image, 20, 12), (10, 200, 90), atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(tmp_path, orientation):
    """The upright picture has four corner colours; the file holds it turned as the EXIF standard's table says."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[:8, 16:] = RED, (0, 255, 0)
    upright[8:, :16], upright[8:, 16:] = BLUE, (255, 255, 0)
    # (0th row, 0th column) of the stored picture are these sides of the upright one
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert np.array_equal(np.asarray(read_image(path)), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_counts_as_upright(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (32, 16), RED).save(path, exif=b"Exif\0\0MM\0*\0\0\xff\xff rubbish")
    assert read_image(path).size == (32, 16)


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_alpha_lies_on_white(tmp_path, name):
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    image.paste((255, 0, 0, 128), (8, 0, 16, 16))
    image.save(tmp_path / name, lossless=True)
    rgb = read_image(tmp_path / name)
    assert pixel(rgb, 2, 8) == WHITE
    # half red over white: 255 * 127 / 255 in green and blue
    assert np.allclose(pixel(rgb, 12, 8), (255, 127, 127), atol=2)


def test_grey_with_alpha_lies_on_white(tmp_path):
    Image.new("LA", (16, 16), (0, 64)).save(tmp_path / "a.png")
    assert np.allclose(pixel(read_image(tmp_path / "a.png"), 3, 3), (191, 191, 191), atol=1)


def test_palettes_with_and_without_a_transparent_colour(tmp_path):
    image = Image.new("P", (16, 16), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.paste(1, (8, 0, 16, 16))
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=0)
    plain, clear = read_image(tmp_path / "plain.png"), read_image(tmp_path / "clear.png")
    assert [pixel(plain, 2, 2), pixel(plain, 12, 2)] == [BLUE, RED]
    assert [pixel(clear, 2, 2), pixel(clear, 12, 2)] == [WHITE, RED]


def test_cmyk(tmp_path):
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.allclose(pixel(read_image(tmp_path / "a.jpg"), 16, 16), RED, atol=6)


def test_one_bit(tmp_path):
    image = Image.new("1", (16, 16), 0)
    image.paste(1, (8, 0, 16, 16))
    image.save(tmp_path / "a.png")
    rgb = read_image(tmp_path / "a.png")
    assert [pixel(rgb, 2, 2), pixel(rgb, 12, 2)] == [(0, 0, 0), WHITE]


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 128 * 257, 65535], [300, 32768, 65000, 1000]], np.uint16).repeat(4, 0).repeat(4, 1)
    Image.fromarray(values).save(tmp_path / "a.png")
    grey = np.asarray(read_image(tmp_path / "a.png"))[..., 0]
    assert np.array_equal(grey, np.rint(values / 65535 * 255).astype(np.uint8))


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_the_first_frame_of_an_animation(tmp_path, name):
    frames = [Image.new("RGB", (24, 24), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=50, lossless=True)
    image = Image.open(tmp_path / name)
    assert image.n_frames == 2
    assert np.allclose(pixel(read_image(tmp_path / name), 5, 5), RED, atol=3)


def test_the_name_may_lie_among_the_three_formats(tmp_path):
    data = io.BytesIO()
    Image.new("RGB", (16, 16), BLUE).save(data, "PNG")
    (tmp_path / "a.jpg").write_bytes(data.getvalue())
    assert pixel(read_image(tmp_path / "a.jpg"), 1, 1) == BLUE


def png_header(width, height):
    """A PNG of a given size with next to no data."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused_before_they_are_decoded(tmp_path, recwarn):
    for name, side in (("huge", 60_000), ("over", 12_000)):
        path = tmp_path / f"{name}.png"
        path.write_bytes(png_header(side, side))
        with pytest.raises(ImageError, match="too large") as caught:
            read_image(path)
        assert caught.value.where == str(path)
        assert "scale it down" in caught.value.fix


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"<html>404</html>", "not a JPEG, PNG or WebP"), (png_header(64, 64), "damaged")],
)
def test_what_is_no_picture_is_refused_with_path_and_remedy(tmp_path, content, message):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert caught.value.where == str(path)
    assert caught.value.fix


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_truncated_files_are_refused(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


def test_another_format_under_a_known_name_is_refused(tmp_path):
    data = io.BytesIO()
    Image.new("RGB", (16, 16)).save(data, "GIF")
    (tmp_path / "a.jpg").write_bytes(data.getvalue())
    with pytest.raises(ImageError, match="whatever its name says"):
        read_image(tmp_path / "a.jpg")


def test_a_missing_file_is_an_image_error(tmp_path):
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "gone.png")
