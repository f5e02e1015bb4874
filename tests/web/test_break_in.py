"""Somebody tries to get out of the folders, or past the limits, on every address that the API has."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from example_runs import make_run
from fastapi.testclient import TestClient
from pictures import HTML, SVG, picture
from served import TOKEN
from test_runs_api import problem

from slipstream.web.app import make_app

SECRET = "the-secret-of-the-machine"
WAYS_OUT = (
    "../{home}/token", "..%2f{home}%2ftoken", "....//{home}/token", "{absolute}", "%2e%2e/{home}/token",
    "..\\{home}\\token", "%5c..%5c{home}%5ctoken", ".", "..", "...", "%00", "a/../../{home}/token", "link",
    "link/token", "link.png", "link.safetensors", "file:///{absolute}", "~/token", "-",
    "%252e%252e%252f{home}%252ftoken",
)  # fmt: skip


@pytest.fixture
def world(settings, client):
    """A run and a dataset, links in both that lead to the studio's secrets, and the client."""
    (settings.home / "token").write_text(SECRET)
    run = make_run(settings.runs_dir, "foxy")
    folder = settings.datasets_dir / "foxes"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture())
    settings.loras_dir.mkdir(exist_ok=True)
    for place in (run.path, run.checkpoints, run.previews, folder, settings.runs_dir, settings.datasets_dir):
        for name in ("link.png", "link.txt", "link.safetensors"):
            (place / name).symlink_to(settings.home / "token")
        (place / "link").symlink_to(settings.home)
    return client


@pytest.fixture
def settings(tmp_path, settings):
    return replace(settings, loras_dir=tmp_path / "loras")


def texts_in(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters of an operation that take any text."""
    return [one for one in operation.get("parameters", []) if "string" in str(one["schema"])]


def filled(
    path: str, operation: dict[str, Any], known: dict[str, str], parameter: dict[str, Any], way: str
) -> tuple[str, dict[str, str]]:
    """The address and query of an operation with `way` in the place of one parameter."""
    query = {
        one["name"]: known.get(one["name"], "1")
        for one in operation["parameters"]
        if one["in"] == "query" and one.get("required")
    }
    if parameter["in"] == "path":
        path = path.replace(f"{{{parameter['name']}}}", way)
    else:
        query[parameter["name"]] = way
    return re.sub(r"\{(\w+)\}", lambda match: known.get(match[1], "tiny_demo"), path), query


def test_no_address_reads_what_lies_outside(world, settings):
    good = {"name": "foxy", "step": "50", "prompt": "0", "file": "foxy.safetensors", "job_id": "1", "number": "0"}
    ways = [way.format(home=settings.home.name, absolute=str(settings.home / "token")) for way in WAYS_OUT]
    document = world.get("/api/openapi.json").json()
    asked = 0
    for path, methods in document["paths"].items():
        operation = methods.get("get", {})
        known = {**good, "name": "foxes", "file": "a.png"} if path.startswith("/api/datasets/") else good
        for parameter in texts_in(operation):
            for way in ways:
                address, query = filled(path, operation, known, parameter, way)
                answer = world.get(address, params=query)
                assert answer.status_code < 500, (address, query, answer.text)
                assert SECRET not in answer.text, (address, query)
                asked += 1
    assert asked > 300


@pytest.mark.parametrize("method", ["put", "post", "patch", "delete"])
def test_no_address_changes_what_lies_outside(world, settings, method):
    """Everything that the API deletes or writes by a name stays within its folder."""
    ways = [way.format(home=settings.home.name, absolute=str(settings.home / "token")) for way in WAYS_OUT]
    document = world.get("/api/openapi.json").json()
    for path, methods in document["paths"].items():
        if method not in methods or "{" not in path:
            continue
        for name in re.findall(r"\{(\w+)\}", path):
            for way in ways:
                address = re.sub(r"\{(\w+)\}", "foxy", path.replace(f"{{{name}}}", quote(way, safe="/%")))
                answer = world.request(method, address, params={"file": way, "confirm": way, "key": way}, json={})
                assert answer.status_code < 500, (address, answer.text)
    assert (settings.home / "token").read_text() == SECRET


def test_a_forwarded_address_buys_no_more_guesses(settings):
    with TestClient(make_app(replace(settings, token=TOKEN), pages=False), base_url="http://localhost") as client:
        for number in range(5):
            headers = {
                "X-Forwarded-For": f"10.0.0.{number}",
                "X-Real-IP": f"10.0.1.{number}",
                "Forwarded": f"for={number}",
            }
            assert client.post("/login", data={"token": f"guess{number}"}, headers=headers).status_code == 401
        problem(client.post("/login", data={"token": TOKEN}, headers={"X-Forwarded-For": "10.9.9.9"}), 429)
        problem(
            client.get("/api/runs", headers={"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "1.2.3.4"}), 429
        )


def test_a_forwarded_host_is_no_host(client):
    answer = client.get("/api/system", headers={"Host": "evil.example", "X-Forwarded-Host": "localhost"})
    assert answer.status_code == 403
    assert client.get("/api/system", headers={"X-Forwarded-Host": "evil.example"}).status_code == 200


@pytest.mark.parametrize(
    "target",
    ["/%09/evil.example", "/\t/evil.example", "/./\\evil.example", "///evil.example", "/%5cevil.example",
     "http:evil.example", "\\\\evil.example", "/@evil.example", " //evil.example", "/login/..//evil.example"],
)  # fmt: skip
def test_a_log_in_never_leads_to_another_site(settings, target):
    with TestClient(
        make_app(replace(settings, token=TOKEN), pages=False), base_url="http://localhost", follow_redirects=False
    ) as client:
        where = client.post("/login", data={"token": TOKEN, "next": target}).headers["location"]
    assert where.startswith("/")
    assert not re.match(r"[/\\\s]{2}", where), where


def test_a_file_that_got_into_a_folder_by_hand_runs_nothing(client, settings):
    """What no upload takes may have been copied there: it is shown as a picture or not at all, and sandboxed."""
    folder = settings.datasets_dir / "foxes"
    folder.mkdir()
    for name, data in (("a.svg", SVG), ("a.html", HTML), ("b.png", SVG), ("c.jpg", HTML)):
        (folder / name).write_bytes(data)
    for name in ("a.svg", "a.html"):
        problem(client.get(f"/api/datasets/foxes/picture?file={name}"), 404)
    for name, kind in (("b.png", "image/png"), ("c.jpg", "image/jpeg")):
        answer = client.get(f"/api/datasets/foxes/picture?file={name}")
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert client.get(f"/api/datasets/foxes/thumbnail?file={name}").status_code >= 400


def test_methods_that_nobody_offers_are_refused(client):
    for method in ("TRACE", "CONNECT", "PROPFIND", "DEBUG"):
        assert client.request(method, "/api/runs").status_code in (400, 403, 404, 405, 501)
