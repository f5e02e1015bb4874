from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from slipstream.adapters.files import save_lora
from slipstream.adapters.inject import inject_lora
from slipstream.cli.app import app
from slipstream.cli.sampling import SampleOptions, parse_lora, parse_scales
from slipstream.config.prompts import parse_prompt
from slipstream.core.errors import ConfigError, DeviceError, RunError
from slipstream.drawings.request import LoraUse
from slipstream.previews.png import read_png_metadata
from slipstream.workflows.sample import SampleRequest, sample

PROMPTS = tuple(parse_prompt(text, "test") for text in ("a", "b"))


def request(out: Path, **changes: object) -> SampleRequest:
    small = {"prompts": PROMPTS, "width": 64, "height": 64, "steps": 1}
    return SampleRequest(model="tiny/turbo", extras_from="tiny/turbo", out=out, **(small | changes))  # type: ignore[arg-type]


def test_earlier_pictures_are_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "0007.png").write_bytes(b"mine")
    (tmp_path / "holiday.png").write_bytes(b"mine too")
    paths = [picture.path.name for picture in sample(request(tmp_path), lambda line: None)]
    assert paths == ["0008.png", "0009.png"]
    assert (tmp_path / "0007.png").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_made_is_said_before_anything_loads(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot make the folder"):
        list(sample(request(tmp_path / "file"), lambda line: pytest.fail("it loaded")))


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:x", ""])
def test_an_unknown_device_is_one_message(tmp_path: Path, device: str) -> None:
    with pytest.raises(DeviceError, match="expected auto, cpu, cuda or cuda:N"):
        list(sample(request(tmp_path, device=device), lambda line: None))


@pytest.mark.parametrize("weight", ["nan", "inf", "", "much"])
def test_a_weight_is_a_finite_number(tmp_path: Path, weight: str) -> None:
    lora = tmp_path / "one.safetensors"
    lora.touch()
    with pytest.raises(ConfigError, match="is no weight"):
        parse_lora(f"{lora}:{weight}")
    assert parse_lora(f"{lora}:-0.5").strength == -0.5


@pytest.mark.parametrize(
    "option", [("--steps", "0"), ("--steps", "-3"), ("--seed", "-1"), ("--seed", "9" * 30), ("--guidance-scale", "-1")]
)
def test_numbers_out_of_range_are_refused(option: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["sample", "x", "--model", "tiny/turbo", *option])
    assert result.exit_code == 2
    assert option[0] in result.output


@pytest.fixture
def lora(tiny, fresh_transformer, tmp_path: Path) -> Path:
    """A LoRA that shows, with its trigger word in its file."""
    adapter = inject_lora(fresh_transformer, ["layers.1.attention.to_v"], rank=2, alpha=2.0, seed=1)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(3))
    path = tmp_path / "felt.safetensors"
    save_lora(path, adapter, torch.float32, {"modelspec.trigger_phrase": "felt"})
    return path


def test_a_sweep_of_weights_draws_every_prompt_at_each_and_a_sheet(tmp_path: Path, lora: Path) -> None:
    out = tmp_path / "out"
    prompts = tuple(parse_prompt(text, "test") for text in ("a [trigger] fox --d 3", "a dog --w 96"))
    wanted = request(out, prompts=prompts, loras=(LoraUse(lora, 0.5),), lora_scales=(0.0, 1.0))
    drawn = list(sample(wanted, lambda line: None))
    assert sorted(picture.path.name for picture in drawn) == [
        "0000.png", "0001.png", "0002.png", "0003.png", "lora_weights_0000.png",
    ]  # fmt: skip
    said = [read_png_metadata(out / f"000{number}.png") for number in range(4)]
    assert [(one["prompt"], one["lora_scale"]) for one in said] == [
        ("a felt fox", "0"), ("a dog", "0"), ("a felt fox", "1"), ("a dog", "1"),
    ]  # fmt: skip
    assert [(one["seed"], one["width"], one["has_trigger"]) for one in said[:2]] == [
        ("3", "64", "yes"),
        ("42", "96", "no"),
    ]
    plain = list(sample(request(tmp_path / "plain", prompts=prompts[:1]), lambda line: None))
    pixels = [Image.open(path).tobytes() for path in (out / "0000.png", out / "0002.png", plain[0].path)]
    assert pixels[0] != pixels[1]
    again = list(sample(wanted, lambda line: None))
    assert "lora_weights_0004.png" in [picture.path.name for picture in again]


