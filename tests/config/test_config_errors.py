"""Every mistake gives one ConfigError: where, what was got, what was expected, and what to change."""

import pytest

from slipstream.config.run_config import load_config, parse_config
from slipstream.core.errors import ConfigError


def refusal(panels=None, overrides=()) -> ConfigError:
    """The error that these panels cause on top of a right config."""
    data = {"job": {"name": "a"}, "datasets": [{"path": "p"}], **(panels or {})}
    with pytest.raises(ConfigError) as caught:
        parse_config(data, overrides, source="run.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("panels", "parts"),
    [
        ({"training": {"stps": 5}}, ["run.yaml", "training.stps", "unknown", "did you mean training.steps?"]),
        ({"job": {"name": "a", "steps": 5}}, ["job.steps", "did you mean training.steps"]),
        ({"steps": 5}, ["steps: unknown", "did you mean training.steps"]),
        ({"dataset": []}, ["dataset: unknown", "did you mean datasets?"]),
        ({"training": {"lr": 1e-4}}, ["training.lr", "training.learning_rate"]),
        ({"model": {"low_vram": True}}, ["model.low_vram", "memory is saved by quantization", "remove"]),
        ({"save": {"zzz": 1}}, ["save.zzz", "dtype, every, keep"]),
        ({"datasets": [{"path": "p", "resolutons": 5}]}, ["0.resolutons", "mean datasets.0.resolutions?"]),
        ({"training": {"ema": {"dcay": 0.9}}}, ["training.ema.dcay", "did you mean training.ema.decay?"]),
        ({"training": {"steps": "many"}}, ["training.steps", "'many'", "whole number"]),
        ({"training": {"steps": True}}, ["training.steps", "got true", "whole number"]),
        ({"training": {"steps": 10.5}}, ["training.steps", "10.5", "whole number"]),
        ({"training": {"steps": 0}}, ["training.steps", "got 0", "at least 1"]),
        ({"training": {"learning_rate": "fast"}}, ["training.learning_rate", "'fast'", "a number"]),
        ({"training": {"learning_rate": float("nan")}}, ["training.learning_rate", "nan", "finite"]),
        ({"training": {"learning_rate": -1.0}}, ["training.learning_rate", "-1.0", "above 0"]),
        ({"training": {"beta1": 1.0}}, ["training.beta1", "below 1"]),
        ({"training": {"optimizer": "AdamW-8bit"}}, ["training.optimizer", "mean 'adamw8bit'?"]),
        ({"training": {"ema": True}}, ["training.ema", "got true", "group of settings (decay, warmup)", "off"]),
        ({"training": {"text_encoder": "cahce"}}, ["training.text_encoder", "did you mean 'cache'?"]),
        ({"training": {"cache_text_embeddings": True}}, ["cache_text_embeddings", "training.text_encoder"]),
        ({"datasets": [{"path": "p", "cache_latents": 1}]}, ["cache_latents", "true or false"]),
        ({"datasets": [{"path": "p", "lora_weight": 0}]}, ["lora_weight", "got 0", "1 is usual"]),
        ({"datasets": [{"path": "p", "loss_multiplier": 0}]}, ["loss_multiplier", "got 0", "above 0"]),
        ({"datasets": [{"path": "p", "regularization": True}]}, ["regularization", "got true", "prior"]),
        ({"datasets": [{"path": "p", "captions_file": "a.csv"}]}, ["captions_file", "'a.csv'", ".jsonl"]),
        ({"datasets": [{"path": "p", "captions_file": ""}]}, ["captions_file", "empty path"]),
        ({"datasets": [{"path": "p", "keep_tokens": 1}]}, ["keep_tokens", "got 1", "caption_shuffle"]),
        ({"datasets": [{"path": "p", "caption_token_dropout": 1}]}, ["caption_token_dropout", "got 1", "below 1"]),
        ({"datasets": [{"path": "p", "caption_variants": 1}]}, ["caption_variants", "got 1", "at least 2"]),
        ({"datasets": [{"path": "p", "caption_separator": " "}]}, ["caption_separator", "' '", "comma"]),
        ({"datasets": [{"path": "p", "trigger_word": "[trigger]"}]}, ["0.trigger_word", "the word itself"]),
        ({"datasets": [{"path": "p", "random_triggers": ["a", ""]}]}, ["random_triggers", "empty word"]),
        ({"datasets": [{"path": "p", "random_triggers": ["a", "A "]}]}, ["random_triggers", "every word once"]),
        (
            {"datasets": [{"path": "p", "random_triggers": ["a"], "regularization": "prior"}]},
            ["regularization", "'prior'", "random_triggers", "no trigger word"],
        ),
        ({"datasets": [{"path": "p", "is_reg": True}]}, ["is_reg", "datasets.0.regularization"]),
        ({"training": {"steps": 10, "warmup_steps": 10}}, ["training.warmup_steps", "10", "never end"]),
        ({"training": [1]}, ["training: got a list", "group of settings"]),
        ({"job": {"name": 123}}, ["job.name", "123", "text"]),
        ({"job": {"name": "my lora/1"}}, ["job.name", "'my lora/1'", "letters, digits", "'my_lora_1'"]),
        ({"job": {"name": ".hidden"}}, ["job.name", "'hidden'"]),
        ({"job": {"name": ""}}, ["job.name", "'my_lora'"]),
        ({"job": {"name": "a", "trigger_word": "[trigger]"}}, ["job.trigger_word", "the word itself"]),
        ({"job": {"name": "a", "device": "gpu0"}}, ["job.device", "'gpu0'", "cuda:N"]),
        ({"job": {}}, ["job.name", "missing", "Name of the run"]),
        ({"job": None}, ["job: is missing"]),
        ({"datasets": None}, ["datasets: is missing"]),
        ({"datasets": []}, ["datasets", "at least 1"]),
        ({"datasets": {"path": "p"}}, ["datasets: got a group of settings", "a list"]),
        ({"datasets": [{"path": ""}]}, ["datasets.0.path", "empty", "folder"]),
        ({"datasets": [{"path": "p"}, {}]}, ["datasets.1.path", "missing"]),
        ({"datasets": [{"path": "p", "resolutions": [512, 512]}]}, ["datasets.0.resolutions", "once"]),
        ({"datasets": [{"path": "p", "resolutions": 10}]}, ["datasets.0.resolutions.0", "at least 64"]),
        ({"datasets": [{"path": "p", "caption_dropout": 5}]}, ["caption_dropout", "got 5", "at most 1"]),
        ({"datasets": [{"path": "p", "caption_extension": "*.txt"}]}, ["caption_extension", "`txt`"]),
        ({"sample": {"width": 1000}}, ["sample.width", "1000", "multiple of 16"]),
        ({"sample": {"prompts": "a fox"}}, ["sample.prompts", "'a fox'", "a list"]),
        ({"sample": {"prompts": ["a", 5]}}, ["sample.prompts.1", "got 5", "text"]),
        ({"target": {"rank": 513}}, ["target.rank", "513", "at most 512"]),
        ({"target": {"target_modules": ["a", "a"]}}, ["target.target_modules", "more than once"]),
        ({"quantization": {"transformer": "fp16"}}, ["quantization.transformer", "'fp16'", "65504", "bf16"]),
        ({"quantization": {"transformer": "qfloat8"}}, ["transformer", "'qfloat8'", "write float8", "row"]),
        ({"quantization": {"transformer": "int4"}}, ["quantization.transformer", "write nf4", "int4 of the same size"]),
        ({"quantization": {"text_encoder": "uint4"}}, ["quantization.text_encoder", "'uint4'", "write nf4", "4.25"]),
        ({"quantization": {"compute_dtype": "fp8"}}, ["quantization.compute_dtype", "'fp8'", "write float8"]),
        ({"quantization": {"compute_dtype": "int8"}}, ["compute_dtype", "'int8'", "made bf16", "auto"]),
        ({"quantization": {"compute_dtype": "fp16"}}, ["compute_dtype", "'fp16'", "auto, which follows the weights"]),
        (
            {"quantization": {"compute_dtype": "float8"}},
            ["quantization", "transformer is auto", "float8 products need float8 weights", "compute_dtype: auto"],
        ),
        ({"quantization": {"transformer": "none"}}, ["quantization.transformer", "'none'", "write bf16 or auto"]),
        ({"quantization": {"transformer": None}}, ["quantization.transformer", "got nothing", "write bf16 or auto"]),
        ({"quantization": {"transformer": True}}, ["quantization.transformer", "got true", "float8"]),
        ({"quantization": {"transformer": False}}, ["quantization.transformer", "got false", "write bf16 or auto"]),
        ({"quantization": {"transformer": "bfloat16"}}, ["quantization.transformer", "write bf16"]),
        ({"training": {"gradient_checkpointing": True}}, ["gradient_checkpointing", "got true", "full is what"]),
        ({"training": {"gradient_checkpointing": "half"}}, ["gradient_checkpointing", "'half'", "none, auto, full"]),
        ({"training": {"gradient_checkpointing": False}}, ["gradient_checkpointing", "got false", "none is what"]),
        ({"training": {"gradient_checkpointing": 12}}, ["gradient_checkpointing", "got 12", "12 GiB"]),
        ({"training": {"gradient_checkpointing": "0 GiB"}}, ["gradient_checkpointing", "'0 GiB'", "full keeps"]),
        ({"training": {"gradient_checkpointing": "selective"}}, ["'selective'", "auto chooses"]),
        ({"quantization": {"transformer": "bf61"}}, ["quantization.transformer", "did you mean 'bf16'?"]),
        ({"job": {"name": "a", 5: 1}}, ["job.5", "expected a name"]),
    ],
)  # fmt: skip
def test_a_mistake_is_explained(panels, parts):
    text = str(refusal(panels))
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in: {text}"


