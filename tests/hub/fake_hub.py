"""A Hugging Face hub on this machine: the few answers that an upload needs, and what was asked for."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_secretsecretsecret"


@dataclass
class FakeHub:
    """What was uploaded, and every request made; `refusing` answers all of them with that status."""

    endpoint: str = ""
    refusing: int = 0
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)


@contextmanager
def running() -> Iterator[FakeHub]:
    """Serve a fresh hub for the length of a block."""
    hub = FakeHub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: FakeHub

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Everything but the blobs."""
        body = self._begin()
        if self.state.refusing:
            return self._answer(self.state.refusing, {"error": "no"})
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            return self._preupload(json.loads(body))
        if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            return self._batch(json.loads(body))
        if match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            return self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        return self._answer(404, {"error": "not here"})

    def do_PUT(self) -> None:
        """A large file."""
        self.state.blobs[self.path.rpartition("/")[2]] = self._begin()
        self._answer(200, {})

    def do_HEAD(self) -> None:
        """Whether a file is there."""
        self._begin()
        match = re.fullmatch(r"/(.+)/resolve/main/(.+)", self.path)
        content = self.state.repositories.get(match[1], {}).get(match[2]) if match else None
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()

    def _begin(self) -> bytes:
        self.state.requests.append(f"{self.command} {self.path}")
        self.state.tokens.add(self.headers.get("Authorization", ""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _create(self, wanted: dict[str, Any]) -> None:
        repo = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
        status = 409 if repo in self.state.repositories else 200
        if status == 200:
            self.state.repositories[repo] = {}
            self.state.private[repo] = wanted.get("visibility") == "private" or wanted.get("private") is True
        self._answer(status, {"url": f"{self.state.endpoint}/{repo}"})

    def _preupload(self, wanted: dict[str, Any]) -> None:
        def mode(path: str) -> str:
            return "lfs" if path.endswith((".safetensors", ".png")) else "regular"

        files = [
            {"path": one["path"], "uploadMode": mode(one["path"]), "shouldIgnore": False} for one in wanted["files"]
        ]
        self._answer(200, {"files": files})

    def _batch(self, wanted: dict[str, Any]) -> None:
        def upload(one: dict[str, Any]) -> dict[str, Any]:
            return {**one, "actions": {"upload": {"href": f"{self.state.endpoint}/blobs/{one['oid']}"}}}

        self._answer(200, {"transfer": "basic", "objects": [upload(one) for one in wanted["objects"]]})

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files = self.state.repositories[repo]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.state.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.blobs[value["oid"]]
        self._answer(200, {"commitOid": "0" * 40, "commitUrl": f"{self.state.endpoint}/{repo}/commit/0"})
