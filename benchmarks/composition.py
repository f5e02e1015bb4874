"""A training on random weights, put together by the product's own code: phases, fast path, LoRA, loader, update.

Only three things are stand-ins: the transformer's weights are random and made on the device, and latents and caption
features are random instead of encoded. Everything after that is `training.stages` and `training.build`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from random_model import ModelSize, empty_transformer, random_adapter, random_transformer
from safetensors.torch import save_file
from synthetic_dataset import write_pictures
from torch import Tensor, nn

from slipstream.config.presets import preset_text
from slipstream.config.run_config import RunConfig, parse_config
from slipstream.data.cache import TensorCache
from slipstream.data.dataset import build_dataset
from slipstream.data.loader import Loader
from slipstream.memory.estimate import ModelSizes
from slipstream.memory.pinned import Offload
from slipstream.memory.planner import Decision
from slipstream.models.z_image.family import ZImage
from slipstream.models.z_image.loading import SamplingShift
from slipstream.models.z_image.sizes import model_sizes
from slipstream.precision.placing import Watch
from slipstream.previews.render import LATENT_CHANNELS
from slipstream.runs.layout import RunDir
from slipstream.training.build import Prepared, compose, make_reporter
from slipstream.training.checkpoint import CheckpointPolicy
from slipstream.training.device import Compute
from slipstream.training.loop import TrainingJob
from slipstream.training.optimizer_stage import fresh_state, settle_optimizer
from slipstream.training.reporter import Reporter
from slipstream.training.setting import Setting, dataset_settings, settle_compute
from slipstream.training.stages import Adapted, prepare_transformer

LATENT_DOWNSCALE = 8
LARGEST = 1024


@dataclass(frozen=True)
class RandomModel:
    """Stands where a found model does; all it can load is a random transformer."""

    size: ModelSize
    compute: Compute

    def load_transformer(
        self, tick: Any = None, watch: Watch | None = None, offload: Offload | None = None
    ) -> nn.Module:
        """The transformer on the device, its linears packed as the config says; nothing is read, so nothing ticks."""
        compute = self.compute
        return random_transformer(
            self.size, compute.device, compute.transformer_dtype, compute.transformer_scheme, watch, offload
        )

    @property
    def sizes(self) -> ModelSizes:
        """From its config alone."""
        return model_sizes(self.size.transformer)

    @property
    def num_weights(self) -> int:
        """As many as the transformer has."""
        return sum(parameter.numel() for parameter in empty_transformer(self.size).parameters())

    def load_shift(self) -> SamplingShift:
        """Turbo's."""
        return SamplingShift(3.0)


class NoRequests:
    """Nobody asks for anything while a benchmark runs."""

    def stop(self) -> bool:
        """No."""
        return False

    def save(self) -> bool:
        """No."""
        return False

    def preview(self) -> bool:
        """No."""
        return False


def training_config(folder: Path, overrides: list[str], preset: str = "vram_80gb") -> RunConfig:
    """A preset with changes, as `slipstream train` would read it; its run lies in `folder`."""
    fixed = ["job.name=run", f"job.output_dir={folder}", "datasets.0.path=.", "advanced.log_every=0"]
    return parse_config(yaml.safe_load(preset_text(preset)), [*fixed, *overrides])


def write_random_adapter(path: Path, size: ModelSize, device: torch.device) -> Path:
    """A random training adapter under the keys of the published file; at the real size as large as that is."""
    tensors = {}
    for name, (down, up) in random_adapter(size, device).items():
        tensors[f"diffusion_model.{name}.lora_A.weight"] = down.cpu()
        tensors[f"diffusion_model.{name}.lora_B.weight"] = up.cpu()
    save_file(tensors, path, metadata={"format": "pt"})
    return path


