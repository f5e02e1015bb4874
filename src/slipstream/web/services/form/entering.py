"""What a person enters for a setting, as the value it means, and a value as it is shown in its field."""

from __future__ import annotations

from typing import Any

from slipstream.config.yaml_text import read_yaml, write_yaml
from slipstream.core.errors import ConfigError
from slipstream.web.services.form.schema import Setting
from slipstream.web.services.form.values import MISSING


def shown(setting: Setting, value: Any) -> str:
    """A value as text to edit; what is not given shows its default, and what is off or missing nothing."""
    value = setting.default if value is MISSING else value
    if value is None:
        return ""
    if setting.kind == "table":
        return write_yaml(value).strip() if value else ""
    if setting.kind == "list" and isinstance(value, list):
        return ", ".join(_plain(one) for one in value)
    return _plain(value)


def entered(setting: Setting, text: str) -> Any:
    """The value that a text means; `MISSING` for an empty one where the default then counts.

    A text that fits no number stays as it is: checking the config then says what was expected.
    """
    stripped = text.strip()
    if setting.kind == "list":
        pieces = [piece.strip() for piece in stripped.split(",") if piece.strip()]
        return [_number(piece) if setting.numeric else piece for piece in pieces] if pieces or not stripped else [text]
    if not stripped:
        return MISSING if setting.default in (None, "") or setting.kind not in ("text", "path") else ""
    if setting.kind in ("whole", "number"):
        return _number(stripped)
    if setting.kind == "free":
        return _scalar(stripped)
    if setting.kind == "table":
        return _scalar(text)
    return stripped if setting.kind == "path" else text


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = f"{value:.12g}"
        return f"{value:.12f}".rstrip("0") if "e-0" in text and abs(value) >= 1e-7 else text
    return str(value) if not isinstance(value, dict | list) else write_yaml(value, flow=True).strip()


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text.replace(",", ".") if text.count(",") == 1 else text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and "e" in text.lower() and abs(number) < 1e15 else number


def _scalar(text: str) -> Any:
    try:
        return read_yaml(text, "value")
    except ConfigError:
        return text
