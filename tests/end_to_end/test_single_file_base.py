"""A De-Turbo in one file with text encoder and VAE from elsewhere: planned and trained as its folder is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from product import Product
from safetensors.torch import load_file

from single_files import original, tiny_tensors, write
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.runs.exit_codes import FINISHED
from slipstream.worker import work


def lora_of(product: Product, name: str, *settings: str) -> tuple[dict[str, torch.Tensor], str]:
    """The LoRA of a short run and its log."""
    base = ("training.steps=3", "sample.prompts=[a cat]", "sample.every=0", "sample.steps=1", "sample.at_start=false")
    run = product.new_run(f"job.name={name}", *base, *settings, change=de_turbo)
    assert work(run) == FINISHED, run.log.read_text()
    return load_file(run.lora), run.log.read_text()


def de_turbo(config: str) -> str:
    turbo = "{variant: turbo, name_or_path: tiny/turbo, training_adapter: v2}"
    return config.replace(turbo, "{variant: de_turbo, name_or_path: tiny/de-turbo}")


@pytest.mark.usefixtures("in_this_process")
def test_a_single_file_trains_as_its_folder_does(product: Product, tmp_path: Path) -> None:
    tensors = original(tiny_tensors("de_turbo"), "model.diffusion_model.")
    path = write(tmp_path / "z_image_de_turbo.safetensors", tensors)
    single = (f"model.name_or_path={path}", "model.extras_from=tiny/turbo")
    plan = product("plan", str(product.write_config(change=de_turbo)), *single)
    assert plan.code == 0, plan.out + plan.err
    assert "original keys, bf16" in " ".join(plan.out.split())
    wanted, _ = lora_of(product, "folder")
    got, log = lora_of(product, "file", *single)
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[key], got[key]) for key in wanted)
    assert f"transformer: {path} ({path})" in log
    manifest = json.loads((product.folder / "runs/file/manifest.json").read_text())
    assert manifest["model"]["origins"]["text_encoder"] == "tiny/turbo"
    assert manifest["model"]["revisions"] == {}


def test_wrong_files_are_refused_before_anything_loads(product: Product) -> None:
    config = str(product.write_config())
    lora = TINY_ROOT / "adapters/training_adapter_v2.safetensors"
    for setting, message in (
        (f"model.name_or_path={lora}", "this is a LoRA"),
        ("model.training_adapter=adapters/none.safetensors", "no such file"),
    ):
        result = product("plan", config, setting, "model.extras_from=tiny/turbo")
        text = " ".join((result.out + result.err).split())
        assert result.code != 0
        assert message in text
        assert "Traceback" not in text
