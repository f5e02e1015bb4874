"""A served studio with a token, over real sockets: pages, NiceGUI's files and its websocket are behind the gate."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect
from served import TOKEN, Served, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport={}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("guarded"), "--token", TOKEN) as served:
        yield served


@pytest.fixture(scope="module")
def cookie(guarded) -> str:
    """The cookie of somebody who logged in."""
    answer = httpx.post(f"{guarded.address}/login", data={"token": TOKEN})
    assert answer.status_code == 303
    return answer.headers["set-cookie"].partition(";")[0]


def opens(served: Served, host: str | None = None, **headers: str) -> bool:
    """Whether a websocket to the pages' server opens with these headers, asked for under a host's name."""
    own = served.address.removeprefix("http://")
    address, _, port = own.partition(":")
    uri = f"ws://{host or own}{SOCKET.format('websocket')}"
    with socket.create_connection((address, int(port)), 5) as line:
        try:
            with connect(uri, sock=line, additional_headers=headers, open_timeout=5) as talk:
                return str(talk.recv(timeout=5)).startswith("0{")
        except InvalidStatus as error:
            return error.response.status_code != 403


def test_the_websocket_needs_the_token_and_the_studios_own_page(guarded, cookie):
    assert not opens(guarded)
    assert not opens(guarded, Cookie=f"{cookie.partition('=')[0]}=made-up")
    assert opens(guarded, Cookie=cookie)
    assert opens(guarded, Authorization=f"Bearer {TOKEN}")
    assert opens(guarded, Cookie=cookie, Origin=guarded.address)
    assert not opens(guarded, Cookie=cookie, Origin="https://evil.example")
    assert not opens(guarded, Cookie=cookie, Origin="null")
    assert not opens(guarded, Cookie=cookie, host="evil.example")


def test_without_a_token_the_websocket_still_needs_the_studios_own_page(studio):
    assert opens(studio)
    assert opens(studio, Origin=studio.address)
    assert not opens(studio, Origin="https://evil.example")
    assert not opens(studio, host="evil.example")


def test_polling_is_behind_the_gate_too(guarded, cookie, studio):
    path = SOCKET.format("polling")
    assert httpx.get(guarded.address + path).status_code == 401
    assert httpx.post(guarded.address + path, content=b"40").status_code == 401
    assert httpx.get(guarded.address + path, headers={"Cookie": cookie}).status_code == 200
    evil = {"Origin": "https://evil.example"}
    assert httpx.post(studio.address + path, content=b"40", headers=evil).status_code == 403
    assert httpx.get(studio.address + path, headers=evil).status_code == 403
    own = httpx.get(studio.address + path, headers={"Origin": studio.address})
    assert own.status_code == 200
    assert not [name for name in own.headers if name.startswith("access-control-")]


def test_pages_and_their_files_are_behind_the_gate(guarded, cookie):
    with httpx.Client(base_url=guarded.address, headers={"Cookie": cookie}) as friend:
        page = friend.get("/")
        assert page.status_code == 200
        files = set(re.findall(r'(?:src|href)="(/[^"]+)"|url\("(/[^"]+)"\)', page.text))
        paths = {one or other for one, other in files}
        assert len(paths) > 5
        assert {friend.get(path).status_code for path in paths} == {200}
    for path in ("/", "/settings", *paths):
        assert httpx.get(guarded.address + path).status_code == 401
        asked_as_browser = httpx.get(guarded.address + path, headers={"Accept": "text/html"})
        assert asked_as_browser.status_code == 303
        assert asked_as_browser.headers["location"].startswith("/login?next=")


def test_pages_load_nothing_from_elsewhere(studio):
    page = httpx.get(studio.address).text
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", page))
    assert {one for one in addresses if not one.startswith("http://www.w3.org/")} == set()


def test_an_upload_to_a_page_is_limited_and_goes_nowhere_without_a_page(studio):
    answer = httpx.post(f"{studio.address}/_nicegui/client/none/upload/1", content=b"x")
    assert answer.status_code in (404, 405)


def test_a_served_studio_has_a_supervisor(guarded):
    until = time.monotonic() + 20
    while not httpx.get(f"{guarded.address}/api/queues", headers=BEARER).json()["supervised"]:
        assert time.monotonic() < until, "no supervisor came"
        time.sleep(0.2)


def test_the_api_has_a_reference_without_scripts(studio):
    reference = httpx.get(f"{studio.address}/api/docs")
    assert "/api/runs/{name}/metrics" in reference.text
    assert "<script" not in reference.text


def test_only_scripts_that_the_server_wrote_run_in_a_page(studio):
    pages = [httpx.get(f"{studio.address}{path}", headers={"Accept": "text/html"}) for path in ("/", "/", "/nothing")]
    nonces = set()
    for page in pages:
        policy = page.headers["content-security-policy"]
        scripts = re.search(r"script-src ([^;]*)", policy)[1]
        assert "unsafe-inline" not in scripts
        nonce = re.search(r"'nonce-([\w-]{20,})'", scripts)[1]
        assert page.text.count("<script") == page.text.count(f'<script nonce="{nonce}"') > 3
        nonces.add(nonce)
    assert len(nonces) == len(pages)


def test_a_script_that_got_into_a_page_does_not_run(studio, browser):
    context = browser.new_context(base_url=studio.address)
    page = context.new_page()
    page.goto("/settings")
    page.get_by_role("heading", level=1).wait_for()
    page.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = 'window.intruder = true';
        document.body.append(script);
        document.body.insertAdjacentHTML('beforeend', '<img src="/nothing.png" onerror="window.intruder = true">');
    }""")
    page.wait_for_timeout(300)
    assert page.evaluate("window.intruder") is None
    context.close()


def test_a_person_logs_in_and_out_in_a_browser(guarded, browser):
    context = browser.new_context(base_url=guarded.address)
    page = context.new_page()
    page.goto("/settings")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not this studio's token.")
    page.goto(f"/login?next=/settings#token={TOKEN}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    assert TOKEN not in page.url
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto("/settings")
    assert "/login" in page.url
    context.close()
