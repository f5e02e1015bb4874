"""Preferences, folders, and the Hugging Face token."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from slipstream.web.services.hub_token import forget_hub_token, hub_login, set_hub_token
from slipstream.web.services.preferences import Language, Preferences, Theme
from slipstream.web.studio import Studio, StudioOfRequest

router = APIRouter(prefix="/api/settings", tags=["settings"])


class Folders(BaseModel):
    """Where the studio keeps and looks for things; set when it is started."""

    home: str
    runs: str
    datasets: str


class HubAnswer(BaseModel):
    """Whether there is a Hugging Face token. The token itself is never told."""

    is_set: bool
    from_environment: bool


class SettingsAnswer(BaseModel):
    """Everything on the settings page."""

    preferences: Preferences
    folders: Folders
    hub: HubAnswer


class PreferenceChange(BaseModel):
    """Preferences to set; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    theme: Theme | None = None
    language: Language | None = None
    default_preset: str | None = Field(None, max_length=64)
    default_trigger_word: str | None = Field(None, max_length=100)
    captioning_model: str | None = Field(None, max_length=300)


class HubToken(BaseModel):
    """A token of the Hugging Face hub."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=500)


@router.get("")
def read_settings(studio: StudioOfRequest) -> SettingsAnswer:
    """Preferences, folders, and whether there is a Hugging Face token."""
    return _answer(studio)


@router.patch("")
def change_settings(change: PreferenceChange, studio: StudioOfRequest) -> SettingsAnswer:
    """Set some preferences."""
    studio.preferences.change(**change.model_dump(exclude_none=True))
    return _answer(studio)


@router.put("/hub-token")
def store_hub_token(given: HubToken) -> HubAnswer:
    """Store a Hugging Face token, readable by its owner alone."""
    set_hub_token(given.token)
    return _hub()


@router.delete("/hub-token")
def remove_hub_token() -> HubAnswer:
    """Forget the stored Hugging Face token."""
    forget_hub_token()
    return _hub()


def _answer(studio: Studio) -> SettingsAnswer:
    settings = studio.settings
    folders = Folders(home=str(settings.home), runs=str(settings.runs_dir), datasets=str(settings.datasets_dir))
    return SettingsAnswer(preferences=studio.preferences.read(), folders=folders, hub=_hub())


def _hub() -> HubAnswer:
    login = hub_login()
    return HubAnswer(is_set=login.is_set, from_environment=login.from_environment)
