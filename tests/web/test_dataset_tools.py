"""More of datasets over the REST API: lists, crops, masks, the trash, renaming, checks, and captioning jobs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from pictures import picture
from PIL import Image
from test_runs_api import problem

from slipstream.captioning.work import Captioned, append_captioned
from slipstream.data.caption_sources import find_captions
from slipstream.data.settings import DatasetSettings
from slipstream.web.services import captioning_jobs, dataset_checks
from slipstream.web.services.dataset_checks import last_check, run_check
from slipstream.web.services.dataset_notes import DatasetNotes, change_notes, read_notes

BASE = "/api/datasets/foxes"


@pytest.fixture
def foxes(settings) -> Path:
    folder = settings.datasets_dir / "foxes"
    (folder / "more").mkdir(parents=True)
    (folder / "1.png").write_bytes(picture(1, (64, 64)))
    (folder / "2.png").write_bytes(picture(2, (1200, 800)))
    (folder / "more/3.jpg").write_bytes(picture(3, (600, 600), "JPEG"))
    (folder / "1.txt").write_text("a red fox\n")
    return folder


def names(client, query: str = "") -> list[str]:
    return [one["f"] for one in client.get(f"{BASE}/index{query}").json()]


def mask(size=(1200, 800), box=(100, 100, 400, 400)) -> bytes:
    image = Image.new("L", size)
    image.paste(255, box)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def send_mask(client, file: str, data: bytes):
    return client.post(f"{BASE}/masks/files?file={file}", files={"mask": ("m.png", data, "image/png")})


def test_the_list_is_filtered_by_what_a_picture_is(client, foxes):
    assert client.get(f"{BASE}/index").json()[0].items() >= {"f": "1.png", "c": "a red fox", "m": False}.items()
    assert names(client) == ["1.png", "2.png", "more/3.jpg"]
    assert names(client, "?show=uncaptioned") == ["2.png", "more/3.jpg"]
    assert names(client, "?show=small&side=768") == ["1.png", "more/3.jpg"]
    assert names(client, "?text=RED") == ["1.png"]
    assert names(client, "?text=more/&show=uncaptioned") == ["more/3.jpg"]
    assert names(client, "?show=duplicates") == []
    problem(client.get(f"{BASE}/index?show=nothing"), 422)


def test_crops_are_what_a_training_takes(client, foxes):
    found = client.get(f"{BASE}/crops?file=2.png&resolution=512&resolution=2048").json()
    assert [(one["resolution"], one["width"], one["height"]) for one in found] == [(512, 624, 416), (2048, 1200, 800)]
    assert found[1]["boxes"] == [[0, 0, 1, 1]]
    assert found[0]["lost"] == pytest.approx(0, abs=0.01)
    (foxes / "tall.png").write_bytes(picture(4, (400, 1700)))
    centre, top = (
        client.get(f"{BASE}/crops?file=tall.png&resolution=512&crop={rule}").json()[0] for rule in ("center", "top")
    )
    assert top["boxes"][0][1] == 0 <= centre["boxes"][0][1]
    drawn = client.get(f"{BASE}/crops?file=tall.png&resolution=512&crop=random&count=3").json()[0]
    assert 1 <= len(drawn["boxes"]) <= 3
    problem(client.get(f"{BASE}/crops?file=../1.png"), 404)


def test_masks_are_kept_beside_the_pictures_and_are_no_pictures(client, foxes):
    problem(client.get(f"{BASE}/mask?file=2.png"), 404)
    assert send_mask(client, "2.png", mask()).status_code == 204
    assert client.get(f"{BASE}/mask?file=2.png").headers["content-type"] == "image/png"
    assert names(client) == ["1.png", "2.png", "more/3.jpg"]
    assert names(client, "?show=masked") == ["2.png"]
    assert (foxes / ".masks/2.png").is_file()
    problem(send_mask(client, "2.png", mask((800, 800))), 422)
    problem(send_mask(client, "2.png", mask(box=(0, 0, 0, 0))), 422)
    problem(send_mask(client, "2.png", b"no picture"), 422)
    problem(send_mask(client, "4.png", mask()), 404)
    assert client.delete(f"{BASE}/mask?file=2.png").status_code == 204
    assert names(client, "?show=masked") == []


def test_a_mask_is_one_that_a_training_reads(client, foxes):
    from slipstream.data.masks import mask_file, read_mask
    from slipstream.data.settings import MaskSettings

    assert send_mask(client, "more/3.jpg", mask((300, 300))).status_code == 204
    settings = MaskSettings("folder", foxes / ".masks")
    found = mask_file(foxes / "more/3.jpg", foxes, settings)
    assert found == foxes / ".masks/more/3.png"
    assert read_mask(found, (600, 600), settings) is not None


def test_what_is_removed_comes_back_with_caption_and_mask(client, foxes):
    send_mask(client, "1.png", mask((64, 64), (0, 0, 10, 10)))
    for file in ("1.png", "more/3.jpg"):
        assert client.delete(f"{BASE}/picture?file={file}").status_code == 204
    assert names(client) == ["2.png"]
    trash = client.get(f"{BASE}/trash").json()
    assert sorted(one["file"] for one in trash) == ["1.png", "more/3.jpg"]
    keys = {one["file"]: one["key"] for one in trash}
    assert client.get(f"{BASE}/trash/thumbnail", params={"key": keys["1.png"]}).headers["content-type"] == "image/webp"
    assert client.post(f"{BASE}/trash/restore", params={"key": keys["1.png"]}).json() == {"file": "1.png"}
    assert (foxes / "1.txt").read_text() == "a red fox\n"
    assert names(client, "?show=masked") == ["1.png"]
    (foxes / "more/3.jpg").write_bytes(picture(9))
    problem(client.post(f"{BASE}/trash/restore", params={"key": keys["more/3.jpg"]}), 409)
    for key in ("", "x", "../..", f"{keys['1.png'].partition('/')[0]}/../../1.png", keys["1.png"]):
        problem(client.post(f"{BASE}/trash/restore", params={"key": key}), 404)
    assert client.delete(f"{BASE}/trash").json() == {"count": 1}
    assert client.get(f"{BASE}/trash").json() == []


def test_a_dataset_is_renamed_with_all_that_is_in_it(client, foxes, settings):
    client.delete(f"{BASE}/picture?file=2.png")
    (settings.datasets_dir / "cats").mkdir()
    problem(client.post(f"{BASE}/name", json={"name": "cats"}), 409)
    problem(client.post(f"{BASE}/name", json={"name": "../cats"}), 422)
    assert client.post(f"{BASE}/name", json={"name": "Red foxes"}).json()["num_pictures"] == 2
    assert len(client.get("/api/datasets/Red foxes/trash").json()) == 1


def test_many_captions_are_changed_at_once(client, foxes):
    edit = {"kind": "append", "text": "at night"}
    shown = client.post(f"{BASE}/edits", json=edit).json()
    assert [one["after"] for one in shown] == ["a red fox, at night", "at night", "at night"]
    assert not (foxes / "2.txt").exists()
    client.post(f"{BASE}/edits", json={**edit, "files": ["2.png"], "apply": True})
    assert (foxes / "2.txt").read_text() == "at night\n"
    problem(client.post(f"{BASE}/edits", json={"kind": "append"}), 422)
    problem(client.post(f"{BASE}/edits", json={**edit, "files": ["../x.png"]}), 404)


def test_folders_of_an_upload_are_kept_where_asked_for(client, foxes):
    def send(name: str, query: str) -> dict:
        files = {"files": (name, picture(7), "image/png")}
        return client.post(f"{BASE}/files{query}", files=files).json()

    assert send("a/b/7.png", "?folders=true")["pictures"] == ["a/b/7.png"]
    assert send("a/b/8.png", "")["pictures"] == ["8.png"]
    for name in ("../9.png", "/etc/9.png", "a/../9.png", "a/.b/9.png"):
        assert len(send(name, "?folders=true")["refused"]) == 1


def test_a_check_is_kept_until_the_dataset_changes(client, foxes, monkeypatch):
    from slipstream.workflows.inspect import check_folder, plain_report

    def ask(arguments, **_):
        assert arguments[:2] == ["dataset", "check"]
        assert "--trigger-word=ohwx" in arguments
        return json.loads(json.dumps(plain_report(check_folder(Path(arguments[2]), (512,), "ohwx", ""))))

    monkeypatch.setattr(dataset_checks, "ask_child", ask)
    (foxes / "copy.png").write_bytes((foxes / "1.png").read_bytes())
    (foxes / "broken.png").write_bytes(b"no picture")
    assert last_check(foxes) is None
    found = run_check(foxes, DatasetNotes(trigger_word="ohwx", resolutions=(512,)))
    assert [set(group) for group in found.duplicates] == [{"1.png", "copy.png"}]
    assert found.skipped[0][0] == "broken.png"
    assert any("no caption" in kind for one in found.pictures for kind, _ in one.findings)
    assert str(foxes) not in " ".join(found.advice)
    assert last_check(foxes) == found
    assert names(client, "?show=duplicates") == ["1.png", "copy.png"]
    (foxes / "2.txt").write_text("new")
    assert last_check(foxes).stale


def test_notes_stay_with_the_dataset_and_wrong_ones_are_refused(foxes):
    from slipstream.core.errors import ConfigError

    notes = read_notes(foxes, "sks")
    assert notes.trigger_word == "sks"
    change_notes(foxes, notes, trigger_word="ohwx", resolutions=(1024,))
    assert read_notes(foxes, "sks") == DatasetNotes(trigger_word="ohwx", resolutions=(1024,))
    with pytest.raises(ConfigError):
        change_notes(foxes, notes, resolutions=())
    (foxes / ".slipstream/notes.json").write_text("{")
    assert read_notes(foxes) == DatasetNotes()


def test_captions_of_a_list_are_made_editable_and_an_emptied_one_stays_empty(client, foxes):
    before = dict(client.get(BASE).json())
    entries = [{"file_name": "1.png", "text": "from the list"}, {"file_name": "2.png", "text": "the list's"}]
    (foxes / "metadata.jsonl").write_text("".join(json.dumps(one) + "\n" for one in entries))
    (foxes / "2.txt").write_text("its own")
    (foxes / "1.txt").unlink(missing_ok=True)
    assert client.post(f"{BASE}/captions/unpack").json() == {"count": 1}
    assert (foxes / "1.txt").read_text() == "from the list\n"
    assert (foxes / "2.txt").read_text() == "its own"
    assert not (foxes / "metadata.jsonl").exists()
    assert json.loads(next((foxes / ".slipstream/lists").rglob("*.jsonl")).read_text().splitlines()[0]) == entries[0]
    client.put(f"{BASE}/captions", json={"captions": {"1.png": ""}})
    settings = DatasetSettings(foxes, (512,))
    assert find_captions(settings, [foxes / "1.png"]).by_picture[foxes / "1.png"].text == ""
    assert client.post(f"{BASE}/captions/unpack").json() == {"count": 0}
    assert before["num_pictures"] == client.get(BASE).json()["num_pictures"]
    (foxes / "metadata.jsonl").write_text("no list")
    problem(client.post(f"{BASE}/captions/unpack"), 422)


def test_captioning_is_a_job_of_the_queue(client, foxes, settings):
    assert client.get(f"{BASE}/captioning").json() is None
    problem(client.post(f"{BASE}/captioning/stop"), 404)
    started = client.post(f"{BASE}/captioning", json={"trigger_word": "ohwx"})
    assert started.status_code == 201
    assert started.json()["state"] == "queued"
    assert not (settings.home / "supervisor.log").exists(), "who starts supervisors is `slipstream serve`'s affair"
    problem(client.post(f"{BASE}/captioning", json={}), 409)
    problem(client.post(f"{BASE}/name", json={"name": "cats"}), 409)
    problem(client.delete(f"{BASE}?confirm=foxes"), 409)
    job = captioning_jobs._newest(settings, foxes)
    assert (job.kind, job.payload["trigger_word"], job.payload["dataset"]) == ("caption", "ohwx", str(foxes))
    assert client.post(f"{BASE}/captioning/stop").json()["state"] == "stopped"

    job.run_dir.mkdir(parents=True)
    for file, text in (("2.png", "by the model"), ("more/3.jpg", "by the model too")):
        (foxes / file).with_suffix(".txt").write_text(text + "\n")
        append_captioned(job.run_dir / captioning_jobs.DIARY, Captioned(file, None, text))
    (foxes / "2.txt").write_text("by the model, then by hand\n")
    assert client.get(f"{BASE}/captioning").json()["written"] == 2
    assert client.post(f"{BASE}/captioning/undo").json() == {"count": 1}
    assert not (foxes / "more/3.txt").exists()
    assert (foxes / "2.txt").is_file()


def test_a_captioning_job_without_work_is_refused(client, foxes):
    problem(client.post(f"{BASE}/captioning", json={"files": ["1.png"]}), 422)
    problem(client.post(f"{BASE}/captioning", json={"files": ["9.png"]}), 422)
    problem(client.post(f"{BASE}/captioning", json={"prompt": "haiku"}), 422)
