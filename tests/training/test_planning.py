"""The planner fed with configs, and what its decision changes in a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from slipstream.config.presets import PRESET_GROUPS, preset_text
from slipstream.config.run_config import RunConfig, parse_config
from slipstream.core.atomic import write_json
from slipstream.data.buckets import Bucket
from slipstream.memory.plan import GIB, UNLIMITED
from slipstream.memory.planner import Decision, Fixed, Machine
from slipstream.runs.layout import RunDir
from slipstream.training import planning
from slipstream.training.memory_forecast import expected_memory
from slipstream.training.pictures import preview_pictures
from slipstream.training.planning import as_planned, fixed_by, is_plain_lora, plan_training, planned_before, remembered
from slipstream.training.setting import Setting, _planned, settle
from slipstream.training.speed import expected_seconds_per_step
from slipstream.training.stages import prepare_transformer
from slipstream.web.language.words import texts
from slipstream.workflows.plan import peaks_of


def machine(free_gib: float, *, float8: bool = True) -> Machine:
    free = int(free_gib * GIB)
    return Machine("a GPU", (9, 0), free, free, 64 * GIB, 25.0, 400.0, float8)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number, side in enumerate((512, 1024)):
        Image.new("RGB", (side, side), (200, 40, number)).save(tmp_path / f"{number}.png")
    return tmp_path


def config_of(pictures: Path, *overrides: str) -> RunConfig:
    settings = {
        "job": {"name": "planned", "device": "cpu"}, "model": {"name_or_path": "tiny/turbo"},
        "datasets": [{"path": str(pictures), "resolutions": [512, 1024]}], "target": {"rank": 16},
        "sample": {"prompts": []},
    }  # fmt: skip
    return parse_config(settings, list(overrides))


@pytest.fixture
def real(monkeypatch) -> None:
    """The sizes of the 6B and of its encoder, whatever lies in the tiny model's folders."""
    monkeypatch.setattr(planning, "transformer_config", lambda place: {})
    monkeypatch.setattr(planning, "_parameters", lambda folder: 4_022_468_096)


def decided(config: RunConfig, free: float, before: Fixed | None = None) -> tuple[Setting, Decision]:
    setting = _planned(settle(config), machine(free), before)
    assert setting.plan is not None
    return setting, setting.plan


@pytest.mark.usefixtures("real")
def test_auto_is_what_fits(pictures):
    setting, plan = decided(config_of(pictures), 11.2)
    assert plan.chosen.choice.transformer == "float8"
    assert (setting.compute.transformer_scheme, setting.model.transformer_scheme) == ("float8", "float8")
    lines = setting.describe()
    assert any("float8 (auto, by the plan: 8 bits per weight" in line for line in lines)
    assert any(line.startswith("plan: float8 weights, float8 products") for line in lines)
    assert any("float8: bf16 would need" in line for line in lines)
    large, plan = decided(config_of(pictures), 79)
    assert large.compute.transformer_scheme is None
    assert (large.compute.adapter_on, large.compute.keep_transposed) == ("gpu", False)
    seconds, source = expected_seconds_per_step(large)
    assert seconds == plan.chosen.seconds_per_step
    assert source == "predicted from this GPU's measured speed"


@pytest.mark.usefixtures("real")
def test_the_peak_of_every_phase_is_told_and_has_a_name_on_the_page(pictures):
    setting, plan = decided(config_of(pictures), 11.2)
    peaks = {one.name: one.gib for one in peaks_of(setting)}
    assert set(peaks) == {"captions", "latents", "load", "train"}, "no previews are asked for"
    assert max(peaks.values()) == pytest.approx(plan.chosen.peak / GIB)
    assert peaks_of(settle(config_of(pictures))) == ()
    assert {f"newjob.peak_{phase}" for phase in plan.chosen.peaks} <= set(texts("en"))


@pytest.mark.usefixtures("real")
def test_what_the_config_sets_is_kept_and_said_to_be_too_much(pictures):
    setting, plan = decided(config_of(pictures, "quantization.transformer=nf4", "quantization.text_encoder=float8"), 79)
    assert (setting.compute.transformer_scheme, setting.compute.text_encoder_scheme) == ("nf4", "float8")
    assert plan.runner_up is None
    _, plan = decided(config_of(pictures, "quantization.transformer=bf16", "training.gradient_checkpointing=none"), 15)
    assert plan.warning is not None
    assert "it would be: float8" in plan.warning


