"""Captions in text files, in JSON files, in one file for a folder; which counts, and what is reported."""

from __future__ import annotations

import json

import pytest

from slipstream.core.errors import CaptionError
from slipstream.data.caption_sources import find_captions
from slipstream.data.dataset import build_dataset
from slipstream.data.settings import DatasetSettings


@pytest.fixture
def of(folder, make):
    """`of(files, **settings)`: (captions by picture name, sources, notes) of pictures a.png, b.jpg, sub/c.png."""

    def captions(files=(), pictures=("a.png", "b.jpg", "sub/c.png"), **settings):
        for name, content in dict(files).items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        for key in ("captions_file",):
            if key in settings:
                settings[key] = folder / settings[key]
        found = find_captions(DatasetSettings(folder, (512,), **settings), [folder / name for name in pictures])
        texts = {path.relative_to(folder).as_posix(): caption.text for path, caption in found.by_picture.items()}
        return texts, [caption.source for caption in found.by_picture.values()], found.notes

    return captions


ALL = {"a.png": "a fox", "b.jpg": "a bear", "sub/c.png": "a cat"}
SHAPES = {
    "names": ("captions.json", {"a.png": "a fox", "b.jpg": " a\nbear ", "sub/c.png": "a cat"}),
    "stems": ("captions.json", {"a": "a fox", "b": "a bear", "sub/c": "a cat"}),
    "groups": (
        "meta.json",
        {
            "/data/train/a": {"caption": "a", "tags": "fox"},
            "D:\\x\\b.jpg": {"tags": ["a bear"]},
            "c": {"text": "a cat"},
        },
    ),
    "entries": (
        "list.json",
        [
            {"file": "a.png", "caption": "a fox"},
            {"image": "./b.jpg", "text": "a bear", "caption": None},
            {"path": "pictures/sub/c.png", "prompt": "a cat"},
        ],
    ),
    "lines": (
        "metadata.jsonl",
        '{"file_name": "a.png", "text": "a fox"}\n\n{"file_name": "b.jpg", "text": "a bear", "label": 3}\n'
        '{"file_name": "sub/c.png", "text": "a cat"}\n',
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes_that_trainers_write(of, shape):
    name, content = SHAPES[shape]
    texts, sources, notes = of({name: content}, captions_file=name)
    expected = dict(ALL, **{"a.png": "a, fox"}) if shape == "groups" else ALL
    assert (texts, sources, notes) == (expected, ["list"] * 3, ())


def test_metadata_that_lies_in_the_folder_is_found(of):
    name, content = SHAPES["lines"]
    assert of({name: content})[:2] == (ALL, ["list"] * 3)


def test_text_files_count_before_metadata_that_was_only_found(of):
    name, content = SHAPES["lines"]
    texts, sources, notes = of({name: content, "a.txt": "a wolf", "b.txt": "\n"})
    assert texts == {**ALL, "a.png": "a wolf"}
    assert sources == ["file", "list", "list"]
    (note,) = notes
    assert "1 pictures have an entry and a caption file (a.png): the file counts" in note


def test_a_named_file_counts_before_text_files_and_the_default(of):
    files = {"captions.json": {"a": "a fox", "b": ""}, "a.txt": "a wolf", "b.txt": "a bear"}
    texts, sources, notes = of(files, captions_file="captions.json", default_caption="a [trigger]", trigger_word="zfox")
    assert texts == {"a.png": "zfox, a fox", "b.jpg": "zfox, a bear", "sub/c.png": "a zfox"}
    assert sources == ["list", "file", "default"]
    assert any("(a.png): the entry counts" in note for note in notes)
    assert any("2 of 3 pictures have no caption in it (b.jpg, c.png)" in note for note in notes)


def test_no_file_default_or_nothing(of):
    files = {"a.txt": "a fox", "b.txt": " \n"}
    assert of(files, default_caption="a\ndefault")[:2] == (
        {"a.png": "a fox", "b.jpg": "a default", "sub/c.png": "a default"},
        ["file", "default", "default"],
    )
    texts, sources, notes = of(files, trigger_word="zfox")
    assert texts == {"a.png": "zfox, a fox", "b.jpg": "zfox", "sub/c.png": "zfox"}
    assert (sources, notes) == (["file", "none", "none"], ())


def test_a_lost_placeholder_is_noticed(of):
    files = {"a.txt": "a [trigger] fox"}
    assert "[trigger] was taken out of 1 captions (a.png)" in of(files)[2][0]
    assert of(files, trigger_word="zfox")[2] == ()


def test_entries_that_match_nothing_or_twice_are_listed(of):
    entries = {"a": "first", "other/a.png": "second", "gone": "x", "sub/a.png": "third", "sub/c.png": "a cat"}
    texts, _, notes = of({"captions.json": entries}, captions_file="captions.json")
    assert texts["a.png"] in ("first", "second", "third")
    assert "1 of 5 entries match no picture (gone)" in notes[0]
    assert "2 pictures are named more than once" in notes[1]


def test_a_name_that_fits_several_pictures_fits_none(of):
    pictures = ("x/1.png", "y/1.png", "2.png")
    entries = {"1.png": "which?", "y/1.png": "the second", "2": "two"}
    texts, _, notes = of({"captions.json": entries}, pictures, captions_file="captions.json")
    assert texts == {"x/1.png": "", "y/1.png": "the second", "2.png": "two"}
    assert "1 of 3 entries match no picture (1.png)" in notes[0]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"caption": "a fox", "caption_short": "fox"}, "a fox"),
        ("a fox in JSON", "a fox in JSON"),
        ({"text": "a\nfox"}, "a fox"),
        ({"caption": ""}, ""),
    ],
)
def test_json_files_beside_the_pictures(of, content, text):
    texts, sources, _ = of({"a.json": json.dumps(content)}, caption_extension="json")
    assert (texts["a.png"], sources[0]) == (text, "file" if text else "none")


