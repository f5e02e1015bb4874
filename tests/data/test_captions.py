"""Caption files, encodings, the placeholder and the trigger word."""

from __future__ import annotations

import codecs

import pytest

from slipstream.core.errors import CaptionError
from slipstream.data.captions import caption_path, fill_trigger, read_caption, with_trigger


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b"a fox", "a fox"),
        (codecs.BOM_UTF8 + "ein Fuchs, grün".encode(), "ein Fuchs, grün"),
        (codecs.BOM_UTF16_LE + "狐".encode("utf-16-le"), "狐"),
        (codecs.BOM_UTF16_BE + "fox\r\n".encode("utf-16-be"), "fox"),
        (b"  a fox,\r\n\r\n in snow \n", "a fox, in snow"),
        (b" \n\t", ""),
        (b"", ""),
    ],
)
def test_encodings_and_newlines(tmp_path, written, text):
    (tmp_path / "a.txt").write_bytes(written)
    assert read_caption(tmp_path / "a.txt") == text


@pytest.mark.parametrize(
    ("written", "position", "byte"),
    [
        ("ein grüner Fuchs".encode("latin-1"), 6, "0xfc"),
        (codecs.BOM_UTF8 + b"caf\xe9 noir", 6, "0xe9"),
        (codecs.BOM_UTF16_LE + b"a\0b", 4, "0x62"),
        ("fox".encode("utf-16-le"), 1, "zero byte"),
    ],
)
def test_other_encodings_name_path_byte_and_remedy(tmp_path, written, position, byte):
    path = tmp_path / "a.txt"
    path.write_bytes(written)
    with pytest.raises(CaptionError) as caught:
        read_caption(path)
    assert caught.value.where == str(path)
    assert byte in caught.value.message
    assert f"position {position}" in caught.value.message
    assert "iconv" in caught.value.fix


@pytest.mark.parametrize("extension", ["caption", ".caption"])
def test_the_caption_file_lies_beside_the_picture(tmp_path, extension):
    assert caption_path(tmp_path / "a.b.jpg", extension) == tmp_path / "a.b.caption"


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("a photo of [trigger]", "a photo of zfox"),
        ("[Trigger] and [TRIGGER]", "zfox and zfox"),
        ("two [trigger]s", "two zfoxs"),
        ("a photo", "zfox, a photo"),
        ("a ZFox in snow", "a ZFox in snow"),
        ("zfox", "zfox"),
        ("zfoxes in snow", "zfox, zfoxes in snow"),
        ("", "zfox"),
    ],
)
def test_the_trigger_word_is_in_every_caption(caption, text):
    assert with_trigger(caption, " zfox ") == text


def test_a_trigger_word_may_hold_any_signs():
    assert with_trigger("a [trigger]", r"\1 (x)+") == r"a \1 (x)+"
    assert with_trigger("a (x)+ here", "(x)+") == "a (x)+ here"


def test_prompts_are_filled_but_get_nothing_in_front():
    assert fill_trigger("a photo of [trigger]", "zfox") == "a photo of zfox"
    assert fill_trigger("a photo", "zfox") == "a photo"


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("[trigger], a fox", "a fox"),
        ("a fox, [trigger]", "a fox"),
        ("a fox, [trigger], in snow", "a fox, in snow"),
        ("a [trigger] fox", "a fox"),
        ("a photo of [trigger].", "a photo of."),
        ("[trigger]", ""),
        ("untouched ,  text,", "untouched ,  text,"),
    ],
)
def test_without_a_trigger_word_the_placeholder_leaves_no_trace(caption, text):
    assert fill_trigger(caption, "") == text
