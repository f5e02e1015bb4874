"""The playground's API: forms become pictures, paths stay where they may be, drawings are looked at and deleted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from example_runs import make_run
from fastapi.testclient import TestClient
from pictures import picture

from slipstream.core.file_lock import hold
from slipstream.drawings.progress import DrawingProgress, Process, write_process, write_progress
from slipstream.drawings.request import DrawingRequest, LoraUse, read_request
from slipstream.drawings.room import Drawing, Room, room_in, take, waiting
from slipstream.jobs import leases, store
from slipstream.jobs.devices import Gpu
from slipstream.jobs.job import NewJob
from slipstream.runs.lock import worker_lock
from slipstream.web.services.playground import devices, drawings
from slipstream.web.services.queue import queue_of
from slipstream.web.settings import StudioSettings

PLAIN = {"model": "tiny/turbo", "prompt": "a fox", "width": 64, "height": 64, "seed": 5}
ASK = "/api/playground/drawings"


@pytest.fixture
def settings(settings: StudioSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudioSettings:
    """With a run `foxy` and a folder of LoRAs; nobody draws."""
    make_run(settings.runs_dir)
    (tmp_path / "loras" / "old").mkdir(parents=True)
    lora = (settings.runs_dir / "foxy" / "foxy.safetensors").read_bytes()
    (tmp_path / "loras" / "old" / "felt.safetensors").write_bytes(lora)
    (tmp_path / "loras" / "notes.txt").write_text("no LoRA")
    (tmp_path / "outside.safetensors").write_bytes(lora)
    (tmp_path / "loras" / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    monkeypatch.setattr(drawings, "ensure_drawing_process", lambda room, device: True)
    return dataclasses.replace(settings, loras_dir=tmp_path / "loras")


@pytest.fixture
def room(settings: StudioSettings) -> Room:
    return room_in(settings.home)


def asked(client: TestClient, room: Room, **changes: object) -> DrawingRequest:
    """What the process will find for a form."""
    answer = client.post(ASK, json={**PLAIN, **changes})
    assert answer.status_code == 202, answer.text
    return read_request(room.drawing(answer.json()["id"]).request)


def refused(client: TestClient, status: int, **changes: object) -> str:
    answer = client.post(ASK, json={**PLAIN, **changes})
    assert answer.status_code == status, answer.text
    return answer.json()["message"]


def as_if_drawn(room: Room, drawing: Drawing, count: int) -> None:
    """The process has drawn it."""
    take(room, drawing)
    for number in range(count):
        drawing.picture(number).write_bytes(picture())
    write_progress(drawing, DrawingProgress("finished", pictures=count, seconds=1.5))


def test_what_can_be_chosen(client: TestClient):
    found = client.get("/api/playground/choices").json()
    assert found["runs"] == ["foxy"]
    assert found["files"] == ["old/felt.safetensors"]
    assert {"Tongyi-MAI/Z-Image-Turbo", "tiny/turbo"} <= set(found["bases"])
    assert found["devices"][-1] == {"name": "cpu", "label": "CPU", "busy_with": ""}
    run = client.get("/api/playground/choices/runs/foxy").json()
    assert (run["trigger_word"], run["base"]["model"], run["width"]) == ("foxy", "tiny/turbo", 128)
    assert run["checkpoints"][0]["file"] == "foxy.safetensors"
    assert client.get("/api/playground/choices/files/old/felt.safetensors").json() == {"trigger_word": "", "base": None}


def test_a_form_becomes_pictures_with_everything_filled_in(client: TestClient, room: Room, settings: StudioSettings):
    loras = [{"run": "foxy", "file": "foxy.safetensors", "weight": 0.7}, {"file": "old/felt.safetensors"}]
    wanted = asked(client, room, prompt="a [trigger] fox", loras=loras, count=2, without_lora=True)
    run, folder = settings.runs_dir / "foxy" / "foxy.safetensors", settings.loras_dir / "old" / "felt.safetensors"
    on, off = (LoraUse(run, 0.7), LoraUse(folder, 1.0)), (LoraUse(run, 0.0), LoraUse(folder, 0.0))
    assert [(one.seed, one.loras) for one in wanted.pictures] == [(5, on), (6, on), (5, off), (6, off)]
    first = wanted.pictures[0]
    assert (first.prompt, first.steps, first.guidance_scale, first.has_trigger) == ("a foxy fox", 8, 0.0, True)
    assert (wanted.base.model, wanted.base.extras_from, wanted.device) == ("tiny/turbo", "tiny/turbo", "cpu")
    de_turbo = asked(client, room, model="tiny/de-turbo", negative_prompt="blurry").pictures[0]
    assert (de_turbo.steps, de_turbo.guidance_scale, de_turbo.negative_prompt) == (25, 2.5, "blurry")
    seeds = {asked(client, room, seed=None).pictures[0].seed for _ in range(3)}
    assert len(seeds) == 3


def test_a_grid_is_rows_by_columns(client: TestClient, room: Room, settings: StudioSettings):
    answer = client.post(
        ASK,
        json={
            **PLAIN, "loras": [{"run": "foxy", "file": "foxy.safetensors"}],
            "columns": {"kind": "weight", "values": [0, 0.5, 1]},
            "rows": {"kind": "checkpoint", "values": ["foxy_000000050.safetensors", "foxy.safetensors"]},
        },
    ).json()  # fmt: skip
    assert (answer["layout"], answer["columns"]) == ("grid", ["0", "0.5", "1"])
    assert answer["rows"] == ["foxy_000000050.safetensors", "foxy.safetensors"]
    pictures = read_request(room.drawing(answer["id"]).request).pictures
    assert [one.loras[0].strength for one in pictures] == [0, 0.5, 1, 0, 0.5, 1]
    assert [one.loras[0].path.name for one in pictures[2:4]] == ["foxy_000000050.safetensors", "foxy.safetensors"]
    steps = asked(client, room, columns={"kind": "steps", "values": [4, "8"]}, rows={"kind": "seed", "values": [1, 2]})
    assert [(one.steps, one.seed) for one in steps.pictures] == [(4, 1), (8, 1), (4, 2), (8, 2)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {"kind": "weight", "values": [1]}}, "the axis is of LoRA 1, and 0 are chosen"),
        ({"columns": {"kind": "steps", "values": [2.5]}}, "expected a whole number from 1 to 100"),
        ({"columns": {"kind": "guidance", "values": ["much"]}}, "expected a number from 0 to 30"),
        ({"columns": {"kind": "seed", "values": [1]}, "count": 2}, "count 1"),
        ({"rows": {"kind": "seed", "values": [1]}}, "without columns"),
        ({"columns": {"kind": "seed", "values": [1]}, "rows": {"kind": "seed", "values": [2]}}, "both axes"),
        ({"without_lora": True}, "needs LoRAs"),
        ({"width": 4096}, "2048"),
        ({"width": 65}, "multiple of 16"),
        ({"count": 65}, "64"),
        ({"seed": -1}, "0"),
        ({"device": "cuda:0; rm"}, "pattern"),
        ({"device": "gpu:7"}, "there is no device"),
        ({"model": "/etc"}, "no hub id"),
        ({"model": "tiny/nothing"}, "no hub id"),
        ({"model": "../models/mine"}, "no hub id"),
        ({"model": "org/../../etc"}, "no hub id"),
        ({"extras_from": "/etc"}, "no hub id"),
        ({"lora": []}, "Extra"),
    ],
)
def test_what_cannot_be_drawn_is_refused(client: TestClient, room: Room, changes: dict, message: str):
    assert message in refused(client, 422, **changes)
    assert waiting(room) == []


def test_too_many_pictures_or_drawings_are_refused(client: TestClient, room: Room):
    numbers = [float(number) for number in range(1, 14)]
    grid = {"columns": {"kind": "seed", "values": numbers}, "rows": {"kind": "steps", "values": numbers}}
    assert "169 pictures" in refused(client, 422, **grid)
    for _ in range(drawings.MOST_WAITING):
        asked(client, room)
    assert "wait already" in refused(client, 429)


@pytest.mark.parametrize(
    "lora",
    [
        {"file": "../outside.safetensors"},
        {"file": "link.safetensors"},
        {"file": "notes.txt"},
        {"file": "/etc/passwd"},
        {"file": "old/../../outside.safetensors"},
        {"run": "foxy", "file": "../../outside.safetensors"},
        {"run": "foxy", "file": "config.yaml"},
        {"run": "..", "file": "outside.safetensors"},
        {"run": "nobody", "file": "foxy.safetensors"},
    ],
)
def test_loras_are_those_of_runs_and_of_the_folder(client: TestClient, room: Room, lora: dict):
    refused(client, 404, loras=[lora])
    assert waiting(room) == []


def test_a_base_that_a_run_was_trained_on_may_be_a_path(client: TestClient, room: Room, settings: StudioSettings):
    config = settings.runs_dir / "foxy" / "config.yaml"
    config.write_text(config.read_text().replace("name_or_path: tiny/turbo", "name_or_path: /models/mine"))
    assert asked(client, room, model="/models/mine").base.model == "/models/mine"


def test_drawings_are_listed_looked_at_and_deleted(client: TestClient, room: Room):
    ids = [client.post(ASK, json={**PLAIN, "count": 2}).json()["id"] for _ in range(3)]
    first = room.drawing(ids[0])
    assert client.get(f"{ASK}/{ids[0]}").json()["state"] == "waiting"
    as_if_drawn(room, first, 2)
    page = client.get(ASK, params={"limit": 2}).json()
    assert ([one["id"] for one in page["drawings"]], page["more"]) == (ids[:0:-1], True)
    (shown,) = client.get(ASK, params={"before": ids[1]}).json()["drawings"]
    assert (shown["state"], shown["ready"], shown["form"]["seed"]) == ("finished", [0, 1], 5)
    assert asked(client, room, **shown["form"]).pictures == read_request(first.request).pictures
    assert client.get(f"{ASK}/{ids[0]}/pictures/1").headers["content-type"] == "image/png"
    assert client.get(f"{ASK}/{ids[0]}/pictures/1/thumbnail", params={"side": 64}).status_code == 200
    assert client.get(f"{ASK}/{ids[0]}/pictures/1/facts").json() == {}
    assert client.get(f"{ASK}/{ids[0]}/pictures/2").status_code == 404
    assert client.get(f"{ASK}/..%2F..%2Fhome/pictures/0").status_code == 404
    assert client.delete(f"{ASK}/{ids[0]}/pictures/0").status_code == 204
    assert client.get(f"{ASK}/{ids[0]}").json()["ready"] == [1]
    assert client.delete(f"{ASK}/{ids[0]}/pictures/1").status_code == 204
    assert client.get(f"{ASK}/{ids[0]}").status_code == 404
    assert client.post(f"{ASK}/{ids[1]}/cancel").json()["state"] == "stopped"
    assert client.post(f"{ASK}/{ids[1]}/cancel").status_code == 409
    assert client.delete(f"{ASK}/{ids[2]}").status_code == 204
    assert ids[2] not in [one.id for one in waiting(room)]


def test_a_process_that_died_is_said_and_a_living_one_is_asked_to_leave(client: TestClient, room: Room):
    drawing = room.drawing(client.post(ASK, json=PLAIN).json()["id"])
    assert client.get("/api/playground").json() == {"process": None, "num_waiting": 1}
    assert client.post("/api/playground/give-back").json() == {"asked": False}
    write_process(room, Process("me", 1, "cpu", 0.0, "drawing", drawing=drawing.id))
    write_progress(drawing, DrawingProgress("drawing", process="me"))
    take(room, drawing)
    with hold(room.lock):
        assert client.get(f"{ASK}/{drawing.id}").json()["state"] == "drawing"
        assert client.get("/api/playground").json()["process"]["drawing"] == drawing.id
        assert client.delete(f"{ASK}/{drawing.id}/pictures/0").status_code == 404
        assert client.post("/api/playground/give-back").json() == {"asked": True}
        assert room.leave.exists()
    shown = client.get(f"{ASK}/{drawing.id}").json()
    assert shown["state"] == "failed"
    assert "ended in the middle" in shown["message"]
    assert client.post("/api/playground/go-on").json() == {"process": None, "num_waiting": 0}


def test_a_gpu_on_which_something_is_trained_is_left_alone(
    client: TestClient, room: Room, settings: StudioSettings, monkeypatch: pytest.MonkeyPatch
):
    gpus = [Gpu(number, f"GPU-{number}", "H100", 80.0, 0.5, 0.0, 40.0, 70.0) for number in range(2)]
    monkeypatch.setattr(devices, "find_gpus", lambda: tuple(gpus))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    db = queue_of(settings)
    store.add(db, NewJob("anna", settings.runs_dir / "anna", queue="gpu:0"))
    assert asked(client, room).device == "gpu:0"
    assert leases.claim(db, "gpu:0", takes_any=False, owner="me", lease_seconds=60) is not None
    assert asked(client, room).device == "gpu:1"
    assert asked(client, room, device="cpu").device == "cpu"
    assert "'anna' is being trained on gpu:0" in refused(client, 409, device="gpu:0")
    bert = make_run(settings.runs_dir, "bert", state="running")
    with worker_lock(bert):
        assert asked(client, room).device == "gpu:1"  # it holds nothing there: it trains elsewhere, or not yet
        gpus[1] = dataclasses.replace(gpus[1], used_gib=20.0)
        assert "'anna' is being trained on gpu:0" in refused(client, 409)
        assert "'bert' is being trained on gpu:1" in refused(client, 409, device="gpu:1")
        assert asked(client, room, share_gpu=True).device == "gpu:0"
        bert.manifest.write_text('{"device": "device: CPU, 2 threads (auto)"}')
        assert asked(client, room).device == "gpu:1"
    bert.manifest.write_text("{}")
    assert asked(client, room).device == "gpu:1"
