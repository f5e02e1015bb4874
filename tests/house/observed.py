"""A short training in this process, seen from all sides: what a setting changes shows in one of the facets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from slipstream.previews.png import read_png_metadata
from slipstream.runs.layout import RunDir

Facets = dict[str, Any]
CONFIG = """\
job: {{name: seen, seed: 1, trigger_word: felt, output_dir: {output}}}
model: {{variant: turbo, name_or_path: tiny/turbo}}
target: {{rank: 2, target_modules: [attention.to_q, feed_forward.w2]}}
save: {{every: 2, keep: 2}}
training: {{steps: 3, batch_size: 2, optimizer: adamw, learning_rate: 1e-3, max_grad_norm: 0.0,
  drift: null}}
datasets: [{{path: {data}, resolutions: [64], caption_dropout: 0.0}}]
sample: {{every: 0, at_start: false, width: 64, height: 64, steps: 1, prompts: []}}
advanced: {{tensorboard: false}}
"""
PICTURES = (
    ("fox", (112, 80), "a noto emoji of fox, on white, soft light"),
    ("cat", (80, 112), "a [trigger] emoji of cat, on blue, hard light"),
    ("sun", (96, 96), "a blob emoji of sun, on green, back light"),
    ("cup", (96, 96), ""),
)


def write_pictures(base: Path) -> Path:
    """Folders of pictures that have structure and no symmetry, in two buckets, one picture without a caption.

    `data` and `other_data` differ in their pixels, `see_through` has the pixels of `data` and an alpha channel,
    `masks` and `other_masks` hold masks, `captions.json` other captions. Returns `data`.
    """
    for number, (stem, size, caption) in enumerate(PICTURES):
        plain = waves(size, number)
        _save(base / "data" / f"{stem}.png", plain)
        _save(base / "other_data" / f"{stem}.png", 255 - plain)
        alpha = waves(size, number + 7)[..., :1]
        _save(base / "see_through" / f"{stem}.png", np.concatenate((plain, alpha), axis=-1))
        _save(base / "masks" / f"{stem}.png", alpha[..., 0])
        _save(base / "other_masks" / f"{stem}.png", waves(size, number + 9)[..., 0])
        for folder in ("data", "other_data", "see_through") if caption else ():
            (base / folder / f"{stem}.txt").write_text(caption)
    captions = {f"{stem}.png": f"a flat emoji of {stem}" for stem, *_ in PICTURES}
    (base / "prompts.txt").write_text("a [trigger] emoji of cat\n")
    (base / "captions.json").write_text(json.dumps(captions))
    return base / "data"


def waves(size: tuple[int, int], number: int) -> np.ndarray:
    """An RGB picture (height, width, 3) of its own for every number."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    layers = [np.sin(x / (5 + number + channel)) + np.cos(y * x / (90 + 40 * channel)) for channel in range(3)]
    return np.uint8(127 + 60 * np.stack(layers, axis=-1))


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def digest(tensor: Tensor) -> str:
    """A short hash of a tensor's values."""
    return hashlib.blake2b(tensor.detach().float().cpu().contiguous().numpy().tobytes(), digest_size=6).hexdigest()


