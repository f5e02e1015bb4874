"""Edits of captions: what they make of a text, and that only what was previewed is written."""

from __future__ import annotations

import pytest
from pictures import picture

from slipstream.core.errors import ConfigError
from slipstream.web.problems import RefusedError
from slipstream.web.services.caption_edits import CaptionEdit, apply_changes, edited, preview_edit, undone


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (CaptionEdit("prepend", "ohwx"), "a fox", "ohwx, a fox"),
        (CaptionEdit("prepend", "A photo."), "a fox", "A photo. a fox"),
        (CaptionEdit("prepend", "ohwx"), "", "ohwx"),
        (CaptionEdit("append", "at night"), "a fox", "a fox, at night"),
        (CaptionEdit("append", "At night."), "A fox.", "A fox. At night."),
        (CaptionEdit("remove_tag", "Snow"), "fox, snow,  tree, snowy", "fox, tree, snowy"),
        (CaptionEdit("remove_tag", "ice"), "fox,  snow", "fox,  snow"),
        (CaptionEdit("replace", "dog", "fox"), "A Fox, a foxglove", "A dog, a dogglove"),
        (CaptionEdit("replace", "dog", "fox", whole_words=True), "A Fox, a foxglove", "A dog, a foxglove"),
        (CaptionEdit("replace", "dog", "fox", match_case=True), "A Fox, a fox", "A Fox, a dog"),
        (CaptionEdit("replace", "", "very "), "a very very big fox", "a big fox"),
        (CaptionEdit("replace", r"\1", "(fox)"), "a (fox)", r"a \1"),
        (CaptionEdit("trigger", "ohwx", "sks"), "a SKS fox, sksy", "a ohwx fox, sksy"),
        (CaptionEdit("trigger", "ohwx", "sks"), "a fox", "ohwx, a fox"),
        (CaptionEdit("trigger", "ohwx"), "an ohwx fox", "an ohwx fox"),
        (CaptionEdit("trigger", "[trigger]", "ohwx"), "an ohwx fox", "an [trigger] fox"),
        (CaptionEdit("default", "a fox"), "", "a fox"),
        (CaptionEdit("default", "a fox"), "a cat", "a cat"),
        (CaptionEdit("clear"), "a cat", ""),
    ],
)
def test_edits(edit, before, after):
    assert edited(before, edit) == after


@pytest.mark.parametrize("kind", ["prepend", "append", "remove_tag", "trigger", "default", "replace"])
def test_an_edit_without_its_text_is_refused(kind):
    with pytest.raises(ConfigError):
        edited("a fox", CaptionEdit(kind, " "))


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
        (tmp_path / f"{number}.txt").write_text(f"fox {number}\n")
    (tmp_path / "2.txt").unlink()
    return tmp_path


def captions(folder):
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.txt"))}


def test_what_was_previewed_is_written_and_can_be_undone(folder):
    changes = preview_edit(folder, ["0.png", "2.png", "1.png"], CaptionEdit("default", "a fox"))
    assert [(one.file, one.before, one.after) for one in changes] == [("2.png", "", "a fox")]
    assert captions(folder) == {"0": "fox 0\n", "1": "fox 1\n"}
    written = apply_changes(folder, changes)
    assert captions(folder)["2"] == "a fox\n"
    assert apply_changes(folder, undone(written)) == undone(written)
    assert captions(folder) == {"0": "fox 0\n", "1": "fox 1\n"}


def test_a_caption_that_changed_since_the_preview_stays(folder):
    changes = preview_edit(folder, ["0.png", "1.png"], CaptionEdit("append", "at night"))
    (folder / "1.txt").write_text("by hand")
    assert [one.file for one in apply_changes(folder, changes)] == ["0.png"]
    assert captions(folder) == {"0": "fox 0, at night\n", "1": "by hand"}


def test_too_long_captions_are_refused_before_any_is_written(folder):
    changes = preview_edit(folder, ["0.png", "1.png"], CaptionEdit("append", "x" * 30_000))
    with pytest.raises(RefusedError):
        apply_changes(folder, changes)
    assert captions(folder) == {"0": "fox 0\n", "1": "fox 1\n"}
