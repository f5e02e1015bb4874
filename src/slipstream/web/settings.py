"""What a studio is started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.errors import ConfigError

TOKEN_VARIABLE = "SLIPSTREAM_TOKEN"
DEFAULT_PORT = 8420
_MIB = 1024**2


@dataclass(frozen=True)
class Limits:
    """How much one request may bring; more is refused before it fills the disk or the memory."""

    body_bytes: int = 4 * _MIB
    """Any request but an upload."""

    upload_bytes: int = 2048 * _MIB
    """All files of one upload together."""

    picture_bytes: int = 256 * _MIB
    """One picture of an upload, also inside a zip."""

    caption_bytes: int = 1 * _MIB
    """One caption file."""

    zip_entries: int = 20_000
    """Files in one zip."""

    unpacked_bytes: int = 8192 * _MIB
    """Everything in one zip, unpacked."""

    zip_ratio: int = 200
    """Unpacked over packed size of one file in a zip that is larger than a mebibyte unpacked."""


@dataclass(frozen=True)
class StudioSettings:
    """Where a studio keeps and looks for things, and who may reach it.

    Attributes:
        home: the studio's own folder: preferences, token, sessions, thumbnails, and the queue's SQLite file.
        runs_dir: where runs lie; a run is a folder in it.
        datasets_dir: where datasets lie; a dataset is a folder in it.
        loras_dir: where LoRA files lie that come from elsewhere, for the playground.
        host: the address to listen on.
        port: the port to listen on; 0 takes a free one.
        token: what a person logs in with; None lets everybody in who reaches the address, which only 127.0.0.1 may.
        allowed_hosts: names besides those of this machine under which browsers may ask (a proxy's).
        database_url: the queue's database, None for a SQLite file in `home`.
        limits: sizes of requests.
    """

    home: Path
    runs_dir: Path
    datasets_dir: Path
    loras_dir: Path = Path("loras")
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    database_url: str | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(
                f"listening on {self.host} lets other machines in, and no token is set", where="--host",
                fix="leave --host away, or let a token be made: `slipstream serve --host ...` without --token does.",
            )  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
