"""A run of every kind: its last preview is what `sample --lora` draws, and another run may start from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from product import Product

from slipstream.adapters.files import load_lora
from slipstream.config.prompts import PromptPanel
from slipstream.drawings.request import LoraUse
from slipstream.runs.exit_codes import FINISHED
from slipstream.runs.layout import RunDir
from slipstream.worker import work
from slipstream.workflows.sample import SampleRequest, sample

pytestmark = pytest.mark.usefixtures("in_this_process")

OVERRIDES = (
    "training.steps=3", "training.learning_rate=0.02", "training.ema=null", "save.every=0", "sample.every=0",
    "sample.at_start=false", "sample.steps=2", 'sample.prompts=["a noto emoji of fox"]',
    "target.target_modules=[attention.*, feed_forward.w2]",
)  # fmt: skip


def trained(product: Product, *overrides: str) -> RunDir:
    run = product.new_run(*OVERRIDES, *overrides)
    assert work(run) == FINISHED
    return run


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.tobytes()


@pytest.mark.parametrize("kind", ["dora", "lokr", "loha", "oft"])
def test_the_preview_is_the_picture_from_the_file(product: Product, kind: str) -> None:
    run = trained(product, f"target.type={kind}")
    file = load_lora(run.lora)
    assert file.kinds == (kind,)
    assert file.metadata["adapter_type"] == kind
    assert json.loads(run.manifest.read_text())["lora"]["type"] == kind
    request = SampleRequest(
        model="tiny/turbo", extras_from="tiny/turbo", prompts=(PromptPanel(prompt="a noto emoji of fox"),),
        out=product.folder / "pictures", loras=(LoraUse(run.lora),), width=64, height=64, steps=2,
    )  # fmt: skip
    lines: list[str] = []
    (drawn,) = sample(request, lines.append)
    assert pixels(drawn.path) == pixels(run.preview_image(3, 0))
    assert any(f"small.safetensors ({kind}): 25 of 25 modules matched" in line for line in lines)


def test_a_run_may_start_from_another_and_a_resumed_one_keeps_its_own_start(product: Product) -> None:
    first = trained(product, "target.init=pissa")
    assert load_lora(first.lora).modules["layers.0.attention.to_q"]["lora_A.weight"].shape[0] == 8
    second = trained(
        product, "job.name=second", f"target.start_from={first.path}", "target.rank=2", "target.lora_plus_ratio=4.0",
        "sample.prompts=[]",
    )  # fmt: skip
    log = second.log.read_text()
    assert "start from small.safetensors: 25 of 25 modules matched, rank 8 -> 2, " in log
    metadata = load_lora(second.lora).metadata
    assert str(product.folder) not in metadata["config"], "the user's folders are nobody's business"
    assert "start_from: small" in metadata["config"]
    config = second.config.read_text()
    second.config.write_text(config.replace("steps: 3", "steps: 4", 1))
    assert work(second) == FINISHED
    assert second.log.read_text().count("start from") == 1
