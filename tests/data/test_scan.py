"""Folders: what counts, what is left out and listed, what stops with a message."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from slipstream.core.errors import CaptionError, DataError, ImageError
from slipstream.data.listing import natural_key
from slipstream.data.scan import reopen, scan_folder
from slipstream.data.settings import DatasetSettings


def scan(folder, **settings):
    return scan_folder(DatasetSettings(folder, **{"resolutions": (512,), **settings}))


def names(result):
    return [image.path.relative_to(result.settings.path).as_posix() for image in result.images]


def test_pictures_of_all_folders_in_natural_order(folder, make):
    for name in ("img10.png", "img2.PNG", "b/1.jpg", "a/img1.webp", "Img3.jpeg"):
        make(name)
    (folder / "ATTRIBUTION.md").write_text("MIT")
    result = scan(folder)
    assert names(result) == ["a/img1.webp", "b/1.jpg", "img2.PNG", "Img3.jpeg", "img10.png"]
    assert result.skipped == result.warnings == ()
    flat = scan_folder(DatasetSettings(folder, resolutions=(512,)), recursive=False)
    assert names(flat) == ["img2.PNG", "Img3.jpeg", "img10.png"]


def test_natural_order_is_total(tmp_path):
    paths = [tmp_path / name for name in ("a", "A", "a01", "a1", "1a", "01a", "a1b2")]
    keys = sorted(natural_key(path.relative_to(tmp_path)) for path in paths)
    assert len(set(keys)) == len(paths)


def test_facts_of_a_picture(folder, make):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 64)).save(folder / "turned.jpg", exif=exif)
    make("b.png", 96, 64, caption="a fox")
    result = scan(folder, trigger_word="zfox", default_caption="an animal")
    first, second = result.images
    assert (first.caption, first.caption_source, first.width, first.height) == ("zfox, a fox", "file", 96, 64)
    assert (second.caption, second.caption_source) == ("zfox, an animal", "default")
    assert (second.width, second.height) == (64, 80)
    shutil.copy(folder / "b.png", folder / "c.png")
    assert scan(folder).images[1].content_hash == first.content_hash != second.content_hash


def test_hidden_files_and_folders_are_ignored(folder, make):
    make("a.png")
    for name in (".thumbnails/a.png", "._a.jpg", "__MACOSX/a.png", "deep/.cache/b.png"):
        make(name)
    result = scan(folder)
    assert names(result) == ["a.png"]
    assert result.skipped == ()


def test_linked_folders_are_followed_but_not_in_circles(folder, make, tmp_path):
    make("a.png")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "a.png", other / "b.png")
    (folder / "linked").symlink_to(other)
    (folder / "circle").symlink_to(folder)
    assert names(scan(folder)) == ["a.png", "linked/b.png"]


def test_broken_pictures_are_skipped_with_their_reason(folder, make):
    make("a.png")
    whole = make("b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    (folder / "c.jpg").write_bytes(b"")
    (folder / "d.heic").write_bytes(b"ftypheic")
    result = scan(folder)
    assert names(result) == ["a.png"]
    reasons = {skipped.path.name: skipped.reason for skipped in result.skipped}
    assert set(reasons) == {"b.png", "c.jpg", "d.heic"}
    assert "damaged" in reasons["b.png"]
    assert "empty" in reasons["c.jpg"]
    assert "PNG or JPEG" in reasons["d.heic"]
    assert not any("\n" in reason for reason in reasons.values())


def test_only_broken_pictures_are_an_error_that_names_the_first(folder):
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="none of the 5 pictures") as caught:
        scan(folder)
    assert "0.jpg" in caught.value.message
    assert "2.jpg" in caught.value.message
    assert "3.jpg" not in caught.value.message
    assert "and 2 more" in caught.value.message


def test_no_folder(folder):
    with pytest.raises(DataError, match="no such folder") as caught:
        scan(folder / "gone")
    assert caught.value.where == str(folder / "gone")


def test_a_file_where_a_folder_is_expected(folder, make):
    with pytest.raises(DataError, match="a folder is expected") as caught:
        scan(make("a.png"))
    assert str(folder) in caught.value.fix


def test_an_empty_folder_says_what_counts(folder):
    (folder / "notes.txt").write_text("none")
    with pytest.raises(DataError, match=r"\.jpeg, \.jpg, \.png, \.webp"):
        scan(folder)


def test_a_folder_of_other_kinds_says_what_to_do(folder):
    for name in ("a.heic", "b.HEIC", "c.gif", "d.avif"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 \.avif, 1 \.gif, 2 \.heic") as caught:
        scan(folder)
    assert "PNG or JPEG" in caught.value.fix


def test_a_caption_that_is_no_text_stops_the_scan(folder, make):
    make("a.png")
    (folder / "a.txt").write_bytes("grün".encode("latin-1"))
    with pytest.raises(CaptionError, match="position 2"):
        scan(folder)


def test_two_pictures_of_one_name_are_warned_about_and_share_the_caption(folder, make):
    make("a.jpg", caption="a fox")
    make("a.png")
    make("deep/a.png")
    result = scan(folder)
    assert [image.caption for image in result.images] == ["a fox", "a fox", ""]
    assert len(result.warnings) == 1
    assert "a.jpg, a.png share" in result.warnings[0]


def test_identical_pictures_are_warned_about_and_kept(folder, make):
    make("a.png", seed=1)
    make("b.png", seed=1)
    make("c.png", seed=2)
    result = scan(folder)
    assert len(result.images) == 3
    assert [warning for warning in result.warnings if "a.png, b.png are the same picture" in warning]
    assert not [warning for warning in result.warnings if "c.png" in warning]


def test_placeholders_without_a_trigger_word_are_warned_about_once(folder, make):
    for number in range(5):
        make(f"{number}.png", caption="a [trigger] fox")
    result = scan(folder)
    assert {image.caption for image in result.images} == {"a fox"}
    assert len(result.warnings) == 1
    assert "5 captions" in result.warnings[0]
    assert scan(folder, trigger_word="zfox").warnings == ()


def test_a_picture_that_changes_after_the_scan_is_refused(folder, make):
    make("a.png", seed=1)
    image = scan(folder).images[0]
    assert reopen(image).size == (64, 64)
    make("a.png", seed=2)
    with pytest.raises(ImageError, match="changed"):
        reopen(image)
    (folder / "a.png").unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        reopen(image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resolutions": ()}, "no resolution"),
        ({"resolutions": (512, 32)}, "resolution 32"),
        ({"num_repeats": 0}, "num_repeats is 0"),
        ({"caption_dropout": 1.5}, "caption_dropout is 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(folder, settings, message):
    with pytest.raises(DataError, match=message):
        DatasetSettings(folder, **{"resolutions": (512,), **settings})