def test_all_mistakes_come_at_once_a_line_each():
    error = refusal({"training": {"steps": "a", "stps": 1}, "save": {"keep": -1}})
    lines = [line.strip().partition(":")[0] for line in error.message.splitlines()[1:]]
    assert error.message.startswith("3 settings are wrong")
    assert sorted(lines) == ["save.keep", "training.steps", "training.stps"]


def test_a_wrong_entry_is_not_also_called_a_short_list():
    assert "at least 1" not in str(refusal({"datasets": [{"path": 3}]}))


def load(tmp_path, text: str) -> ConfigError:
    path = tmp_path / "run.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return caught.value


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("job:\n  name: a\n  prompt: [a, b\ndatasets: []\n", ["run.yaml, line 4, column"]),
        ("job:\n\tname: a\n", ["line 2, column 1", "tabs"]),
        ("job:\n  name: a\n  seed: 1\n  name: b\n", ["line 4, column 3", "'name'", "given twice"]),
        (
            "job:\n  name: a\nsave:\n  every: 5\njob:\n  name: b\n",
            ["line 5, column 1", "'job'", "given twice"],
        ),
        ("job:\n  name: a: b\n", ["line 2, column 10", "quotes"]),
        ("a: 1\n---\nb: 2\n", ["single document", "---"]),
        ("a: !!python/object:os.system x\n", ["line 1", "python"]),
        ("", ["empty", "job"]),
        ("# only a comment\n", ["empty"]),
        ("- job\n- datasets\n", ["got a list of 2", "panels"]),
        ("job", ["got 'job'", "panels"]),
        (b"job:\n  name: \xff\xfe\n", ["not UTF-8", "byte 13"]),
    ],
)
def test_a_file_that_is_no_config_is_explained(tmp_path, text, parts):
    message = str(load(tmp_path, text))
    missing = [part for part in parts if part not in message]
    assert not missing, f"{missing} not in: {message}"


def test_a_missing_file_and_its_neighbour(tmp_path):
    (tmp_path / "style.yaml").write_text("job: {name: a}")
    with pytest.raises(ConfigError, match="no such file") as caught:
        load_config(tmp_path / "stlye.yaml")
    assert "style.yaml" in caught.value.fix


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(ConfigError, match="folder"):
        load_config(tmp_path)
