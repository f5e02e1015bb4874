from __future__ import annotations

import sys
from pathlib import Path

import pytest
from product import EXAMPLES, Product

from slipstream.runs.metrics import read_metrics

sys.path.insert(0, str(EXAMPLES))


def test_the_bare_loop_is_the_trainers_twin(product: Product, tmp_path: Path) -> None:
    from minimal_loop import train

    result = product(
        "train", str(EXAMPLES / "style.yaml"), f"job.output_dir={product.folder / 'runs'}", "training.steps=6",
        "sample.prompts=[]", "training.lr_schedule=constant", "advanced.tensorboard=false",
    )  # fmt: skip
    assert result.code == 0, result.out + result.err
    trainer = [row["loss"] for row in read_metrics(product.folder / "runs/foxy_style/metrics.jsonl")]
    bare = train(6, tmp_path / "lora.safetensors")
    assert bare == pytest.approx(trainer, rel=1e-4)
    assert (tmp_path / "lora.safetensors").exists()
    assert len(Path(EXAMPLES / "minimal_loop.py").read_text().splitlines()) <= 200
