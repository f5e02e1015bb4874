"""The dataset page: whole, self-contained, safe with hostile names and captions, silent about where pictures lie."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from slipstream.core.errors import ConfigError
from slipstream.data.check import check_dataset
from slipstream.data.dataset import build_dataset
from slipstream.data.looks import look_at
from slipstream.data.settings import CropRule, DatasetSettings, MaskSettings
from slipstream.reports import dataset_page
from slipstream.reports.dataset_page import render_dataset_page, write_dataset_page

VOID = {"meta", "input", "img", "br", "link", "hr"}
HOSTILE = '"><script>alert(1)</script> & {{ 7 * 7 }}'


class Page(HTMLParser):
    """Text and tags of a page; complains about tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


def write(folder, name, size, seed, caption=None):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(folder / name)
    if caption is not None:
        (folder / name).with_suffix(".txt").write_text(caption)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "secret home" / "foxes"
    path.mkdir(parents=True)
    for number in range(4):
        write(path, f"fox {number}.png", (160, 128), number, f"a fox, number {number}")
    write(path, "copy.png", (160, 128), 2)
    write(path, "<b>&'wide.png", (320, 96), 9, HOSTILE)
    return path


def check(folder, **settings):
    looks = {}
    dataset = build_dataset(
        [DatasetSettings(folder, (64, 128), **settings)],
        on_picture=lambda path, picture: looks.update({path: look_at(picture)}),
    )
    return check_dataset(dataset, 2, looks=looks, count_tokens=len, max_tokens=30, tokenizer="letters")


def test_the_page_parses_and_holds_every_picture_and_caption(folder):
    report = check(folder)
    page = Page(render_dataset_page(report))
    text = " ".join(page.text)
    for picture in report.pictures:
        assert picture.name in text
        assert picture.caption in text
    figures = [attributes for tag, attributes in page.attributes if tag == "figure" and "data-kinds" in attributes]
    assert len(figures) == len(report.pictures) == 6
    assert sum("duplicate" in figure["data-kinds"] for figure in figures) == 2
    assert "near-duplicates" in text
    assert "counted by letters" in text


def test_nothing_of_names_and_captions_becomes_markup(folder):
    text = render_dataset_page(check(folder))
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "<script>alert" not in text
    assert "49" not in " ".join(line for line in page.text if "7 * 7" in line)
    assert HOSTILE in "".join(page.text)


def test_the_page_needs_nothing_else_and_does_not_tell_where_pictures_lie(folder):
    text = render_dataset_page(check(folder))
    assert "secret home" not in text
    assert not re.search(r"""(src|href)=["'](?!data:)|url\((?!data:)|@import|https?://""", text)
    assert "default-src 'none'" in text


def test_each_thumbnail_is_there_once_and_used_by_number(folder):
    text = render_dataset_page(check(folder))
    assert text.count("data:image/webp") == 6
    for number in range(6):
        assert f".p{number} {{ background-image" in text
        assert f'class="thumb p{number}"' in text


def test_thumbnails_shrink_until_they_fit(folder, monkeypatch):
    before = len(render_dataset_page(check(folder)))
    monkeypatch.setattr(dataset_page, "PICTURE_BUDGET_BYTES", 6000)
    assert len(render_dataset_page(check(folder))) < before


def test_crop_frames_lie_where_the_boxes_are(folder):
    report = check(folder, square=True)
    rects = [attributes for tag, attributes in Page(render_dataset_page(report)).attributes if tag == "rect"]
    frames = {(int(r["x"]), int(r["y"]), int(r["width"]), int(r["height"])) for r in rects if r["x"].isdigit()}
    # 160 x 128 squared keeps 128 of 160 columns, 320 x 96 keeps 96 of 320
    assert frames == {(100, 0, 800, 1000), (350, 0, 300, 1000)}


def test_random_crops_and_masks_are_drawn(folder, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.new("L", (160, 128), 99).save(tmp_path / "masks/fox 1.png")
    mask = MaskSettings("folder", tmp_path / "masks")
    text = render_dataset_page(check(folder, square=True, crop=CropRule("random", 4), mask=mask))
    veils = [attributes for _, attributes in Page(text).attributes if "veil" in (attributes.get("class") or "")]
    assert [veil["class"] for veil in veils] == ["veil v3"]
    assert "What a mask leaves out is darkened" in text


def test_a_page_replaces_its_like_and_nothing_else(folder, tmp_path):
    report, path = check(folder), tmp_path / "dataset_check.html"
    write_dataset_page(report, path)
    write_dataset_page(report, path)
    path.write_text("<html>my own notes</html>")
    with pytest.raises(ConfigError, match="something else lies"):
        write_dataset_page(report, path)
    assert path.read_text() == "<html>my own notes</html>"


def test_a_report_without_looks_makes_a_page_too(folder):
    dataset = build_dataset([DatasetSettings(folder, (128,))])
    page = Page(render_dataset_page(check_dataset(dataset, 1)))
    assert "not looked at" in "".join(page.text)
