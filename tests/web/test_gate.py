"""The gate: Host and Origin, the token, logging in, sizes of requests, and headers; on the app in this process."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from served import TOKEN
from test_runs_api import problem

from slipstream.core.errors import ConfigError
from slipstream.web.app import make_app
from slipstream.web.security.login import local_target
from slipstream.web.security.origins import foreign_origin, host_name
from slipstream.web.security.secrets import require_strong, stored_token, write_secret
from slipstream.web.security.sessions import LIFETIME_SECONDS, Sessions
from slipstream.web.security.throttle import Throttle
from slipstream.web.settings import Limits, StudioSettings

BEARER = {"Authorization": f"Bearer {TOKEN}"}
HTML = {"Accept": "text/html,*/*"}


@pytest.fixture
def guarded(settings):
    """A studio with a token."""
    return replace(settings, token=TOKEN)


@pytest.fixture
def stranger(guarded):
    """A client that knows no token."""
    with TestClient(make_app(guarded, pages=False), base_url="http://localhost", follow_redirects=False) as client:
        yield client


def log_in(client, token=TOKEN, next="/"):
    return client.post("/login", data={"token": token, "next": next})


# --- who may ask: the token -------------------------------------------------------------------------------------------


def test_nothing_but_the_log_in_page_answers_a_stranger(stranger):
    document = stranger.get("/api/openapi.json", headers=BEARER).json()
    calls = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert len(calls) > 30
    others = ("/", "/settings", "/static/studio.css", "/api/openapi.json", "/api/docs", "/nothing", "/logout",
              "/login/x", "//login", "/favicon.ico", "/_nicegui_ws/socket.io/?EIO=4&transport=polling")  # fmt: skip
    calls += [("GET", path) for path in others] + [("POST", "/logout"), ("OPTIONS", "/api/runs"), ("HEAD", "/api/runs")]
    for method, path in calls:
        answer = stranger.request(method, re.sub(r"\{\w+\}", "1", path))
        assert answer.status_code == 401, (method, path, answer.status_code)
    assert stranger.get("/login").status_code == 200


def test_a_program_brings_the_token_in_a_header(stranger):
    assert stranger.get("/api/runs", headers=BEARER).json() == []
    assert stranger.get("/api/runs", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    assert "this is not" in problem(stranger.get("/api/runs", headers={"Authorization": "Bearer no"}), 401)["message"]
    for other in (f"Basic {TOKEN}", TOKEN, "Bearer", ""):
        assert stranger.get("/api/runs", headers={"Authorization": other}).status_code == 401
    assert stranger.get(f"/api/runs?token={TOKEN}").status_code == 401, "a token in an address ends up in logs"


def test_a_browser_is_led_to_the_log_in_page_and_back(stranger):
    answer = stranger.get("/runs/foxy?tab=log", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fruns%2Ffoxy%3Ftab%3Dlog")
    page = stranger.get(answer.headers["location"])
    assert 'value="/runs/foxy?tab=log"' in page.text
    assert log_in(stranger, next="/runs/foxy?tab=log").headers["location"] == "/runs/foxy?tab=log"


def test_logging_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(stranger):
    answer = log_in(stranger)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/"} <= set(re.split(r";\s*", cookie))
    assert TOKEN.lower() not in cookie
    assert "secure" not in cookie
    assert stranger.get("/api/runs").status_code == 200
    behind_tls = stranger.post("/login", data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"})
    assert "secure" in behind_tls.headers["set-cookie"].lower()


def test_logging_out_ends_the_session_itself(stranger, guarded):
    log_in(stranger)
    kept = dict(stranger.cookies)
    assert stranger.post("/logout").headers["location"] == "/login"
    with TestClient(make_app(guarded, pages=False), base_url="http://localhost", cookies=kept) as thief:
        assert thief.get("/api/runs").status_code == 401


def test_a_session_outlives_the_server_but_not_the_token(stranger, guarded):
    log_in(stranger)
    kept = dict(stranger.cookies)
    with TestClient(make_app(guarded, pages=False), base_url="http://localhost", cookies=kept) as again:
        assert again.get("/api/runs").status_code == 200
    other = replace(guarded, token="another-token-0123456789")
    with TestClient(make_app(other, pages=False), base_url="http://localhost", cookies=kept) as stale:
        assert stale.get("/api/runs").status_code == 401
    assert (guarded.home / "sessions.json").stat().st_mode & 0o077 == 0
    assert all(value not in (guarded.home / "sessions.json").read_text() for value in kept.values())


def test_a_session_runs_out(tmp_path):
    now = [1000.0]
    sessions = Sessions(tmp_path / "sessions.json", TOKEN, clock=lambda: now[0])
    name = sessions.open()
    assert sessions.is_open(name)
    assert not sessions.is_open("made up")
    now[0] += LIFETIME_SECONDS + 1
    assert not sessions.is_open(name)


def test_guessing_is_slowed_down_whichever_way(stranger):
    for number in range(5):
        assert log_in(stranger, token=f"guess{number}").status_code == 401
    refused = log_in(stranger)
    assert "too many" in problem(refused, 429)["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    problem(stranger.get("/api/runs", headers=BEARER), 429)


def test_guesses_in_headers_count_too(stranger):
    for number in range(5):
        stranger.get("/api/runs", headers={"Authorization": f"Bearer guess{number}"})
    problem(log_in(stranger), 429)


def test_the_throttle_forgets_after_its_window_and_limits_all_together():
    now = [0.0]
    throttle = Throttle(limit=2, limit_of_all=3, window=10, clock=lambda: now[0], remembered=5)
    throttle.failed("a")
    assert throttle.seconds_to_wait("a") == 0
    now[0] = 4
    throttle.failed("a")
    assert throttle.seconds_to_wait("a") == 6
    assert throttle.seconds_to_wait("b") == 0
    throttle.failed("b")
    assert throttle.seconds_to_wait("c") == 6, "many addresses together guess no faster"
    now[0] = 15
    assert throttle.seconds_to_wait("a") == throttle.seconds_to_wait("c") == 0
    for number in range(100):
        throttle.failed(f"address {number}")
    assert len(throttle._failures) == 5, "the memory of failures grows without end"


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\nx", "evil"]
)
def test_logging_in_leads_to_no_other_site(stranger, target):
    assert local_target(target) == "/"
    assert log_in(stranger, next=target).headers["location"] == "/"


def test_the_log_in_page_shows_nothing_unescaped_and_runs_its_own_script_alone(stranger):
    page = stranger.get("/login", params={"next": '/"><script>alert(1)</script>'})
    assert "<script>alert" not in page.text
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "Entra con su token" in stranger.get("/login", headers={"Accept-Language": "es"}).text


# --- which address was asked for, and which page asked ----------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8420", "localhost.evil.example", "127.0.0.1.nip.io", "",
                                  "localhost@evil.example", "localhost/", "[", "0.0.0.0", "localhost:x"])  # fmt: skip
def test_another_hosts_name_is_refused_against_dns_rebinding(client, host):
    assert client.get("/api/system", headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8420", "127.0.0.1:1", "[::1]:8420", "LOCALHOST", "localhost."]
)
def test_this_machines_names_are_taken(client, host):
    assert client.get("/api/system", headers={"Host": host}).status_code == 200


def test_a_proxys_name_is_taken_where_it_was_allowed(guarded):
    allowed = replace(guarded, host="0.0.0.0", allowed_hosts=("Studio.example",))
    with TestClient(make_app(allowed, pages=False), headers=BEARER) as client:
        assert client.get("/api/runs", headers={"Host": "studio.example"}).status_code == 200
        assert client.get("/api/runs", headers={"Host": "evil.example"}).status_code == 403
    anywhere = replace(guarded, host="0.0.0.0")
    with TestClient(make_app(anywhere, pages=False), headers=BEARER) as client:
        assert client.get("/api/runs", headers={"Host": "box.local:8420"}).status_code == 200


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:9999"},
    {"Origin": "http://localhost.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_sites_page_can_change_nothing(client, settings, headers):
    for method, path in (("POST", "/api/datasets"), ("PUT", "/api/settings/hub-token"), ("PATCH", "/api/settings"),
                         ("DELETE", "/api/settings/hub-token"), ("POST", "/login"), ("POST", "/logout")):  # fmt: skip
        assert client.request(method, path, json={"name": "x"}, headers=headers).status_code == 403
    form = client.post("/api/datasets", data={"name": "x"}, headers=headers)
    assert form.status_code == 403
    assert list(settings.datasets_dir.iterdir()) == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://localhost"}, {"Origin": "https://localhost:443", "Host": "localhost"},
     {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, {"Sec-Fetch-Site": "none"}],
)  # fmt: skip
def test_the_studios_own_pages_and_programs_may(client, headers):
    assert client.post("/api/datasets", json={"name": "mine"}, headers=headers).status_code == 201


def test_a_websocket_from_another_site_is_foreign_and_a_picture_is_not():
    headers = {"host": "localhost:8420", "origin": "https://evil.example"}
    assert foreign_origin("GET", headers, websocket=True)
    assert not foreign_origin("GET", headers)
    assert not foreign_origin("GET", {"host": "[::1]:8420", "origin": "http://[::1]:8420"}, websocket=True)
    assert foreign_origin("POST", {"host": "localhost", "origin": "http://["})


@pytest.mark.parametrize(
    ("header", "name"), [("a.b:1", "a.b"), ("[::1]:80", "::1"), ("A", "a"), ("a/b", None), ("a?b", None), (":x", None)]
)
def test_the_name_in_a_host_header(header, name):
    assert host_name(header) == name


def test_no_get_changes_anything(client, settings):
    from example_runs import make_run
    from pictures import picture

    make_run(settings.runs_dir)
    folder = settings.datasets_dir / "foxes"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture())
    values = {
        "name": "foxy",
        "step": "50",
        "prompt": "0",
        "file": "foxy.safetensors",
        "lora_scale": "1",
        "flag": "stop",
    }

    def state() -> dict:
        return {
            path: (path.stat().st_size, path.stat().st_mtime_ns)
            for root in (settings.runs_dir, settings.datasets_dir, settings.home)
            for path in root.rglob("*")
            if path.is_file() and "thumbnails" not in path.parts and not path.name.startswith("queue.db-")
        }

    queued = client.post("/api/jobs", json={"config": {"job": {"name": "a"}, "datasets": [{"path": "foxes"}]}})
    values["job_id"] = str(queued.json()["id"])
    version = client.get("/api/queues").json()["version"]
    before, asked = state(), 0
    for path, methods in client.get("/api/openapi.json").json()["paths"].items():
        if "get" in methods:
            if path.startswith("/api/datasets/"):
                path = path.replace("{name}", "foxes") + "?file=a.png"
            answer = client.get(re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "tiny_demo"), path))
            assert answer.status_code < 500
            asked += answer.status_code == 200
    assert asked >= 20
    assert state() == before
    assert client.get("/api/queues").json()["version"] == version


# --- how much a request may bring, and what every answer says ---------------------------------------------------------


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(settings):
    small = replace(settings, limits=Limits(body_bytes=10_000, upload_bytes=50_000))
    with TestClient(make_app(small, pages=False), base_url="http://localhost") as client:
        client.post("/api/datasets", json={"name": "foxes"})
        problem(client.post("/api/config/validate", content=b"x" * 10_001), 413)

        def unending():
            for _ in range(1000):
                yield b"x" * 1000

        problem(client.post("/api/config/validate", content=unending()), 413)
        problem(client.post("/api/config/validate", content=b"", headers={"Content-Length": "-1"}), 413)
        upload = [("files", ("a.png", b"x" * 60_000))]
        problem(client.post("/api/datasets/foxes/files", files=upload), 413)
        assert client.post("/api/datasets/foxes/files", files=[("files", ("a.png", b"x" * 30_000))]).status_code == 200


def test_every_answer_says_what_a_browser_may_do_with_it(stranger, client):
    answers = [client.get(path) for path in ("/api/runs", "/static/studio.css", "/nothing", "/login")]
    answers += [stranger.get("/api/runs"), stranger.get("/", headers=HTML), client.get("/", headers={"Host": "evil"})]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "sandbox" in answers[0].headers["content-security-policy"]
    assert answers[0].headers["cache-control"] == "no-store"


def test_a_fault_of_ours_tells_nothing_of_the_inside(settings, monkeypatch):
    app = make_app(settings, pages=False)

    def broken(self):
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("slipstream.web.services.machine.MachineWatch.look", broken)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.get("/api/system")
    assert "secret" not in str(problem(answer, 500))


# --- secrets on disk --------------------------------------------------------------------------------------------------


def test_listening_to_others_without_a_token_is_refused(settings):
    for host in ("0.0.0.0", "::", "192.168.1.5", "box.local"):
        with pytest.raises(ConfigError, match="no token is set"):
            StudioSettings(settings.home, settings.runs_dir, settings.datasets_dir, host=host)
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        StudioSettings(settings.home, settings.runs_dir, settings.datasets_dir, host=host)


def test_a_token_is_made_once_kept_private_and_weak_ones_are_refused(tmp_path):
    home = tmp_path / "home"
    token = stored_token(home)
    assert len(token) >= 32
    assert stored_token(home) == token
    assert (home / "token").stat().st_mode & 0o777 == 0o600
    (home / "token").chmod(0o644)
    stored_token(home)
    assert (home / "token").stat().st_mode & 0o777 == 0o600
    for weak in ("short", "spaces in the token are bad", "ñandú-ñandú-ñandú-ñandú", "tab\ttab\ttab\ttab\ttab"):
        with pytest.raises(ConfigError):
            require_strong(weak, "--token")


def test_a_secret_is_private_from_its_first_byte_on(tmp_path, monkeypatch):
    import os

    seen = []
    real = os.open

    def watched(path, flags, mode=0o777, **rest):
        seen.append(mode)
        return real(path, flags, mode, **rest)

    monkeypatch.setattr("slipstream.web.security.secrets.os.open", watched)
    write_secret(tmp_path / "secret", "s")
    assert seen == [0o600]


def test_the_hub_token_is_stored_privately_and_never_told(client, settings, tmp_path, monkeypatch):
    path = tmp_path / "hub" / "token"
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(path))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    secret = "hf_AbCdEf0123456789secret"
    assert client.get("/api/settings").json()["hub"] == {"is_set": False, "from_environment": False}
    assert client.put("/api/settings/hub-token", json={"token": secret}).json()["is_set"]
    assert path.read_text() == secret
    assert path.stat().st_mode & 0o777 == 0o600
    for other in ("", "github_x", "hf_a b", "hf_ñ", "hf_" + "x" * 300, "hf_a\nb: c"):
        told = problem(client.put("/api/settings/hub-token", json={"token": other}), 422)
        assert other == "" or other not in str(told)
    document = client.get("/api/openapi.json").json()
    for route, methods in document["paths"].items():
        if "get" in methods and "{" not in route:
            assert secret not in client.get(route).text
    assert client.delete("/api/settings/hub-token").json() == {"is_set": False, "from_environment": False}
    assert not path.exists()


def test_the_studios_folder_is_private(client, settings):
    assert settings.home.stat().st_mode & 0o077 == 0
