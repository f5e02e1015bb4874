"""What a person sets on the settings page; it lasts."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipstream.core.atomic import write_json
from slipstream.core.errors import ConfigError

Theme = Literal["auto", "light", "dark"]
Language = Literal["auto", "en", "es"]


class Preferences(BaseModel):
    """How the studio looks and what a new job starts with."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    theme: Theme = "auto"
    """Light or dark; auto follows the system."""

    language: Language = "auto"
    """The language of the pages; auto follows the browser."""

    default_preset: Annotated[str, Field(max_length=64)] = "turbo_style"
    """The preset that a new job starts from."""

    default_trigger_word: Annotated[str, Field(max_length=100)] = ""
    """The trigger word that a new job starts with."""

    captioning_model: Annotated[str, Field(max_length=300)] = ""
    """The vision-language model that writes captions, a hub id or a folder; empty for the built-in choice."""


@dataclass
class PreferenceStore:
    """Preferences in a file. A damaged one counts as none, and is kept beside the new one."""

    path: Path
    _value: Preferences | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> Preferences:
        """What is set."""
        with self._lock:
            if self._value is None:
                self._value = self._load()
            return self._value

    def change(self, **values: object) -> Preferences:
        """Set some of them.

        Raises:
            ConfigError: a value is none of those that can be.
        """
        before = self.read()
        try:
            changed = Preferences.model_validate({**before.model_dump(), **values})
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(
                str(first["msg"]), where=".".join(map(str, first["loc"])), fix="see the settings page for the choices."
            ) from error
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, changed.model_dump())
            self._value = changed
        return changed

    def _load(self) -> Preferences:
        try:
            return Preferences.model_validate(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Preferences()
        except (OSError, ValueError):
            if self.path.is_file():
                self.path.replace(self.path.with_suffix(".damaged.json"))
            return Preferences()