def test_fields_that_fix_the_plan(pictures):
    assert fixed_by(config_of(pictures)) == Fixed()
    assert fixed_by(config_of(pictures, "training.gradient_checkpointing=full")).activations == 0
    assert fixed_by(config_of(pictures, "training.gradient_checkpointing=none")).activations == UNLIMITED
    assert fixed_by(config_of(pictures, "training.gradient_checkpointing=3 GiB")).activations == 3 * GIB
    before = Fixed("float8", "bf16", "float8", None, True)
    assert fixed_by(config_of(pictures), before) == before
    assert fixed_by(config_of(pictures, "quantization.transformer=nf4"), before) == Fixed("nf4", "bf16")


@pytest.mark.usefixtures("real")
def test_a_run_that_goes_on_keeps_its_plan(pictures, tmp_path):
    _, plan = decided(config_of(pictures), 11.2)
    run = RunDir(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    write_json(run.manifest, {"plan": remembered(plan)})
    assert planned_before(run) is None
    (run.checkpoints / "state_000000002.pt").touch()
    before = planned_before(run)
    assert before == Fixed("float8", "bf16", "float8", None, True)
    _, plan = decided(config_of(pictures), 79, before)
    assert plan.chosen.choice.transformer == "float8"
    assert plan.chosen.choice.adapter == "gpu"


@pytest.mark.parametrize("override", ["target.type=loha", "target.init=pissa", "target.dropout=0.1"])
def test_other_loras_are_not_plain(pictures, override):
    assert is_plain_lora(config_of(pictures))
    assert not is_plain_lora(config_of(pictures, override))


@pytest.mark.parametrize(
    ("place", "expected"),
    [("gpu", "added into the weights"), ("host", "added into the weights"), ("live", "beside the weights")],
)
def test_the_training_adapter_goes_where_the_plan_says(pictures, place, expected):
    config = config_of(pictures, "quantization.transformer=float8", "quantization.compute_dtype=float8")
    setting = settle(config)
    setting = replace(setting, compute=replace(setting.compute, adapter_on=place, keep_transposed=False))
    lines: list[str] = []
    prepare_transformer(setting, _Listener(lines))  # type: ignore[arg-type]
    assert any(line.startswith("training adapter: ") and expected in line for line in lines)
    assert any(line.startswith("float8 codes: transposed anew") for line in lines)


class _Listener:
    """As much of a reporter as loading a transformer needs."""

    def __init__(self, lines: list[str]) -> None:
        self.log = lines.append

    def byte_phase(self, name: str):
        from contextlib import nullcontext

        return nullcontext(lambda done, total: None)


@pytest.mark.usefixtures("real")
def test_the_forecast_counts_what_the_plan_holds_twice(pictures, monkeypatch):
    from slipstream.training import memory_forecast

    monkeypatch.setattr(memory_forecast, "transformer_config", lambda place: {})
    setting, plan = decided(config_of(pictures), 79)
    on_gpu = replace(setting.compute, device=torch.device("cuda"), transformer_dtype=torch.bfloat16)
    monkeypatch.setattr(memory_forecast, "activation_budget", lambda *rest, **named: type("B", (), {"num_bytes": None}))
    monkeypatch.setattr(memory_forecast, "free_bytes", lambda device: 79 * GIB)
    found = expected_memory(replace(setting, compute=on_gpu)).memory
    assert found.peak == pytest.approx(plan.chosen.peaks["train"], rel=0.02)


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("name", PRESET_GROUPS["by GPU memory"])
def test_a_preset_fits_the_card_that_it_is_named_after(name, pictures):
    """Half a GiB drives a screen, and 0.75 are CUDA's own."""
    card = int(name.removeprefix("vram_").removesuffix("gb"))
    config = parse_config(yaml.safe_load(preset_text(name)), ["datasets.0.path=" + str(pictures)])
    setting = settle(config_of(pictures))
    sides = config.datasets[0].resolutions
    plan = plan_training(
        config, machine(card - 1.25), setting.model.parts.paths, setting.adapter,
        [(Bucket(side, side), 1, 1) for side in sides], preview_pictures(config),
    )  # fmt: skip
    assert plan.warning is None, plan.lines
    assert config.quantization.transformer in ("auto", plan.chosen.choice.transformer)


def test_products_by_the_plan_follow_the_weights(pictures):
    config = config_of(pictures)
    setting = settle(config)
    _, plan = decided(config, 79)
    assert as_planned(config, setting.compute, plan).float8_products is False
