from __future__ import annotations

import sys
from pathlib import Path

import pytest
from product import EXAMPLES, Product

from slipstream.config.run_config import dump_yaml, load_config
from slipstream.runs.create import create_run
from slipstream.runs.exit_codes import FINISHED
from slipstream.runs.metrics import read_metrics
from slipstream.worker import work

sys.path.insert(0, str(EXAMPLES))


@pytest.mark.usefixtures("in_this_process")
def test_the_bare_loop_is_the_trainers_twin(product: Product, tmp_path: Path) -> None:
    from minimal_loop import train

    settings = ("training.steps=6", "sample.prompts=[]", "training.lr_schedule=constant", "advanced.tensorboard=false")
    config = load_config(EXAMPLES / "style.yaml", settings)
    run, _ = create_run(product.folder / "runs", "foxy_style", dump_yaml(config))
    assert work(run) == FINISHED, run.log.read_text()
    trainer = [row["loss"] for row in read_metrics(run.metrics)]
    bare = train(6, tmp_path / "lora.safetensors")
    assert bare == pytest.approx(trainer, rel=1e-4)
    assert (tmp_path / "lora.safetensors").exists()
    assert len(Path(EXAMPLES / "minimal_loop.py").read_text().splitlines()) <= 200
