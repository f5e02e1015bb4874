"""Configs over the REST API: schema, presets, checking, plans, and files of other trainers."""

from __future__ import annotations

import pytest
import yaml
from PIL import Image
from test_runs_api import problem

from slipstream.config.presets import PRESETS
from slipstream.core.errors import SlipstreamError
from slipstream.web.services.child import ask_child

GOOD = "job: {name: foxy}\nmodel: {name_or_path: tiny/turbo}\ndatasets: [{path: foxes}]\n"
JOB = """
job: extension
config:
  name: foxes
  process:
    - type: sd_trainer
      trigger_word: foxy
      network: {type: lora, linear: 16, linear_alpha: 16}
      datasets: [{folder_path: /data/foxes, resolution: [512]}]
      train: {steps: 700, lr: 1e-4, batch_size: 1, optimizer: adamw8bit}
      model: {name_or_path: Tongyi-MAI/Z-Image-Turbo, arch: "zimage:turbo"}
"""


def test_the_schema_explains_every_setting(client):
    schema = client.get("/api/config/schema").json()
    assert list(schema["json_schema"]["properties"]) == [
        "job", "model", "quantization", "target", "save", "training", "datasets", "sample", "advanced"
    ]  # fmt: skip
    assert schema["settings"]["training.steps"]["help"]
    assert "training.ema" in schema["groups"]


def test_presets_are_listed_and_read(client):
    found = client.get("/api/config/presets").json()
    assert [one["name"] for one in found] == list(PRESETS)
    assert all(one["description"] and one["group"] for one in found)
    assert "job" in yaml.safe_load(client.get("/api/config/presets/tiny_demo").text)
    problem(client.get("/api/config/presets/nothing"), 404)


def test_a_good_config_comes_back_whole_with_advice(client, settings):
    checked = client.post("/api/config/validate", json={"yaml": GOOD + "training: {learning_rate: 1e-3}\n"}).json()
    assert checked["valid"]
    assert checked["config"]["training"]["learning_rate"] == 1e-3
    assert checked["config"]["datasets"][0]["path"] == str(settings.datasets_dir / "foxes")
    again = client.post("/api/config/validate", json={"config": checked["config"]}).json()
    assert again["config"] == checked["config"]
    assert yaml.safe_load(checked["yaml"])["job"]["name"] == "foxy"


def test_advice_knows_how_many_pictures_there_are(client, settings):
    real = GOOD.replace("tiny/turbo", "Tongyi-MAI/Z-Image-Turbo") + "training: {steps: 9000}\n"
    (settings.datasets_dir / "foxes").mkdir()
    for number in range(4):
        (settings.datasets_dir / "foxes" / f"{number}.png").touch()
    advice = client.post("/api/config/validate", json={"yaml": real}).json()["advice"]
    assert any("4 images" in line or "4 pictures" in line for line in advice), advice


def test_every_problem_of_a_bad_config_is_told_with_its_setting(client):
    text = "job: {name: a/b}\ntraining: {stepps: 5, steps: many}\ndatasets: [{path: foxes}]\n"
    checked = client.post("/api/config/validate", json={"yaml": text}).json()
    assert not checked["valid"]
    assert {"job.name", "training.stepps", "training.steps"} <= {one["path"] for one in checked["problems"]}
    misspelt = next(one for one in checked["problems"] if one["path"] == "training.stepps")
    assert "training.steps" in misspelt["fix"]
    assert checked["config"] is None


@pytest.mark.parametrize(
    "text",
    ["", "just words", "- a\n- b", "job: [", "job: {name: a\nb: c", "a: &x [1]\nb: [*x, *x]", "!!python/object:os.x {}",
     "[" * 90_000, "- " * 40_000, "a: [" + "[]," * 20_000 + "]", "{" * 90_000, "\x00",
     "job: {name: foxy}\njob: {name: twice}"],
)  # fmt: skip
def test_text_that_is_no_config_is_a_problem(client, text):
    checked = client.post("/api/config/validate", json={"yaml": text}).json()
    assert not checked["valid"]
    assert checked["problems"][0]["message"]


def test_one_of_text_and_values_must_be_given(client):
    problem(client.post("/api/config/validate", json={}), 422)
    problem(client.post("/api/config/validate", json={"yaml": GOOD, "config": {}}), 422)
    problem(client.post("/api/config/validate", json={"yaml": "a" * 300_000}), 422)


def test_a_job_file_of_ai_toolkit_is_converted(client):
    found = client.post("/api/config/convert", json={"text": JOB, "file_name": "foxes.yaml"}).json()
    assert len(found) == 1
    assert yaml.safe_load(found[0]["yaml"])["training"]["steps"] == 700
    rate = next(key for key in found[0]["keys"] if key["key"].endswith("lr"))
    assert (rate["target"], rate["result"]) == ("training.learning_rate", 1e-4)


def test_what_cannot_be_converted_says_why_without_a_path_of_the_server(client):
    told = problem(client.post("/api/config/convert", json={"text": GOOD, "file_name": "mine.yaml"}), 422)
    assert told["where"] == "mine.yaml"
    broken = problem(
        client.post("/api/config/convert", json={"text": "job: extension\nconfig: [", "file_name": "b.yaml"}), 422
    )
    assert "/tmp" not in str(broken)


def test_a_plan_comes_from_a_process_of_its_own(client, settings):
    folder = settings.datasets_dir / "foxes"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (96, 80), (number * 40, 90, 30)).save(folder / f"{number}.png")
    answer = client.post("/api/config/plan", json={"yaml": GOOD + "training: {steps: 30}\n"})
    assert answer.status_code == 200, answer.text
    plan = answer.json()
    assert plan["num_images"] == 3
    assert plan["steps"] == 30
    assert plan["epochs"] > 1
    assert plan["buckets"]


def test_what_a_child_says_is_wrong_is_raised_here():
    with pytest.raises(SlipstreamError, match="no preset is called") as caught:
        ask_child(["presets", "nothing"], seconds=30, offline=True)
    assert caught.value.fix


def test_a_child_that_takes_too_long_is_ended():
    with pytest.raises(SlipstreamError, match="did not answer"):
        ask_child(["doctor", "--json"], seconds=0.05, offline=True)
