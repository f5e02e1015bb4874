"""Datasets over the REST API: made, filled, shown, captioned and removed."""

from __future__ import annotations

import io
import zipfile

import pytest
from pictures import picture
from PIL import Image
from test_runs_api import problem


@pytest.fixture
def foxes(client, settings):
    """A dataset with three pictures, two of them captioned."""
    assert client.post("/api/datasets", json={"name": "foxes"}).status_code == 201
    folder = settings.datasets_dir / "foxes"
    for number in (1, 2, 10):
        (folder / f"img{number}.png").write_bytes(picture(number))
    (folder / "img1.txt").write_text("a red fox\n")
    (folder / "img2.txt").write_text("A Fox in snow, ñ\n", encoding="utf-8")
    return folder


def send(client, *files: tuple[str, bytes], query: str = ""):
    parts = [("files", (name, data, "application/octet-stream")) for name, data in files]
    return client.post(f"/api/datasets/foxes/files{query}", files=parts)


def zipped(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


def test_datasets_are_made_and_listed(client, foxes, settings):
    (settings.datasets_dir / "link").symlink_to(foxes)
    found = client.get("/api/datasets").json()
    assert [one["name"] for one in found] == ["foxes"]
    assert (found[0]["num_pictures"], found[0]["num_captions"], found[0]["cover"]) == (3, 2, "img1.png")
    problem(client.post("/api/datasets", json={"name": "foxes"}), 409)
    for name in ("", "..", "a/b", ".hidden", "CON", "a\x00", "x" * 121, " a", "a\\b", "tab\t"):
        problem(client.post("/api/datasets", json={"name": name}), 422)
    assert client.post("/api/datasets", json={"name": "Zorros ñ 2"}).status_code == 201


def test_pictures_come_in_natural_order_a_page_at_a_time(client, foxes):
    page = client.get("/api/datasets/foxes/pictures?limit=2").json()
    assert [one["file"] for one in page["pictures"]] == ["img1.png", "img2.png"]
    assert page["total"] == 3
    assert page["pictures"][1]["caption"] == "A Fox in snow, ñ"
    rest = client.get("/api/datasets/foxes/pictures?offset=2").json()["pictures"]
    assert [(one["file"], one["caption"]) for one in rest] == [("img10.png", None)]
    found = client.get("/api/datasets/foxes/pictures?text=SNOW").json()
    assert [one["file"] for one in found["pictures"]] == ["img2.png"]
    bare = client.get("/api/datasets/foxes/pictures?uncaptioned=true").json()
    assert [one["file"] for one in bare["pictures"]] == ["img10.png"]


def test_a_caption_that_cannot_be_read_is_told(client, foxes):
    (foxes / "img1.txt").write_bytes("zorro señor".encode("latin-1"))
    first = client.get("/api/datasets/foxes/pictures").json()["pictures"][0]
    assert first["caption"] is None
    assert "UTF-8" in first["problem"]


def test_pictures_and_thumbnails_are_sent(client, foxes):
    answer = client.get("/api/datasets/foxes/picture?file=img2.png")
    assert answer.content == (foxes / "img2.png").read_bytes()
    assert answer.headers["content-type"] == "image/png"
    small = client.get("/api/datasets/foxes/thumbnail?file=img2.png&v=1")
    assert Image.open(io.BytesIO(small.content)).size == (80, 96)
    assert "immutable" in small.headers["cache-control"]


def test_captions_are_written_together_or_not_at_all(client, foxes):
    changes = {"captions": {"img1.png": "a red fox", "img10.png": " [trigger], new ", "img2.png": ""}}
    assert client.put("/api/datasets/foxes/captions", json=changes).json() == {"changed": 2}
    assert (foxes / "img10.txt").read_text() == "[trigger], new\n"
    assert not (foxes / "img2.txt").exists()
    problem(client.put("/api/datasets/foxes/captions", json={"captions": {"img1.png": "x", "no.png": "y"}}), 404)
    problem(client.put("/api/datasets/foxes/captions", json={"captions": {"img1.png": "x" * 30_000}}), 422)
    assert (foxes / "img1.txt").read_text() == "a red fox\n"


def test_files_are_looked_at_and_kept(client, foxes):
    files = (("new.png", picture(7)), ("new.txt", "a fox, ñ".encode()), ("photo.JPG", picture(8, kind="JPEG")))
    report = send(client, *files, ("img1.png", picture(1)), ("notes.pdf", b"%PDF")).json()
    assert report["pictures"] == ["new.png", "photo.JPG"]
    assert report["captions"] == ["new.txt"]
    assert report["unchanged"] == ["img1.png"]
    assert [(one["file"], bool(one["fix"])) for one in report["refused"]] == [("notes.pdf", True)]
    taken = send(client, ("img1.png", picture(9))).json()
    assert "another file of this name" in taken["refused"][0]["message"]
    assert (foxes / "img1.png").read_bytes() == picture(1)
    assert send(client, ("img1.png", picture(9)), query="?replace=true").json()["pictures"] == ["img1.png"]
    assert (foxes / "img1.png").read_bytes() == picture(9)


def test_a_zip_is_unpacked_without_its_common_folder(client, foxes):
    data = zipped(
        ("holiday/a.png", picture(3)), ("holiday/a.txt", b"one"), ("holiday/more/b.png", picture(4)),
        ("holiday/__MACOSX/._a.png", b"junk"), ("holiday/.DS_Store", b"junk"), ("holiday/readme.md", b"hello"),
    )  # fmt: skip
    report = send(client, ("holiday.zip", data)).json()
    assert report["pictures"] == ["a.png", "more/b.png"]
    assert report["captions"] == ["a.txt"]
    assert [one["file"] for one in report["refused"]] == ["readme.md"]
    found = client.get("/api/datasets/foxes/picture?file=more/b.png")
    assert found.content == picture(4)


def test_what_is_removed_is_moved_aside(client, foxes, settings):
    assert client.delete("/api/datasets/foxes/picture?file=img1.png").status_code == 204
    assert not (foxes / "img1.txt").exists()
    aside = settings.datasets_dir / ".removed"
    assert sorted(path.name for path in (foxes / ".slipstream/trash").rglob("img1.*")) == ["img1.png", "img1.txt"]
    problem(client.delete("/api/datasets/foxes?confirm=fox"), 422)
    assert client.delete("/api/datasets/foxes?confirm=foxes").status_code == 204
    assert client.get("/api/datasets").json() == []
    assert len(list(aside.rglob("img2.png"))) == 1


def test_a_shared_caption_stays_with_the_other_picture(client, foxes):
    (foxes / "img1.jpg").write_bytes(picture(5, kind="JPEG"))
    assert client.delete("/api/datasets/foxes/picture?file=img1.png").status_code == 204
    assert (foxes / "img1.txt").is_file()


def test_five_thousand_pictures_are_listed_quickly(client, settings):
    import time

    folder = settings.datasets_dir / "many"
    folder.mkdir()
    for number in range(5000):
        (folder / f"{number}.png").touch()
        (folder / f"{number}.txt").write_text("a fox")
    started = time.perf_counter()
    page = client.get("/api/datasets/many/pictures?offset=4900&limit=100").json()
    assert time.perf_counter() - started < 2, "a page of a large dataset took too long"
    assert page["total"] == 5000
    assert page["pictures"][-1]["file"] == "4999.png"
