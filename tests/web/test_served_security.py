"""A served studio with a token, over real sockets: pages, NiceGUI's files and its websocket are behind the gate."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from served import TOKEN, Served, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

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