@pytest.mark.parametrize(
    ("name", "content", "where", "parts"),
    [
        ("c.json", '{\n "a": "x",\n "b": "y\n}', "c.json, line 3", ["not JSON", "line 3, column"]),
        ("c.jsonl", '{"file": "a", "text": "x"}\n{"file": "b" "text": "y"}', "c.jsonl, line 2", ["not JSON", "line 2"]),
        ("c.jsonl", '{"file": "a", "text": "x"}\n["b"]', "c.jsonl, line 2", ["names no picture"]),
        ("c.json", [{"url": "a", "text": "x"}], "c.json, entry 1", ["names no picture (it has url, text)"]),
        ("c.json", {"a": 5}, "c.json, entry 'a'", ["got 5, expected a caption"]),
        ("c.json", {"a": {"caption": ["x"]}}, "c.json, entry 'a'", ['got ["x"], expected a text']),
        ("c.json", '"a fox"', "c.json", ["no list of captions"]),
        ("c.json", {"other": "x"}, "c.json", ["no caption for any of the 3 pictures"]),
        ("c.json", {"a": {"label": 3}}, "c.json", ["no caption for any of the 3 pictures"]),
        ("c.json", "[" * 100_000, "c.json", ["JSON"]),
    ],
)
def test_what_is_wrong_in_a_captions_file_is_told_with_its_place(of, name, content, where, parts):
    with pytest.raises(CaptionError) as caught:
        of({name: content}, captions_file=name)
    assert where in caught.value.where
    assert [part for part in parts if part not in str(caught.value)] == []
    assert caught.value.fix


def test_a_captions_file_that_is_not_there_is_an_error(of):
    with pytest.raises(CaptionError, match="cannot be read"):
        of(captions_file="gone.json")


def test_a_caption_of_its_own_that_is_not_json_is_an_error(of):
    with pytest.raises(CaptionError, match="line 1") as caught:
        of({"a.json": "a fox"}, caption_extension="json")
    assert "a.json" in caught.value.where
    with pytest.raises(CaptionError, match="no caption"):
        of({"a.json": {"label": 1}}, caption_extension="json")


def test_metadata_without_captions_is_left_aside(of):
    texts, _, notes = of({"metadata.jsonl": '{"file_name": "a.png", "label": 1}'}, default_caption="x")
    assert set(texts.values()) == {"x"}
    assert "left aside" in notes[0]


def test_datasets_train_on_them_and_report(folder, make):
    for name in ("a.png", "b.png"):
        make(name)
    (folder / "captions.jsonl").write_text('{"image": "a", "prompt": "[trigger], snow"}\n{"image": "c", "prompt": "x"}')
    settings = DatasetSettings(folder, (512,), captions_file=folder / "captions.jsonl", trigger_word="zfox")
    dataset = build_dataset([settings])
    assert [example.caption for example in dataset.examples] == ["zfox, snow", "zfox"]
    assert any("1 of 2 entries match no picture (c)" in line for line in dataset.warnings)