class Recorder:
    """What passes between loader, network and optimizer while a run trains."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.pushed: list[tuple[str, bool]] = []
        self.forwards: list[tuple[bool, list[float], str, list[str]]] = []

    @contextmanager
    def listening(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Record for the length of a block."""
        from slipstream.data.loader import Loader
        from slipstream.hub.push import Pushed
        from slipstream.models.z_image import family, prediction
        from slipstream.models.z_image.fast_predictor import FastPredictor
        from slipstream.training import push_stage

        real_batch, real_predict = Loader.batch_at, prediction.predict_velocity
        real_fast = FastPredictor.__call__

        def record(noisy: Tensor, sigma: Tensor, texts: list[Tensor]) -> None:
            levels = [round(float(level), 6) for level in sigma]
            self.forwards.append((torch.is_grad_enabled(), levels, digest(noisy), [digest(text) for text in texts]))

        def batch_at(loader: Any, micro_step: int) -> Any:
            self.batches.append(real_batch(loader, micro_step))
            return self.batches[-1]

        def predict_velocity(
            transformer: Any, noisy: Tensor, sigma: Tensor, text: Any, *rest: Any, **named: Any
        ) -> Tensor:
            record(noisy, sigma, [row[:length] for row, length in zip(text.hidden_BLT, text.lengths, strict=True)])
            return real_predict(transformer, noisy, sigma, text, *rest, **named)

        def predict_fast(predictor: Any, noisy: Tensor, sigma: Tensor, texts: list[Tensor]) -> Tensor:
            record(noisy, sigma, texts)
            return real_fast(predictor, noisy, sigma, texts)

        def push_run(run: RunDir, repo: str, *, private: bool, **rest: Any) -> Pushed:
            self.pushed.append((repo, private))
            return Pushed("", "", False)

        with monkeypatch.context() as patch:
            patch.setattr(push_stage, "push_run", push_run)
            patch.setattr(Loader, "batch_at", batch_at)
            patch.setattr(family, "predict_velocity", predict_velocity)
            patch.setattr(FastPredictor, "__call__", predict_fast)
            yield

    def facets(self) -> Facets:
        """Batches and forwards, each as one comparable value."""
        trained = [forward for forward in self.forwards if forward[0]]
        return {
            "pushed": self.pushed,
            "order": [batch.entry_indices for batch in self.batches],
            "pictures": [digest(batch.latents_BCHW) for batch in self.batches],
            "captions": [[digest(text) for text in batch.texts] for batch in self.batches],
            "weights of samples": [(batch.loss_weights, batch.lora_weight, batch.prior) for batch in self.batches],
            "masks": [
                (None if batch.masks_BHW is None else digest(batch.masks_BHW), batch.mask_prior_weights)
                for batch in self.batches
            ],
            "noise levels": [forward[1] for forward in trained],
            "inputs": [forward[2] for forward in trained],
            "texts": [forward[3] for forward in trained],
            "side forwards": [forward[1:] for forward in self.forwards if not forward[0]],
        }


def observe(config: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> Facets:
    """Train a config in this process and return everything that can be seen of it."""
    from slipstream import worker
    from slipstream.config.run_config import dump_yaml, load_config
    from slipstream.runs.create import create_run

    resolved = load_config(config, overrides)
    run, _ = create_run(Path(resolved.job.output_dir), resolved.job.name, dump_yaml(resolved), fresh=True)
    recorder = Recorder()
    with recorder.listening(monkeypatch):
        worker.work(run)
    return {**recorder.facets(), **facets_of_files(run)}


def facets_of_files(run: RunDir) -> Facets:
    """What the run folder says."""
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    with safe_open(run.lora, framework="pt") as handle:
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        metadata = dict(handle.metadata())
    pictures = sorted(run.previews.glob("step_*.png"))
    return {
        "first loss": round(rows[0]["loss"], 6),
        "first gradient": round(rows[0]["grad_norm"], 6),
        "later losses": [round(row["loss"], 6) for row in rows[1:]],
        "later gradients": [round(row["grad_norm"], 6) for row in rows[1:]],
        "rates": [row["learning_rate"] for row in rows],
        "metrics": sorted({key for row in rows for key in row}),
        "modules": {key: tuple(tensor.shape) for key, tensor in tensors.items()},
        "file format": sorted({str(tensor.dtype) for tensor in tensors.values()}),
        "weights": {key: digest(tensor.float()) for key, tensor in tensors.items()},
        "metadata": {key: value for key, value in metadata.items() if key != "config"},
        "checkpoints": sorted(path.name for path in run.checkpoints.glob("*.safetensors")),
        "files": sorted(path.name for path in run.path.iterdir()),
        "previews": [(path.name, read_png_metadata(path)) for path in pictures],
        "preview pixels": [hashlib.blake2b(np.asarray(Image.open(path)).tobytes()).hexdigest() for path in pictures],
        "log": [line.partition("  ")[2].replace(str(run.path), "RUN") for line in run.log.read_text().splitlines()],
    }


def changed(before: Facets, after: Facets) -> set[str]:
    """Names of the facets that differ."""
    return {name for name in before if before[name] != after[name]}


Observe = Callable[..., Facets]
