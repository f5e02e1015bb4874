"""A Hugging Face hub on this machine to download from: repositories of files, several commits, doors that are shut."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^?/]+))?")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def commit_of(number: int) -> str:
    """The hash of a repository's commit."""
    return f"{number:040x}"


@dataclass
class Repo:
    """`commits[n]` is path -> content of commit n; `main` is the newest, tags are by name."""

    commits: list[dict[str, bytes]]
    tags: dict[str, int] = field(default_factory=dict)
    gated: bool = False

    def commit(self, revision: str) -> int | None:
        names = {"main": len(self.commits) - 1, **self.tags, **{commit_of(n): n for n in range(len(self.commits))}}
        return names.get(revision)


@dataclass
class ReadHub:
    """Repositories by name, and every request made. `status`: answer everything with it."""

    endpoint: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    status: int = 0


@contextmanager
def running() -> Iterator[ReadHub]:
    """Serve a fresh hub for the length of a block."""
    hub = ReadHub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: ReadHub

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """What a file is."""
        self._serve(body=False)

    def do_GET(self) -> None:
        """A listing or a file."""
        self._serve(body=True)

    def _serve(self, *, body: bool) -> None:
        self.state.requests.append(f"{self.command} {self.path}")
        if self.state.status:
            return self._json(self.state.status, {"error": "no"})
        if match := _API.fullmatch(self.path.partition("?")[0]):
            return self._listing(match[1], match[2], match[3] or "main")
        if match := _FILE.fullmatch(self.path.partition("?")[0]):
            return self._file(match[1], match[2], match[3], body)
        return self._json(404, {"error": "not here"})

    def _found(self, name: str, revision: str) -> tuple[Repo, int] | None:
        repo = self.state.repos.get(name)
        if repo is None:
            self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        number = repo.commit(revision)
        if number is None:
            self._json(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repo, number

    def _listing(self, name: str, kind: str | None, revision: str) -> None:
        if (found := self._found(name, revision)) is None:
            return
        repo, number = found
        files = repo.commits[number]
        if kind == "tree":
            entries = [{"type": "file", "path": p, "size": len(c), "oid": _hash(c)} for p, c in files.items()]
            return self._json(200, entries)
        siblings = [{"rfilename": path, "size": len(content)} for path, content in files.items()]
        self._json(200, {"id": name, "sha": commit_of(number), "siblings": siblings, "tags": [], "downloads": 0})

    def _file(self, name: str, revision: str, path: str, body: bool) -> None:
        if (found := self._found(name, revision)) is None:
            return
        repo, number = found
        if repo.gated:
            return self._json(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        content = repo.commits[number].get(path)
        if content is None:
            return self._json(404, {"error": "no entry"}, {"X-Error-Code": "EntryNotFound"})
        self.send_response(200)
        headers = {"ETag": f'"{_hash(content)}"', "X-Repo-Commit": commit_of(number), "Content-Length": len(content)}
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for key, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
