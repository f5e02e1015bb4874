"""Starting a studio: addresses, tokens, ports, preferences that last."""

from __future__ import annotations

import json
import socket

import httpx
import pytest
from served import serving
from test_runs_api import problem

from slipstream.core.errors import DeviceError
from slipstream.web.serve import address_of, listen
from slipstream.web.services.preferences import Preferences, PreferenceStore


def test_open_to_other_machines_a_token_is_made_and_asked_for(tmp_path):
    with serving(tmp_path, "--host", "0.0.0.0", "--no-supervise") as served:
        address = served.address.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{address}/api/runs").status_code == 401
        token = (served.home / "token").read_text().strip()
        queues = httpx.get(f"{address}/api/queues", headers={"Authorization": f"Bearer {token}"})
        assert queues.status_code == 200
        assert not queues.json()["supervised"]


def test_a_taken_port_is_told_with_the_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DeviceError, match="cannot listen") as caught:
            listen("127.0.0.1", taken.getsockname()[1])
    assert "--port" in str(caught.value.fix)


def test_an_address_that_is_not_of_this_machine_is_told():
    with pytest.raises(DeviceError, match="cannot listen"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://localhost:1"), ("0.0.0.0", "http://localhost:1"), ("::1", "http://[::1]:1"),
     ("box.local", "http://box.local:1")],
)  # fmt: skip
def test_the_address_to_type(host, address):
    assert address_of(host, 1) == address


def test_preferences_last_and_wrong_ones_change_nothing(client, settings):
    assert client.patch("/api/settings", json={"language": "es", "default_trigger_word": "zorro"}).status_code == 200
    problem(client.patch("/api/settings", json={"language": "fr"}), 422)
    problem(client.patch("/api/settings", json={"them": "dark"}), 422)
    stored = PreferenceStore(settings.home / "preferences.json").read()
    assert (stored.language, stored.default_trigger_word, stored.theme) == ("es", "zorro", "auto")


@pytest.mark.parametrize("text", ["", "{", "[1]", json.dumps({"theme": "pink"}), json.dumps({"other": 1})])
def test_damaged_preferences_are_kept_aside(tmp_path, text):
    path = tmp_path / "preferences.json"
    path.write_text(text)
    store = PreferenceStore(path)
    assert store.read() == Preferences()
    assert path.with_suffix(".damaged.json").read_text() == text
    assert store.change(theme="dark").theme == "dark"
    assert PreferenceStore(path).read().theme == "dark"
