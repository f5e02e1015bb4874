"""Files that only their owner may read, and the token in one of them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from slipstream.core.errors import ConfigError, RunError

SHORTEST_TOKEN = 16


def write_secret(path: Path, text: str) -> None:
    """Write a file that nobody but its owner may read, from its first byte on.

    Raises:
        RunError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"cannot write: {error}", where=str(path), fix="check the folder's permissions.") from error


def make_private(folder: Path) -> None:
    """Make a folder that nobody but its owner may look into.

    Raises:
        RunError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise RunError(
            f"cannot make the studio's folder: {error}", where=str(folder), fix="give another --home."
        ) from error


def stored_token(home: Path) -> str:
    """The token of this studio, made and stored at the first call.

    Raises:
        RunError: its file cannot be read or written.
        ConfigError: somebody wrote a weak one into it.
    """
    path = home / "token"
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(32) + "\n")
    try:
        path.chmod(0o600)
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            f"the token cannot be read: {error}", where=str(path), fix="delete the file: a new one is made."
        ) from error
    return require_strong(token, str(path))


def require_strong(token: str, where: str) -> str:
    """The token where it cannot be guessed.

    Raises:
        ConfigError: it is too short, or holds what no header can carry.
    """
    token = token.strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"this token can be guessed or typed wrongly: at least {SHORTEST_TOKEN} letters and digits are needed",
            where=where, fix="leave it away: a long one is made and stored.",
        )  # fmt: skip
    return token
