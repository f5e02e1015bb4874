from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from product import Product
from safetensors import safe_open
from safetensors.torch import load_file

from slipstream.findings.look import findings_of
from slipstream.runs.create import open_run
from slipstream.runs.exit_codes import FINISHED
from slipstream.runs.metrics import read_metrics
from slipstream.runs.progress import read_progress
from slipstream.worker import work


def lora_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / f"{folder.name}.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_main_job_leaves_a_whole_run(product: Product) -> None:
    result = product("train", str(product.write_config()))
    assert result.code == 0, result.out + result.err
    run = open_run(product.folder / "runs/small")
    progress = read_progress(run)
    assert progress is not None
    assert (progress.state, progress.step) == ("finished", 10)
    assert [row["step"] for row in read_metrics(run.metrics)] == list(range(1, 11))
    assert sorted(p.name for p in run.checkpoints.glob("*.safetensors")) == [
        "small_000000008.safetensors", "small_000000010.safetensors",
    ]  # fmt: skip
    assert sorted(p.name for p in run.previews.glob("step_*")) == [
        f"step_{step:09d}_prompt_{prompt:02d}.png" for step in (0, 5, 10) for prompt in (0, 1)
    ]
    for path in (run.contact_sheet, run.report, run.manifest, run.log, run.timings):
        assert path.stat().st_size > 0, path
    with Image.open(run.preview_image(10, 0)) as picture:
        assert picture.size == (64, 64)
        assert picture.info["prompt"] == "a foxy emoji of pizza"
        assert picture.info["training_adapter"] == "removed"
    assert not [finding for finding in findings_of(run) if finding.severity == "problem"]
    check_lora_file(run.lora)


def check_lora_file(path: Path) -> None:
    with safe_open(path, framework="pt") as handle:
        keys, metadata = list(handle.keys()), handle.metadata()
    assert len(keys) == 2 * 5 * 8
    assert all(key.startswith("diffusion_model.layers.") for key in keys)
    assert metadata["rank"] == "4"
    assert metadata["base_model"] == "tiny/turbo"
    assert metadata["dataset_fingerprint"]
    assert metadata["training_adapter"] == "tiny/adapters/training_adapter_v2.safetensors"
    assert "path: foxy_style" in metadata["config"]
    assert str(path.parent.parent.parent) not in "".join(metadata.values()), (
        "a shared LoRA names no folder of its maker"
    )
    assert all(tensor.dtype == torch.bfloat16 and tensor.shape[0] for tensor in load_file(path).values())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> dict[str, torch.Tensor]:
    product = Product(tmp_path_factory.mktemp("whole"), shared_cache)
    result = product("train", str(product.write_config()))
    assert result.code == 0, result.out + result.err
    return lora_of(product.folder / "runs/small")


def test_killed_and_resumed_is_bit_identical(product: Product, uninterrupted: dict[str, torch.Tensor]) -> None:
    """Killed before the first checkpoint, behind it and its previews, and behind the second one: one run, four workers.
    `tests/training` has a stop after every step."""
    run = new_run(product)
    for kill_at in (2, 6, 9):
        worker = start_slow_worker(product, run)
        wait_for_step(run, kill_at, worker)
        worker.kill()
        worker.wait()
        assert not (run / "small.safetensors").exists(), "it was killed too late to show anything"
    result = product("resume", str(run))
    assert result.code == 0, result.out + result.err
    assert same(lora_of(run), uninterrupted)
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl")] == list(range(1, 11))


SLOW_WORKER = """
import sys, time
import slipstream.worker as worker
import slipstream.training.build as build
fast = build.begin_step
def slow(*a, **k):
    time.sleep(0.15)
    return fast(*a, **k)
build.begin_step = slow
sys.argv = ["worker", sys.argv[1]]
sys.exit(worker.main())
"""


def new_run(product: Product) -> Path:
    return product.new_run().path


def start_slow_worker(product: Product, run: Path) -> subprocess.Popen[bytes]:
    """A worker as `train` starts it, with a pause before every update so that a kill can hit a chosen one."""
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_WORKER, str(run)], env=product.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_step(run: Path, step: int, worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        rows = read_metrics(run / "metrics.jsonl")
        if rows and rows[-1]["step"] >= step:
            return
        assert worker.poll() is None, (run / "log.txt").read_text()
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached")


def test_ctrl_c_saves_and_resume_goes_on(product: Product, uninterrupted: dict[str, torch.Tensor]) -> None:
    run = new_run(product)
    worker = start_slow_worker(product, run)
    wait_for_step(run, 2, worker)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(60) == 10
    progress = read_progress(open_run(run))
    assert progress is not None
    assert progress.state == "stopped"
    assert (run / f"checkpoints/state_{progress.step:09d}.pt").exists()
    assert (run / "report.html").exists()
    assert product("resume", str(run)).code == 0
    assert same(lora_of(run), uninterrupted)


def test_sigterm_to_the_command_stops_its_worker(product: Product) -> None:
    config = product.write_config(change=lambda text: text.replace("steps: 10", "steps: 5000"))
    door = subprocess.Popen(
        product.command("train", str(config)), cwd=product.folder, env=product.environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_for_step(product.folder / "runs/small", 2, door)  # type: ignore[arg-type]
    door.terminate()
    said, _ = door.communicate(timeout=60)
    assert door.returncode == 130
    assert "slipstream resume" in said


@pytest.mark.usefixtures("in_this_process")
def test_a_step_is_cached_equals_uncached(product: Product) -> None:
    short = ("training.steps=3", "sample.prompts=[]")
    cached = product.new_run("job.name=cached", *short)
    uncached = product.new_run(
        "job.name=uncached", *short, "datasets.0.cache_latents=false", "training.text_encoder=keep"
    )
    assert work(cached) == work(uncached) == FINISHED
    first, second = ([row["loss"] for row in read_metrics(run.metrics)] for run in (cached, uncached))
    assert first == second


@pytest.mark.usefixtures("in_this_process")
def test_de_turbo_trains_without_an_adapter_and_previews_with_guidance(product: Product) -> None:
    def change(text: str) -> str:
        return text.replace(
            "variant: turbo, name_or_path: tiny/turbo, training_adapter: v2",
            "variant: de_turbo, name_or_path: tiny/de-turbo",
        )

    run = product.new_run("training.steps=2", "sample.steps=4", "sample.every=0", change=change)
    assert work(run) == FINISHED, run.log.read_text()
    manifest = json.loads(run.manifest.read_text())
    assert manifest["training_adapter"] is None
    assert manifest["sample"]["guidance_scale"] == 2.5


def test_plan_starts_nothing(product: Product) -> None:
    result = product("plan", str(product.write_config()))
    assert result.code == 0, result.err
    for expected in ("128 x 128", "training adapter", "on disk", "per epoch", "s/it", "memory: about"):
        assert expected in result.out
    assert not (product.folder / "runs").exists()


@pytest.mark.usefixtures("in_this_process")
def test_sample_draws_with_a_lora(product: Product) -> None:
    assert work(product.new_run("training.steps=2", "sample.prompts=[]")) == FINISHED
    result = product(
        "sample", "a foxy emoji of pizza", "--model", "tiny/turbo", "--lora", "runs/small:0.8", "--width", "64",
        "--height", "64", "--out", "pictures",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "small.safetensors: 40 of 40 modules matched" in result.out
    assert "small.safetensors: weight 0.8" in result.out
    assert Image.open(product.folder / "pictures/0000.png").size == (64, 64)
