"""Files and names that mean harm are refused with a reason, and leave nothing behind."""

from __future__ import annotations

import io
import stat
import zipfile
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from pictures import HTML, SVG, bomb, picture
from test_datasets_api import send, zipped
from test_runs_api import problem

from slipstream.web.app import make_app
from slipstream.web.services.places import is_plain_name
from slipstream.web.settings import Limits


@pytest.fixture
def foxes(client, settings):
    client.post("/api/datasets", json={"name": "foxes"})
    return settings.datasets_dir / "foxes"


def only_refusal(answer) -> str:
    report = answer.json()
    assert answer.status_code == 200, answer.text
    assert report["pictures"] == report["captions"] == []
    assert len(report["refused"]) == 1
    assert report["refused"][0]["fix"]
    return report["refused"][0]["message"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("fox.png", SVG),
        ("fox.jpg", HTML),
        ("fox.webp", b"MZ\x90\x00 a program"),
        ("fox.png", b""),
        ("fox.png", picture()[:60]),
        ("fox.svg", SVG),
        ("fox.html", HTML),
        ("fox.png.exe", picture()),
        ("fox.gif", b"GIF89a"),
    ],
)
def test_what_is_no_picture_is_refused_whatever_its_name_says(client, foxes, name, data):
    only_refusal(send(client, (name, data)))
    assert list(foxes.iterdir()) == []


def test_a_picture_that_fills_the_memory_is_refused(client, foxes):
    assert "too large" in only_refusal(send(client, ("bomb.png", bomb())))


@pytest.mark.parametrize(
    "name", [".hidden.png", "con.png", "a:b.png", "x" * 200 + ".png", "\u202egnp.png", "a ", "..", "a*.png", "fox.png."]
)
def test_names_that_no_file_should_have_are_refused(client, foxes, name):
    assert "cannot name a file" in only_refusal(send(client, (name, picture())))
    assert list(foxes.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "a\0.png", "a\nb.png", "a/b.png", "a\\b.png", "\ud800.png", "é" * 121])
def test_names_that_are_not_plain(name):
    assert not is_plain_name(name)


@pytest.mark.parametrize("name", ["../../evil.png", "/tmp/evil.png", "C:\\evil.png", "..\\evil.png"])
def test_folders_in_a_files_name_are_cut_off(client, foxes, name):
    send(client, (name, picture()))
    assert {path.name for path in foxes.rglob("*")} <= {"evil.png"}
    assert not list(foxes.parent.parent.glob("evil*"))


@pytest.mark.parametrize("caption", [b"\xff\xfe\xff", "zorro señor".encode("latin-1"), b"a\x00b", b"x" * 100_000])
def test_what_is_no_caption_is_refused(client, foxes, caption):
    only_refusal(send(client, ("fox.txt", caption)))


@pytest.mark.parametrize(
    "entry",
    ["../evil.png", "a/../../evil.png", "/etc/evil.png", "..\\evil.png", "C:/evil.png", "a/../../../evil.png"],
)
def test_a_zip_that_writes_outside_is_refused_as_a_whole(client, foxes, entry):
    message = only_refusal(send(client, ("pics.zip", zipped(("good.png", picture()), (entry, picture(1))))))
    assert "outside" in message
    assert list(foxes.iterdir()) == []


def test_a_link_in_a_zip_is_refused(client, foxes):
    info = zipfile.ZipInfo("link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert "link" in only_refusal(send(client, ("pics.zip", buffer.getvalue())))


def test_an_encrypted_zip_is_refused(client, foxes):
    data = bytearray(zipped(("fox.png", picture())))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    assert "encrypted" in only_refusal(send(client, ("pics.zip", bytes(data))))


def test_zips_that_unpack_to_too_much_are_refused(settings):
    limits = Limits(unpacked_bytes=3 << 20, zip_entries=5, picture_bytes=1 << 20)
    app = make_app(replace(settings, limits=limits), pages=False)
    with TestClient(app, base_url="http://localhost") as client:
        client.post("/api/datasets", json={"name": "foxes"})
        nulls = zipped(("a.png", bytes(2 << 20)))
        assert "times its size" in only_refusal(send(client, ("a.zip", nulls)))
        many = zipped(*((f"{number}.png", b"x") for number in range(6)))
        assert "at most 5" in only_refusal(send(client, ("b.zip", many)))
        large = zipped(*((f"{number}.bin", bytes(1 << 20)) for number in range(4)))
        assert "unpacks to 4 MiB" in only_refusal(send(client, ("c.zip", large)))
    assert list((settings.datasets_dir / "foxes").iterdir()) == []


def test_a_zip_that_lies_about_its_sizes_is_refused(client, foxes):
    data = bytearray(zipped(("a.png", bytes(3 << 20))))
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = (1000).to_bytes(4, "little")
    only_refusal(send(client, ("lie.zip", bytes(data))))
    assert list(foxes.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 torn", picture(), zipped(("a.png", picture()))[:-30]])
def test_what_is_no_zip_is_refused(client, foxes, data):
    only_refusal(send(client, ("pics.zip", data)))


def test_a_zip_in_a_zip_is_not_unpacked(client, foxes):
    report = send(client, ("outer.zip", zipped(("inner.zip", zipped(("a.png", picture())))))).json()
    assert report["pictures"] == []
    assert [one["file"] for one in report["refused"]] == ["inner.zip"]


def test_links_out_of_a_dataset_are_not_followed(client, foxes, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(picture(3))
    (foxes / "secret.png").symlink_to(outside / "secret.png")
    (foxes / "folder").symlink_to(outside)
    for file in ("secret.png", "folder/secret.png"):
        problem(client.get(f"/api/datasets/foxes/picture?file={file}"), 404)
        problem(client.get(f"/api/datasets/foxes/thumbnail?file={file}"), 404)
        problem(client.put("/api/datasets/foxes/captions", json={"captions": {file: "mine"}}), 404)
    report = send(client, ("in.zip", zipped(("top.png", picture()), ("folder/new.png", picture(1))))).json()
    assert report["pictures"] == ["top.png"]
    assert [path.name for path in outside.iterdir()] == ["secret.png"]
    (foxes / "top.txt").symlink_to(outside / "caption.txt")
    problem(client.put("/api/datasets/foxes/captions", json={"captions": {"top.png": "mine"}}), 409)


@pytest.mark.parametrize(
    "file", ["../../home/token", "/etc/passwd", "a/../../x.png", "..", "", ".", "a\x00.png", ".hidden.png", "notes.txt"]
)
def test_paths_that_are_no_pictures_of_the_dataset(client, foxes, settings, file):
    (foxes / "notes.txt").write_text("private")
    (foxes / ".hidden.png").write_bytes(picture())
    (settings.home / "token").write_text("secret")
    problem(client.get("/api/datasets/foxes/picture", params={"file": file}), 404)
    assert client.delete("/api/datasets/foxes/picture", params={"file": file}).status_code == 404
