"""Somebody who uses the studio's API while its server is killed and comes back: asks again until there is an answer,
and remembers what the answers promised."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

DEVICES = ("gpu:0", "gpu:1")
WAITING_AT_MOST = 3
OFTEN = 100


@dataclass
class Visitor:
    """Hands in jobs and stops some, in a thread of its own."""

    address: str
    folder: Path
    dice: random.Random
    ordered: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each job is to do, by name; it may or may not have reached the queue."""
    promised: set[str] = field(default_factory=set)
    """Jobs that the studio said it has."""
    asked_to_stop: set[int] = field(default_factory=set)
    unanswered: int = 0
    """Requests during which the server died."""
    troubles: list[str] = field(default_factory=list)
    wants_a_stop: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def come(self) -> None:
        self._thread = threading.Thread(target=self._use)
        self._thread.start()

    def leave(self) -> None:
        """Finish what is begun; the server has to be there."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(60)
            assert not self._thread.is_alive(), "a request is not answered"

    def _use(self) -> None:
        with httpx.Client(base_url=self.address, timeout=30, trust_env=False) as client:
            while not self._ended.wait(self.dice.uniform(0.0, 0.1)):
                try:
                    waiting = self._ask(client, "GET", "/api/jobs?state=queued&state=paused")["total"]
                    if waiting < WAITING_AT_MOST:
                        self._add(client, len(self.ordered))
                    if self.wants_a_stop.is_set():
                        self._stop_one(client)
                except Exception as error:  # noqa: BLE001
                    self.troubles.append(repr(error))
                    return

    def _ask(self, client: httpx.Client, method: str, address: str, *fine: int, body: Any = None) -> Any:
        """The answer, however often the server dies before it comes. Other statuses than 2xx and `fine` are trouble."""
        while True:
            try:
                answer = client.request(method, address, json=body)
            except httpx.TransportError:
                self.unanswered += 1
                time.sleep(0.02)
                continue
            assert answer.is_success or answer.status_code in fine, f"{method} {address}: {answer.text}"
            return answer.json()

    def _add(self, client: httpx.Client, number: int) -> None:
        """A training by a fake worker: most finish, every fifth fails by itself, every fourth may not be taken up
        again. Each of the three requests is sent again where the answer to it was lost."""
        name, steps = f"job_{number}", self.dice.randint(10, 40)
        orders = {"name": name, "witness": str(self.folder / "witness.txt"), "steps": steps, "seconds": 0.01}
        if number % 3 == 2:
            orders["late"] = 0.8  # longer than a lease: others give up on it before it comes
        if number % 5 == 4:
            orders["fail_at"] = steps - 2
        self.ordered[name] = orders
        config = {
            "job": {"name": name}, "datasets": [{"path": str(self.folder)}], "sample": {"prompts": [json.dumps(orders)]}
        }  # fmt: skip
        body = {"yaml": yaml.safe_dump(config), "queue": self.dice.choice(["any", "any", *DEVICES]), "paused": True}
        self._ask(client, "POST", "/api/jobs", 409, body=body)
        self.promised.add(name)
        found = self._ask(client, "GET", f"/api/jobs?text={name}&limit=1000")["jobs"]
        (job,) = [job for job in found if job["name"] == name]
        resumes = OFTEN if number % 4 else 0
        self._ask(client, "PATCH", f"/api/jobs/{job['id']}", body={"max_resumes": resumes})
        self._ask(client, "POST", f"/api/jobs/{job['id']}/resume", 409)

    def _stop_one(self, client: httpx.Client) -> None:
        active = self._ask(client, "GET", "/api/jobs?state=starting&state=running")["jobs"]
        if active:
            self.wants_a_stop.clear()
            job = self.dice.choice(active)["id"]
            self.asked_to_stop.add(job)
            self._ask(client, "POST", f"/api/jobs/{job}/stop", 409)
