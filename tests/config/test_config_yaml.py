"""YAML in and out: exact round trips, numbers as people write them, paths, overrides."""

from pathlib import Path

import pytest

from slipstream.config.run_config import config_from_run, dump_yaml, load_config, parse_config
from slipstream.config.yaml_text import read_yaml, write_yaml
from slipstream.core.errors import ConfigError

MINIMAL = {"job": {"name": "a"}, "datasets": [{"path": "p"}]}
FULL = {
    "job": {"name": "x1", "trigger_word": "1e-4", "device": "cuda:1", "seed": 7, "output_dir": "out/runs"},
    "model": {"variant": "de_turbo", "name_or_path": "someone/model@main", "extras_from": "tiny/turbo"},
    "quantization": {"transformer": "fp32"},
    "target": {"rank": 4, "alpha": 2.5, "target_modules": ["attention.to_q"]},
    "training": {"learning_rate": 3e-7, "eps": 1e-12, "ema": {"decay": 0.995}, "lr_schedule": "rex"},
    "datasets": [{"path": "a b", "resolutions": [64, 80]}, {"path": "b", "default_caption": "null"}],
    "sample": {"prompts": ["[trigger]: a fox", "yes", "ñandú 🦊", "two\nlines", "# no comment", "12:30"]},
    "advanced": {"differential_guidance": {"scale": 2}, "cache_dir": "/tmp/cache"},
}


@pytest.mark.parametrize("data", [MINIMAL, FULL])
def test_writing_and_reading_gives_the_same_config(data, tmp_path):
    config = parse_config(data, base_dir=tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml(config), encoding="utf-8")
    assert config_from_run(path) == config
    assert dump_yaml(config_from_run(path)) == dump_yaml(config)


def test_the_text_has_every_panel_in_order_and_keeps_none():
    written = read_yaml(dump_yaml(parse_config(FULL)), "text")
    order = ["job", "model", "quantization", "target", "save", "training", "datasets", "sample", "advanced"]
    assert list(written) == order
    assert written["sample"]["steps"] is None
    assert written["sample"]["prompts"] == FULL["sample"]["prompts"]
    assert written["job"]["trigger_word"] == "1e-4"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E5", 1e5), ("5.e-5", 5e-5), (".5e-1", 0.05), ("-2e+3", -2e3), ("1.0e-08", 1e-8)],
)
def test_exponents_without_a_dot_are_numbers(text, value):
    read = read_yaml(f"a: {text}", "text")["a"]
    assert isinstance(read, float)
    assert read == pytest.approx(value)


@pytest.mark.parametrize("text", ["1e", "e5", "1e-4x", "v1e5"])
def test_words_stay_words(text):
    assert read_yaml(f"a: {text}", "text")["a"] == text
    assert read_yaml(write_yaml({"a": text}), "text") == {"a": text}


def test_dataset_paths_start_at_the_file_and_output_at_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs" / "run.yaml"
    path.write_text("job: {name: a}\ndatasets:\n  - path: ../pictures\n  - path: /data/b\n")
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("configs/run.yaml"))
    assert [panel.path for panel in config.datasets] == [(tmp_path / "pictures").resolve(), Path("/data/b")]
    assert config.job.output_dir == Path("runs")
    assert load_config(path, base_dir=tmp_path / "x").datasets[0].path == (tmp_path / "pictures").resolve()


def test_empty_panels_take_their_defaults(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("\ufeffjob: {name: a}\nsave:\ntraining:\n  # steps: 5\ndatasets: [{path: p}]\n", encoding="utf-8")
    config = load_config(path)
    assert (config.training.steps, config.save.every) == (2500, 250)


def test_overrides_reach_every_depth():
    config = parse_config(
        MINIMAL,
        [
            "training.steps=500",
            "training.learning_rate=5e-5",
            "training.ema.decay=0.9",
            "datasets.0.path=x=y",
            "datasets.0.resolutions=[128, 256]",
            "datasets.1.path=second",
            "sample.prompts=[a fox, '[trigger] b']",
            "sample.prompts.1=c",
            "model.variant=base",
            "training.steps=600",
        ],
    )
    assert config.training.steps == 600
    assert config.training.learning_rate == 5e-5
    assert config.training.ema.decay == 0.9
    assert [str(panel.path) for panel in config.datasets] == ["x=y", "second"]
    assert config.datasets[0].resolutions == (128, 256)
    assert [prompt.prompt for prompt in config.sample.prompts] == ["a fox", "c"]
    assert config.model.variant == "base"
    assert MINIMAL == {"job": {"name": "a"}, "datasets": [{"path": "p"}]}


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("training.stps=5", ["training.stps", "command line", "did you mean training.steps?"]),
        ("steps=5", ["steps", "did you mean training.steps"]),
        ("trainin.steps=5", ["trainin", "command line", "did you mean training?"]),
        ("training.steps=soon", ["training.steps", "command line", "'soon'", "whole number"]),
        ("training.steps", ["'training.steps'", "panel.setting=value"]),
        ("=5", ["'=5'", "panel.setting=value"]),
        ("training..steps=5", ["panel.setting=value"]),
        ("datasets.4.path=x", ["'4'", "0 to 1"]),
        ("datasets.first.path=x", ["'first'", "0 to 1"]),
        ("job.name.x=1", ["job.name", "'a'", "job.name=VALUE"]),
        ("sample.prompts=[a, b", ["override sample.prompts", "line 1"]),
    ],
)
def test_a_wrong_override_is_explained(override, parts):
    with pytest.raises(ConfigError) as caught:
        parse_config(MINIMAL, [override])
    text = str(caught.value)
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in: {text}"


def test_paths_of_models_and_adapters_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here/my_turbo").mkdir(parents=True)
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml/adapter.safetensors").touch()
    file = tmp_path / "yaml/run.yaml"
    file.write_text(
        "job: {name: x}\nmodel: {name_or_path: my_turbo, training_adapter: adapter.safetensors}\n"
        "datasets: [{path: pictures}]\nadvanced: {cache_dir: cache}\n"
    )
    monkeypatch.chdir(tmp_path / "here")
    config = load_config(file)
    assert config.model.name_or_path == str(tmp_path / "here/my_turbo")
    assert config.model.training_adapter == str(tmp_path / "yaml/adapter.safetensors")
    assert config.advanced.cache_dir == tmp_path / "here/cache"


def test_a_captions_file_lies_with_its_pictures_or_with_the_config(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/inside.json", "inside.json", "beside.json"):
        (tmp_path / name).touch()
    names = ("inside.json", "beside.json", "gone.json", str(tmp_path / "absolute.json"))
    datasets = [{"path": "a", "captions_file": name} for name in names]
    config = parse_config({**MINIMAL, "datasets": datasets}, base_dir=tmp_path)
    found = [panel.captions_file for panel in config.datasets]
    assert found == [tmp_path / name for name in ("a/inside.json", "beside.json", "a/gone.json", "absolute.json")]


def test_names_that_are_no_paths_stay(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("job: {name: x}\nmodel: {name_or_path: tiny/turbo, training_adapter: v1}\ndatasets: [{path: a}]\n")
    config = load_config(file)
    assert (config.model.name_or_path, config.model.training_adapter) == ("tiny/turbo", "v1")
