"""The Hugging Face token: in the hub client's own file, from where workers take it; it is never given back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.errors import ConfigError
from slipstream.web.security.secrets import write_secret

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_LONGEST = 200


@dataclass(frozen=True)
class HubLogin:
    """Whether there is a token, and whether it comes from the environment, where it can't be changed here."""

    is_set: bool
    from_environment: bool


def hub_login() -> HubLogin:
    """How it stands with the token."""
    if any(os.environ.get(name) for name in _VARIABLES):
        return HubLogin(True, True)
    path = _path()
    return HubLogin(path.is_file() and path.stat().st_size > 0, False)


def set_hub_token(token: str) -> None:
    """Store a token for every use of the hub on this machine, readable by its owner alone.

    Raises:
        ConfigError: it is none.
        RunError: the file cannot be written.
    """
    token = token.strip()
    if not token.startswith("hf_") or not _is_plain(token):
        raise ConfigError(
            "this is no token of the Hugging Face hub", where="token",
            fix="copy it from huggingface.co/settings/tokens: it begins with hf_.",
        )  # fmt: skip
    write_secret(_path(), token)


def forget_hub_token() -> None:
    """Remove the stored token."""
    _path().unlink(missing_ok=True)


def _is_plain(token: str) -> bool:
    return len(token) <= _LONGEST and token.isascii() and all(one.isalnum() or one in "_-" for one in token)


def _path() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_TOKEN_PATH)