class RandomTraining:
    """One transformer with its LoRA, trained on pictures of any side in turn.

    Args:
        config: see `training_config`.
        size: of the random model.
        folder: for the run's files, pictures and the random adapter.
        caption_tokens: length of every caption's features.
        compute: device and precisions, where they are not the config's alone (a plan's).
        plan: what it was planned as.
        largest: side of the pictures that memory is planned for, at the real size.
    """

    def __init__(
        self, config: RunConfig, size: ModelSize, folder: Path, *, caption_tokens: int = 128,
        compute: Compute | None = None, largest: int = LARGEST, plan: Decision | None = None,
    ) -> None:  # fmt: skip
        self.size, self.folder = size, folder
        self.run = RunDir(folder / "run")
        self.run.path.mkdir(parents=True, exist_ok=True)
        compute = settle_compute(config) if compute is None else compute
        self.largest, self.plan = largest, plan
        adapter = None
        if config.model.variant == "turbo" and config.model.training_adapter != "none":
            adapter = write_random_adapter(folder / "adapter.safetensors", size, compute.device)
            model = config.model.model_copy(update={"training_adapter": str(adapter)})
            config = config.model_copy(update={"model": model})
        self.setting = self._setting(config, compute, adapter)
        self.reporter: Reporter = make_reporter(config, self.run, lambda: False)
        self.adapted: Adapted = prepare_transformer(self.setting, self.reporter)
        self._spread_lora()
        self.state = fresh_state(config, self.adapted.lora, self.setting.optimizer, compute.device)
        self.reporter.start_training(0)
        width = cast(Any, self.adapted.transformer).config.cap_feat_dim
        dtype = compute.text_encoder_dtype
        self.caption_features = noise(caption_tokens, width, seed=5).to(dtype)

    def _setting(self, config: RunConfig, compute: Compute, adapter: Path | None) -> Setting:
        side = self.largest // self.size.divide  # what memory is planned for, until a job says its side
        path = write_pictures(self.folder / f"pictures_{side}", 4, side)
        panel = config.datasets[0].model_copy(update={"path": path, "resolutions": [side]})
        dataset = build_dataset(dataset_settings(config.model_copy(update={"datasets": [panel]})))
        cache = TensorCache(self.folder / "cache", "unused")
        return Setting(
            config=config, compute=compute, model=cast(ZImage, RandomModel(self.size, compute)), adapter=adapter,
            start=None, dataset=dataset, latent_cache=cache, text_cache=cache, pictures=(),
            optimizer=settle_optimizer(config), held_out=None, plan=self.plan,
        )  # fmt: skip

    def _spread_lora(self) -> None:
        """Off its start, where half of it is zero and no kernel would meet ordinary values."""
        for index, (_, parameter) in enumerate(self.adapted.lora.named_parameters()):
            nn.init.normal_(parameter.data, std=0.01, generator=torch.Generator(parameter.device).manual_seed(index))

    @contextmanager
    def job(self, side: int, pictures: int = 4, *, graphs: bool = True) -> Iterator[TrainingJob]:
        """The product's training job on pictures of one side; `graphs` off launches every kernel by itself."""
        path = write_pictures(self.folder / f"pictures_{side}", pictures, side)
        config = self.setting.config
        panel = config.datasets[0].model_copy(update={"path": path, "resolutions": [side]})
        config = config.model_copy(update={"datasets": [panel]})
        setting = replace(self.setting, config=config, dataset=build_dataset(dataset_settings(config)))
        loader = Loader(setting.dataset, setting.sampler(), random_latents, lambda caption: self.caption_features)
        prepared = Prepared(
            setting=setting, run=self.run, reporter=self.reporter, state=self.state,
            adapted=self.adapted if graphs else without_graphs(self.adapted),
            policy=CheckpointPolicy(self.run.checkpoints, "run", torch.bfloat16, 1, 0), metadata={}, loader=loader,
            features=lambda caption: self.caption_features, previews=None, validation=None, drift=None,
        )  # fmt: skip
        with loader:
            yield compose(prepared, NoRequests())

    def said(self) -> list[str]:
        """What the product wrote into the run's log: choices and their reasons."""
        lines = self.run.log.read_text(encoding="utf-8").splitlines() if self.run.log.is_file() else []
        return [line.partition("  ")[2] for line in lines]


def without_graphs(adapted: Adapted) -> Adapted:
    """The same fast path, if there is one, with every kernel launched by itself."""
    if adapted.fast is None:
        return adapted
    return replace(adapted, fast=replace(adapted.fast, predict=adapted.fast.predict.without_graphs()))


def random_latents(example: Any, view: Any) -> Tensor:
    """Latents (C, h, w) of an example that are the same at every call."""
    bucket = example.bucket
    return noise(
        LATENT_CHANNELS, bucket.height // LATENT_DOWNSCALE, bucket.width // LATENT_DOWNSCALE, seed=example.index
    )


def noise(*shape: int, seed: int) -> Tensor:
    """Standard normal values on the CPU."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
