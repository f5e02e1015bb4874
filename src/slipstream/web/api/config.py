"""Configs: their schema, presets, checking, files of other trainers, and plans."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipstream.config.presets import PRESET_GROUPS, list_presets, preset_text
from slipstream.config.reference import Explanation, explanations, groups
from slipstream.config.run_config import RunConfig
from slipstream.core.errors import ConfigError
from slipstream.web.problems import missing
from slipstream.web.services.configs import (
    MOST_CHARACTERS,
    Checked,
    Converted,
    check_config,
    convert,
    plan,
    read_config,
)
from slipstream.web.studio import StudioOfRequest

router = APIRouter(prefix="/api/config", tags=["config"])


class GivenConfig(BaseModel):
    """A config as YAML text or as plain values: exactly one of the two."""

    model_config = ConfigDict(extra="forbid")

    yaml: str | None = Field(None, max_length=MOST_CHARACTERS)
    config: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one(self) -> GivenConfig:
        if (self.yaml is None) == (self.config is None):
            raise ValueError("give either yaml or config")
        return self

    def given(self) -> str | dict[str, Any]:
        """What was given."""
        return self.yaml if self.yaml is not None else self.config or {}


class PlanRequest(GivenConfig):
    """A config to plan. With `download` what is missing of the model is fetched first, else that is an error."""

    download: bool = False


class ForeignFile(BaseModel):
    """A job file of ai-toolkit, or a command of musubi-tuner or diffusers."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=MOST_CHARACTERS)
    file_name: str = Field("job.yaml", max_length=200)
    origin: Literal["ai-toolkit", "musubi", "diffusers"] | None = None


class Schema(BaseModel):
    """The nine panels: their JSON schema, and what is known about every setting and group."""

    json_schema: dict[str, Any]
    settings: dict[str, Explanation]
    groups: dict[str, Explanation]


class Preset(BaseModel):
    """A starting point."""

    name: str
    group: str
    description: str


@router.get("/schema")
def schema() -> Schema:
    """The panels' JSON schema, with help, limits and defaults of every setting."""
    return Schema(json_schema=RunConfig.model_json_schema(), settings=explanations(), groups=groups())


@router.get("/presets")
def presets() -> list[Preset]:
    """All presets, by group."""
    group_of = {name: group for group, names in PRESET_GROUPS.items() for name in names}
    return [Preset(name=name, group=group_of[name], description=text) for name, text in list_presets()]


@router.get("/presets/{name}", response_class=PlainTextResponse)
def preset(name: Annotated[str, Path(max_length=64)]) -> str:
    """A preset's YAML with its comments."""
    try:
        return preset_text(name)
    except ConfigError as error:
        raise missing("preset of this name", where=name, fix=error.fix or "see the list.") from error


@router.post("/validate")
def validate(given: GivenConfig, studio: StudioOfRequest) -> Checked:
    """Everything that is wrong with a config; or the config with every setting, and advice on it."""
    return check_config(given.given(), studio.settings.datasets_dir)


@router.post("/plan")
def make_plan(given: PlanRequest, studio: StudioOfRequest) -> dict[str, Any]:
    """What a training would do: buckets, steps, memory, time. Takes seconds; nothing is started."""
    return plan(read_config(given.given(), studio.settings.datasets_dir), download=given.download)


@router.post("/convert")
def convert_file(file: ForeignFile) -> list[Converted]:
    """Another trainer's file as our config, one for each training in it, and what became of every key."""
    return convert(file.text, file.file_name, file.origin)
