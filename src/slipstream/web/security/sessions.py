"""Who is logged in: random names in cookies, their hashes in a file, so that a restart logs nobody out."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from slipstream.web.security.secrets import write_secret

LIFETIME_SECONDS = 14 * 24 * 3600
_MOST = 200


@dataclass
class Sessions:
    """Sessions in a file. They belong to one token: another token ends them all."""

    path: Path
    token: str
    clock: Callable[[], float] = time.time
    _expiry: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if isinstance(stored, dict) and isinstance(stored.get("sessions"), dict) and stored.get("of") == self._owner():
            self._expiry = {str(key): float(value) for key, value in stored["sessions"].items()}

    def open(self) -> str:
        """A new session's name."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            self._expiry[_digest(name)] = self.clock() + LIFETIME_SECONDS
            self._store()
        return name

    def is_open(self, name: str) -> bool:
        """Whether somebody logged in got this name and it has not run out."""
        return self._expiry.get(_digest(name), 0.0) > self.clock()

    def close(self, name: str) -> None:
        """End a session."""
        with self._lock:
            if self._expiry.pop(_digest(name), None) is not None:
                self._store()

    def _store(self) -> None:
        now = self.clock()
        alive = sorted((expiry, key) for key, expiry in self._expiry.items() if expiry > now)[-_MOST:]
        self._expiry = {key: expiry for expiry, key in alive}
        write_secret(self.path, json.dumps({"of": self._owner(), "sessions": self._expiry}))

    def _owner(self) -> str:
        return _digest(f"token {self.token}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
