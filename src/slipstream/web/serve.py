"""Running a studio: the address, the server, the browser."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
import webbrowser
from collections.abc import Callable

import uvicorn

from slipstream.core.errors import DeviceError
from slipstream.web.app import make_app
from slipstream.web.services.queue import keep_supervised
from slipstream.web.settings import StudioSettings

_SECONDS_TO_CLOSE = 3


def serve(settings: StudioSettings, *, on_ready: Callable[[str], None], supervises: bool = True) -> None:
    """Serve until Ctrl+C, with a supervisor for the queue; `on_ready` is told the address once it answers.

    The supervisor is a process of its own and outlives the server, as trainings do.

    Raises:
        DeviceError: the address cannot be had.
        RunError: a folder cannot be made.
    """
    listening = listen(settings.host, settings.port)
    settings = dataclasses.replace(settings, port=listening.getsockname()[1])
    app = make_app(settings)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=_SECONDS_TO_CLOSE, lifespan="on",
    )  # fmt: skip
    address = address_of(settings.host, settings.port)
    ended = threading.Event()

    def ready() -> None:
        on_ready(address)
        # after the first page can be asked for: starting the supervisor takes a second of a core
        if supervises:
            threading.Thread(target=keep_supervised, args=(settings, ended), name="supervised", daemon=True).start()
        threading.Thread(target=app.state.studio.thumbnails.tidy, args=(time.time(),), name="tidy", daemon=True).start()

    server = _TellingServer(config, ready)
    try:
        server.run(sockets=[listening])
    finally:
        ended.set()
        listening.close()


class _TellingServer(uvicorn.Server):
    """uvicorn's server, which tells when it answers; a subclass because uvicorn offers no other way to know."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def listen(host: str, port: int) -> socket.socket:
    """A socket on the address.

    Raises:
        DeviceError: the port is taken, or there is no such address here.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise DeviceError(
            f"cannot listen on {host}:{port} ({error.strerror or error})", where="--port",
            fix="another studio may be running there; give another --port, such as 8421, or 0 for any free one.",
        ) from error  # fmt: skip
    found.set_inheritable(False)
    return found


def address_of(host: str, port: int) -> str:
    """What to type into a browser on this machine."""
    name = {"0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def open_browser(address: str) -> None:
    """Open the address, without waiting for the browser."""
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
