"""The API against requests that nobody would send, made by schemathesis from the app's own OpenAPI document.

Every address gets some of them, valid and invalid: no failure of the server, and every answer as the document says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from example_experiments import make_experiment
from example_runs import make_run
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from pictures import picture
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from slipstream.drawings.request import Base, DrawingRequest, PictureRequest, request_to_json
from slipstream.drawings.room import room_in
from slipstream.web.app import make_app
from slipstream.web.services import child
from slipstream.web.settings import StudioSettings

EXAMPLES = 2
DRAWING = "20260101-000000-000000-0000"
THERE = {
    "name": "0",
    "job_id": 1,
    "step": 0,
    "prompt": 0,
    "confirm": "0",
    "since": -1,
    "drawing": DRAWING,
    "number": 0,
    "key": "0/0.png",
}
"""Names of what there is."""

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    """The API over a run, an experiment and a dataset called `0`, names that schemathesis finds soon; children are not
    started, and the hub's token is the test's own."""
    base = tmp_path_factory.mktemp("fuzz")
    runs, datasets = base / "runs", base / "datasets"
    make_run(runs, "0")
    make_experiment(runs, "0", seeds=1)
    (datasets / "0").mkdir(parents=True)
    (datasets / "0" / "0.png").write_bytes(picture())
    trashed = datasets / "0/.slipstream/trash/0/files/0.png"
    trashed.parent.mkdir(parents=True)
    trashed.write_bytes(picture(1))
    (datasets / "0/.masks").mkdir()
    (datasets / "0/.masks/0.png").write_bytes(picture(2))
    draw(base)
    app = make_app(StudioSettings(base / "home", runs, datasets, base / "loras"), pages=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(base / "hub_token"))
        for module in ("configs", "child", "dataset_checks"):
            patch.setattr(f"slipstream.web.services.{module}.ask_child", lambda *_, **__: {})
        patch.setattr("slipstream.web.services.playground.drawings.ensure_drawing_process", lambda *_: False)
        patch.setattr("slipstream.web.api.datasets.ask_child", lambda *_, **__: {})
        assert child.ask_child([], seconds=1, offline=True) == {}
        with TestClient(app, base_url="http://localhost") as client:
            config = {"job": {"name": "a"}, "datasets": [{"path": "0"}]}
            assert client.post("/api/jobs", json={"config": config}).json()["id"] == THERE["job_id"]
        yield schemathesis.openapi.from_asgi("/api/openapi.json", app, headers={"Host": "localhost"})


def draw(base: Path) -> None:
    """A drawing of the playground, with a picture."""
    drawing = room_in(base / "home").drawing(DRAWING)
    drawing.path.mkdir(parents=True)
    about = {"layout": "batch", "rows": [""], "columns": ["1"], "row_axis": "", "column_axis": "seed", "form": {}}
    picture_request = PictureRequest("a fox", 1, 64, 64, 8, 0.0)
    request = DrawingRequest(Base("tiny/turbo", "tiny/turbo"), "cpu", (picture_request,), about)
    drawing.request.write_text(request_to_json(request))
    drawing.picture(0).write_bytes(picture())


def try_operation(operation: schemathesis.APIOperation, mode: GenerationMode) -> set[int]:
    """Send some requests of one kind, those that the document allows or those that it does not; every status."""

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        if mode is GenerationMode.POSITIVE:  # guessed names are of nothing: here are those of something
            there = {**THERE, "file": "0.png" if "datasets" in case.path else "0.safetensors"}
            there |= {"name": "cpu"} if "queues" in case.path else {}
            for given in (case.path_parameters, case.query):
                given.update({name: value for name, value in there.items() if name in (given or {})})
        answer = case.call_and_validate(headers={"Host": "localhost"}, checks=CHECKS)
        answered.add(answer.status_code)

    answered: set[int] = set()
    send()
    return answered


def takes_away(operation: schemathesis.APIOperation) -> int:
    """The order of addresses: first those that leave things where they are, then what renames, then what deletes."""
    return 2 if operation.method.upper() == "DELETE" else operation.path.endswith("/name")


def test_no_request_makes_the_server_fail(document):
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 30
    met = 0
    for operation in sorted(operations, key=takes_away):
        for mode in GenerationMode:
            with contextlib.suppress(Unsatisfiable):  # an address that takes nothing has no invalid request
                answered = try_operation(operation, mode)
                met += mode is GenerationMode.POSITIVE and bool(answered & {200, 201, 202, 204, 409})
    assert met >= 0.7 * len(operations), "most addresses were never asked for anything that there is"
