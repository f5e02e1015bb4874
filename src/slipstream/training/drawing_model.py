"""A model that is drawn with, outside of a training: loaded once, and changed only where a request differs.

`sample` uses it for one command, the drawing process keeps it from request to request. What is drawn does not depend on
what was drawn before: bit for bit the same on one device.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from slipstream.adapters.branches import BranchSet
from slipstream.adapters.files import LoraFile, load_lora
from slipstream.adapters.inject import inject_weights, match
from slipstream.adapters.low_rank import LowRank
from slipstream.drawings.request import Base, LoraUse
from slipstream.kernels.attention import PLAIN_LINE
from slipstream.models.z_image.family import MODULE_ALIASES, ZImage, predictor, release_memory
from slipstream.models.z_image.latents import ImageCodec
from slipstream.models.z_image.loading import SamplingShift
from slipstream.models.z_image.text import TextEncoder
from slipstream.previews.render import Renderer
from slipstream.training.device import Compute, choose_compute, free_bytes
from slipstream.training.fast_path import FastPath, fast_path
from slipstream.training.preview_stage import scaled
from slipstream.training.setting import settle_model

MIB = 2**20
_RESERVE_BYTES = 6 * 2**30
"""What must be free on a GPU beside the loaded model, for the text encoder to stay there too."""
_ENCODER_RESERVE_BYTES = 2**30
"""The same while captions are encoded."""
_MOST_CAPTIONS = 128
"""Captions whose features are kept."""


@dataclass(frozen=True)
class Told:
    """Who is told what happens: lines for a log, and how far a phase is (name, done, total, in MiB)."""

    log: Callable[[str], None] = lambda line: None
    phase: Callable[[str, int, int], None] = lambda name, done, total: None

    def on_download(self, what: str, total: int) -> AbstractContextManager[Callable[[int, int], None]]:
        """What the hub's client tells of a download: `total` and what comes are MiB."""
        self.log(f"{what}: {total / 1024:.2f} GiB")
        return nullcontext(lambda done, total: self.phase("download", done, total))

    def reading(self, name: str) -> Callable[[int, int], None]:
        """What reads a part tells: bytes read, bytes in all."""
        self.phase(name, 0, 0)
        return lambda done, total: self.phase(name, done // MIB, total // MIB)


@dataclass(frozen=True)
class _FileStamp:
    """A LoRA file as it was read; another time or size is another file."""

    path: Path
    time_ns: int
    size: int


@dataclass
class _Attached:
    """A LoRA beside the transformer's linears."""

    stamp: _FileStamp
    branches: BranchSet


@dataclass
class _Loaded:
    """What draws. `predict` belongs to the attached LoRAs."""

    transformer: nn.Module
    codec: ImageCodec
    shift: SamplingShift
    attached: list[_Attached] = field(default_factory=list)
    predict: Callable[[Tensor, Tensor, list[Tensor]], Tensor] | None = None
    fast: FastPath | None = None


class DrawingModel:
    """A base with any LoRAs. Find it with `settle_drawing_model`; then `encode`, `use` and `renderer`.

    Attributes:
        base: what it was asked for as.
        model: its parts, found.
        compute: device and precisions.
    """

    def __init__(self, base: Base, model: ZImage, compute: Compute) -> None:
        self.base, self.model, self.compute = base, model, compute
        self._features: OrderedDict[str, Tensor] = OrderedDict()
        self._encoder: TextEncoder | None = None
        self._loaded: _Loaded | None = None

    def encode(self, captions: Iterable[str], told: Told) -> None:
        """Have the features of these captions; the text encoder is loaded only for new ones."""
        asked = list(dict.fromkeys(captions))
        missing = [caption for caption in asked if caption not in self._features]
        if missing:
            self._have_encoder(told)
            assert self._encoder is not None
            for number, caption in enumerate(missing):
                told.phase("encode captions", number, len(missing))
                self._features[caption] = self._encoder.encode([caption])[0]
        for caption in asked:
            self._features.move_to_end(caption)
        while len(self._features) > max(_MOST_CAPTIONS, len(asked)):
            self._features.popitem(last=False)

    def _have_encoder(self, told: Told) -> None:
        if self._encoder is not None:
            return
        device = self.model.device
        if device.type == "cuda" and self._loaded is not None:
            folder = self.model.parts.paths["text_encoder"]
            needed = sum(path.stat().st_size for path in folder.glob("*.safetensors")) + _ENCODER_RESERVE_BYTES
            if free_bytes(device) < needed:
                self.unload()
        self._encoder = self.model.load_text_encoder(told.reading("load text encoder"))

    def drop_encoder(self) -> bool:
        """Free the text encoder; returns whether there was one."""
        held, self._encoder = self._encoder is not None, None
        if held:
            release_memory()
        return held

    def unload(self) -> None:
        """Free the transformer with its LoRAs and the VAE."""
        self._loaded = None
        release_memory()

    def use(self, loras: Sequence[LoraUse], told: Told) -> None:
        """Have these LoRAs and no others beside the transformer, each at its weight.

        Other weights of the same files load nothing; other files load those alone.

        Raises:
            AdapterError: a file cannot be read, or does not fit the model; none is attached then.
        """
        if self._loaded is None:
            self._load(told)
        loaded = self._loaded
        assert loaded is not None
        stamps = [_stamp(use.path) for use in loras]
        if loaded.predict is None or stamps != [one.stamp for one in loaded.attached]:
            told.phase("load LoRAs", 0, len(loras))
            files = [load_lora(use.path) for use in loras]
            if not _replace(loaded, files, stamps, told):
                self._attach_anew(loaded, files, stamps, told)
        for one, use in zip(loaded.attached, loras, strict=True):
            one.branches.set_strength(use.strength)
            one.branches.enable(use.strength != 0)
            told.log(f"{use.path.name}: weight {use.strength:g}")

    def _load(self, told: Told) -> None:
        device = self.model.device
        if self._encoder is not None and device.type == "cuda" and not self._fits_beside_encoder():
            self.drop_encoder()
        transformer = self.model.load_transformer(told.reading("load transformer"))
        told.phase("load VAE", 0, 0)
        self._loaded = _Loaded(transformer, self.model.load_codec(), self.model.load_shift())

    def _fits_beside_encoder(self) -> bool:
        """Whether transformer and pictures have room on the GPU while the text encoder stays."""
        bytes_of_one = torch.finfo(self.model.transformer_dtype).bits // 8
        needed = self.model.num_weights * (bytes_of_one if self.model.transformer_scheme is None else 1)
        return free_bytes(self.model.device) >= needed + _RESERVE_BYTES

    def _attach_anew(
        self, loaded: _Loaded, files: Sequence[LoraFile], stamps: Sequence[_FileStamp], told: Told
    ) -> None:  # fmt: skip
        loaded.predict, loaded.fast = None, None  # fused blocks hold the branches that go
        detach_loras(one.branches for one in loaded.attached)
        loaded.attached = []
        release_memory()
        for number, (file, stamp) in enumerate(zip(files, stamps, strict=True)):
            try:
                branches = attach_lora(loaded.transformer, file, number, stamp.path, told.log)
            except Exception:
                detach_loras(one.branches for one in loaded.attached)
                loaded.attached = []
                raise
            loaded.attached.append(_Attached(stamp, branches))
        fast, lines = fast_path(loaded.transformer, None, self.model.device, float8=self.compute.float8_products)
        for line in lines if fast is not None else (*lines, PLAIN_LINE):
            told.log(line)
        loaded.fast = fast
        loaded.predict = fast.predict if fast is not None else predictor(loaded.transformer)

    def renderer(self, *, max_batch: int = Renderer.max_batch) -> Renderer:
        """Draws with what `use` has attached, captions that `encode` knows.

        A picture's own `lora_scale` multiplies the weights.
        """
        loaded = self._loaded
        assert loaded is not None, "call `use` first"
        assert loaded.predict is not None
        loras = [(one.branches, _strength(one.branches)) for one in loaded.attached]
        return Renderer(
            predict=loaded.predict, decode=loaded.codec.decode, features=self._features.__getitem__,
            shift_at=loaded.shift.at, device=self.model.device, latent_downscale=loaded.codec.downscale,
            at_lora_scale=scaled(loras), max_batch=max_batch,
        )  # fmt: skip

    @property
    def codec(self) -> ImageCodec:
        """The VAE that `renderer` decodes with."""
        assert self._loaded is not None, "call `use` first"
        return self._loaded.codec

    def drop_graphs(self) -> None:
        """Free what CUDA graphs hold; they are made anew."""
        if self._loaded is not None and self._loaded.fast is not None:
            self._loaded.fast.predict.drop_graphs()


def settle_drawing_model(base: Base, device: str, told: Told) -> DrawingModel:
    """Find the parts of a base; loads nothing. `device` as in configs.

    Raises:
        SlipstreamError: a part or the device is missing.
    """
    compute = choose_compute(device, base.transformer, base.text_encoder)
    for line in compute.reasons:
        told.log(line)
    return DrawingModel(base, settle_model(base.model, base.extras_from, compute, told.on_download), compute)


def attach_lora(
    transformer: nn.Module, file: LoraFile, number: int, path: Path, log: Callable[[str], None]
) -> BranchSet:  # fmt: skip
    """Put LoRA number `number` beside the transformer's linears."""
    branches, line = inject_weights(
        transformer, file.modules, role=f"lora_{number}", source=str(path), aliases=MODULE_ALIASES
    )
    kinds = "" if file.kinds == ("lora",) else f" ({', '.join(file.kinds)})"
    log(f"{path.name}{kinds}: {line}")
    return branches


def detach_loras(attached: Iterable[BranchSet]) -> None:
    """Take LoRAs away; what is left computes as if they had never been there, bit for bit."""
    for branches in attached:
        for host in branches.hosts.values():
            if branches.role in host.branches:
                del host.branches[branches.role]


def _replace(loaded: _Loaded, files: Sequence[LoraFile], stamps: Sequence[_FileStamp], told: Told) -> bool:
    """Write other LoRAs over those attached, where they are plain ones of the same shapes, as checkpoints of a run are:
    what was made for them (fused blocks, CUDA graphs) stays. Returns whether that could be done."""
    if loaded.predict is None or len(files) != len(loaded.attached):
        return False
    pairs: list[tuple[LowRank, Tensor, Tensor]] = []
    lines = []
    for one, file, stamp in zip(loaded.attached, files, stamps, strict=True):
        modules, line = match(loaded.transformer, file.modules, source=str(stamp.path), aliases=MODULE_ALIASES)
        if set(modules) != set(one.branches.branches):
            return False
        for name, tensors in modules.items():
            branch = one.branches.branches[name]
            if not isinstance(branch, LowRank) or set(tensors) != {"lora_A.weight", "lora_B.weight"}:
                return False
            a, b = tensors["lora_A.weight"], tensors["lora_B.weight"]
            if a.shape != branch.a.shape or b.shape != branch.b.shape:
                return False
            pairs.append((branch, a, b))
        lines.append(f"{stamp.path.name}: {line}")
    with torch.no_grad():
        for branch, a, b in pairs:
            branch.a.copy_(a)
            branch.b.copy_(b)
    for one, stamp, line in zip(loaded.attached, stamps, lines, strict=True):
        one.stamp = stamp
        told.log(line)
    return True


def _strength(branches: BranchSet) -> float:
    return next((branch.strength for branch in branches.branches.values()), 1.0)


def _stamp(path: Path) -> _FileStamp:
    try:
        stat = path.stat()
    except OSError:
        return _FileStamp(path, 0, 0)  # reading it says what is wrong
    return _FileStamp(path, stat.st_mtime_ns, stat.st_size)
