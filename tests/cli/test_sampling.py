from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from slipstream.cli.app import app
from slipstream.cli.sampling import parse_lora
from slipstream.core.errors import ConfigError, DeviceError, RunError
from slipstream.workflows.sample import SampleRequest, sample


def request(out: Path, **changes: object) -> SampleRequest:
    small = {"width": 64, "height": 64, "steps": 1}
    return SampleRequest(model="tiny/turbo", extras_from="tiny/turbo", prompts=("a", "b"), out=out, **(small | changes))  # type: ignore[arg-type]


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


def test_names_of_models_are_shown_whole() -> None:
    from slipstream.config.variants import VARIANTS

    output = CliRunner().invoke(app, ["models"]).output
    for facts in VARIANTS.values():
        assert facts.default_repo in output
