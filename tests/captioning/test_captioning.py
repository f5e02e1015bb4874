"""Captioning: what is asked, what becomes of answers, what is written and what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from slipstream.captioning.answers import caption_from
from slipstream.captioning.model import Answer
from slipstream.captioning.prompts import PRESETS, prompt_of
from slipstream.captioning.request import CaptionRequest, request_from_json
from slipstream.captioning.work import caption_pictures, pictures_to_caption
from slipstream.core.errors import ConfigError, DataError, DeviceError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures, one captioned, one with an empty caption, one broken."""
    for number in range(1, 4):
        Image.new("RGB", (40, 30), (60 * number, 20, 20)).save(tmp_path / f"{number}.png")
    (tmp_path / "4.png").write_bytes(b"no picture")
    (tmp_path / "1.txt").write_text("by hand\n")
    (tmp_path / "2.txt").write_text(" \n")
    return tmp_path


def never() -> bool:
    return False


def captions(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.txt"))}


def test_the_character_prompt_speaks_of_the_trigger_word_and_the_style_prompt_forbids_style():
    assert "Call the main figure ohwx fox" in prompt_of("character", "", " ohwx fox ").text
    assert "the main subject" in prompt_of("character", "", "").text
    assert "style" in prompt_of("style", "", "").text
    assert all("{" not in prompt_of(preset.name, "", "x").text for preset in PRESETS)
    assert prompt_of("custom", " only {subject}s ", "fox").text == "only foxs"


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"prompt": "tag"}, "prompt"),
        ({"prompt": "custom"}, "prompt_text"),
        ({"overwrite": "some"}, "overwrite"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"batch_size": 1000}, "batch_size"),
        ({"model": " "}, "model"),
        ({"dtype": "fp64"}, "dtype"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(values, where):
    with pytest.raises(ConfigError) as told:
        CaptionRequest(Path("x"), **values)
    assert told.value.where == where


def test_a_request_survives_json_and_a_foreign_file_does_not_pass():
    request = CaptionRequest(Path("/data/foxes"), files=("a.png",), trigger_word="ohwx", overwrite="all")
    assert request_from_json(request.to_json()) == request
    for value in ({"dataset": "x", "modell": "y"}, {}):
        with pytest.raises(ConfigError):
            request_from_json(value)


@pytest.mark.parametrize(
    ("answer", "form", "trigger", "cut", "caption"),
    [
        ('Caption: "A fox  sits.\nIt looks up."', "sentences", "", False, "A fox sits. It looks up."),
        ("Here is a description: A fox sits. It lo", "sentences", "", True, "A fox sits."),
        ("A fox that never ends", "sentences", "", True, "A fox that never ends"),
        ("A fox sits.", "sentences", "ohwx", False, "ohwx, A fox sits."),
        ("An OHWX sits.", "sentences", "ohwx", False, "An OHWX sits."),
        ("1. red fox, snow,  snow; forest., night li", "tags", "", True, "red fox, snow, forest"),
        ("- red fox, 2 birds", "tags", "ohwx", False, "ohwx, red fox, 2 birds"),
        ("  ", "sentences", "ohwx", False, ""),
    ],
)
def test_answers_become_captions(answer, form, trigger, cut, caption):
    assert caption_from(answer, form, trigger, cut=cut) == caption


def test_only_empty_captions_are_written_or_all(folder):
    def answers(pictures, prompt, max_tokens):
        return [Answer(f"{picture.size} {max_tokens}", False) for picture in pictures]

    request = CaptionRequest(folder, max_tokens=7)
    pictures = pictures_to_caption(request)
    assert [path.name for path in pictures] == ["2.png", "3.png", "4.png"]
    done = list(caption_pictures(request, pictures, answers, never))
    assert [(one.file, one.before, one.after) for one in done[:2]] == [
        ("2.png", "", "(40, 30) 7"), ("3.png", None, "(40, 30) 7"),
    ]  # fmt: skip
    assert "not a JPEG, PNG or WebP" in done[2].skipped
    assert captions(folder) == {"1": "by hand\n", "2": "(40, 30) 7\n", "3": "(40, 30) 7\n"}
    assert [path.name for path in pictures_to_caption(CaptionRequest(folder, overwrite="all"))] == [
        "1.png", "2.png", "3.png", "4.png",
    ]  # fmt: skip
    assert [path.name for path in pictures_to_caption(CaptionRequest(folder, files=("4.png",)))] == ["4.png"]
    with pytest.raises(DataError):
        pictures_to_caption(CaptionRequest(folder, files=("5.png",)))


def test_what_a_person_writes_meanwhile_stays(folder):
    def answers(pictures, prompt, max_tokens):
        (folder / "3.txt").write_text("by hand, just now")
        (folder / "1.png").unlink()
        return [Answer("by the model", False) for _ in pictures]

    request = CaptionRequest(folder, overwrite="all")
    done = {one.file: one for one in caption_pictures(request, pictures_to_caption(request), answers, never)}
    assert captions(folder) == {"1": "by hand\n", "2": "by the model\n", "3": "by hand, just now"}
    assert "meanwhile" in done["3.png"].skipped
    assert "gone" in done["1.png"].skipped


def test_a_batch_that_does_not_fit_is_halved_and_one_picture_that_does_not_is_told(folder):
    sizes = []

    def answers(pictures, prompt, max_tokens):
        sizes.append(len(pictures))
        if len(pictures) > 1:
            raise MemoryError
        return [Answer("small", False)]

    request = CaptionRequest(folder, overwrite="all", batch_size=4, files=("1.png", "2.png", "3.png"))
    assert len(list(caption_pictures(request, pictures_to_caption(request), answers, never))) == 3
    assert sizes == [3, 2, 1, 1, 1]

    def too_large(pictures, prompt, max_tokens):
        raise MemoryError

    with pytest.raises(DeviceError, match="not even one"):
        list(caption_pictures(request, pictures_to_caption(request), too_large, never))


def test_a_stop_is_asked_for_before_every_batch(folder):
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 1

    request = CaptionRequest(folder, batch_size=2)
    pictures = pictures_to_caption(request)
    done = list(caption_pictures(request, pictures, lambda some, *_: [Answer("x", False)] * len(some), stop))
    assert [one.file for one in done] == ["2.png", "3.png"]
