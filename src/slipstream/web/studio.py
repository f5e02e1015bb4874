"""What pages and routes share: settings, preferences and caches of one running studio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from slipstream.web.services.dataset_index import PictureSizes
from slipstream.web.services.machine import MachineWatch
from slipstream.web.services.metric_rows import MetricFiles
from slipstream.web.services.preferences import PreferenceStore
from slipstream.web.services.thumbnails import Thumbnails
from slipstream.web.settings import StudioSettings


@dataclass(frozen=True)
class Studio:
    """One running studio. Services take what they need of it, not the whole."""

    settings: StudioSettings
    preferences: PreferenceStore
    metrics: MetricFiles
    thumbnails: Thumbnails
    machine: MachineWatch
    sizes: PictureSizes


def make_studio(settings: StudioSettings) -> Studio:
    """A studio over its folders."""
    return Studio(
        settings,
        PreferenceStore(settings.home / "preferences.json"),
        MetricFiles(),
        Thumbnails(settings.home / "thumbnails"),
        MachineWatch((settings.runs_dir, settings.datasets_dir, settings.home)),
        PictureSizes(),
    )


def studio_of(connection: HTTPConnection) -> Studio:
    """The studio that a request goes to."""
    studio = connection.app.state.studio
    assert isinstance(studio, Studio)
    return studio


def _studio_of_request(request: Request) -> Studio:
    return studio_of(request)


StudioOfRequest = Annotated[Studio, Depends(_studio_of_request)]
"""A parameter of a route: the studio."""