def test_weight_nothing_is_the_model_without_a_lora(tmp_path: Path, lora: Path) -> None:
    prompts = (parse_prompt("a fox --m 0", "test"),)
    (off,) = sample(request(tmp_path / "off", prompts=prompts, loras=(LoraUse(lora, 0.5),)), lambda line: None)
    (bare,) = sample(request(tmp_path / "bare", prompts=prompts), lambda line: None)
    assert Image.open(off.path).tobytes() == Image.open(bare.path).tobytes()


def test_a_trigger_word_given_is_the_one_filled_in(tmp_path: Path, lora: Path) -> None:
    wanted = request(tmp_path / "out", prompts=(parse_prompt("[trigger]", "test"),), loras=(LoraUse(lora),))
    (own,) = sample(wanted, lambda line: None)
    (given,) = sample(dataclasses.replace(wanted, trigger_word="silk"), lambda line: None)
    assert [one.prompt for one in (own, given)] == ["felt", "silk"]


@pytest.mark.parametrize("text", ["a", "0.4,", "0.4,nan", "0.4,0.4"])
def test_a_list_of_weights_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no list of weights"):
        parse_scales(text)


def test_weights_are_sorted_and_may_be_left_out() -> None:
    assert parse_scales("1, 0.4") == (0.4, 1.0)
    assert parse_scales("") == ()


def test_flags_and_weights_of_the_command_are_refused_before_anything_loads(tmp_path: Path) -> None:
    from slipstream.cli.sampling import sample_command

    with pytest.raises(ConfigError, match="prompt 2: --q is not known"):
        sample_command(options(tmp_path, prompts=("a", "b --q 3")))
    with pytest.raises(ConfigError, match="there is no LoRA to weigh"):
        sample_command(options(tmp_path, lora_scales="0.5,1"))


@pytest.mark.parametrize(
    ("base", "given", "model", "steps"),
    [
        ("tiny/de_turbo", None, "tiny/de_turbo", 25),
        ("tiny/de_turbo", "tiny/turbo", "tiny/turbo", 8),
        ("a_folder_of_mine", None, "Tongyi-MAI/Z-Image-Turbo", 8),
    ],
)
def test_a_lora_is_drawn_on_what_it_was_trained_on(tmp_path: Path, monkeypatch, base, given, model, steps) -> None:
    from safetensors.torch import save_file

    from slipstream.cli.sampling import sample_command

    weights = {f"diffusion_model.layers.1.attention.to_v.lora_{side}.weight": torch.ones(1, 1) for side in "AB"}
    save_file(weights, tmp_path / "a.safetensors", {"base_model": base})
    asked: list[SampleRequest] = []
    monkeypatch.setattr("slipstream.workflows.sample.sample", lambda wanted, _: asked.append(wanted) or [])
    sample_command(options(tmp_path, model=given, steps=None, loras=(str(tmp_path / "a.safetensors"),)))
    assert [(one.model, one.steps) for one in asked] == [(model, steps)]


def options(out: Path, **changes: object) -> SampleOptions:
    plain = SampleOptions(
        prompts=("a",), prompts_file=None, model="tiny/turbo", loras=(), lora_scales="", trigger_word=None, out=out,
        negative_prompt="", width=None, height=None, steps=None, guidance_scale=None, seed=1, walk_seed=False,
        device="cpu",
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def test_names_of_models_are_shown_whole() -> None:
    from slipstream.config.variants import VARIANTS

    output = CliRunner().invoke(app, ["models"]).output
    for facts in VARIANTS.values():
        assert facts.default_repo in output
