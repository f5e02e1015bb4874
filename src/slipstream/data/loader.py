"""Batches of latents and caption features, the next one fetched in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor

from slipstream.core.errors import DataError
from slipstream.data.background import pinned
from slipstream.data.buckets import CELL
from slipstream.data.cache import TensorCache, text_key
from slipstream.data.crops import View
from slipstream.data.dataset import Dataset, Example
from slipstream.data.encode import encode_example
from slipstream.data.masks import MaskReader
from slipstream.data.pixel_batches import example_key, example_pixels
from slipstream.data.sampler import BucketSampler
from slipstream.data.scan import reopen

_GIB = 1 << 30


@dataclass(frozen=True)
class TrainingBatch:
    """One micro batch. Tuples hold one value a sample; an empty one stands for the usual value of each.

    Attributes:
        latents_BCHW: clean latents; they and the masks lie in pinned memory where there is a GPU.
        texts: caption features (tokens, T) per sample; the same tensor for the same caption, as far as they are kept.
        entry_indices: the examples' indices.
        loss_weights: factors on the samples' losses (usual 1).
        lora_weight: strength of the LoRA in this batch, the same for all its samples.
        prior: whether the target is the model's own prediction without the LoRA (usual False).
        masks_BHW: loss weight of every latent cell in [0, 1]; None where no sample has a mask.
        mask_prior_weights: weight of the pull towards the model without LoRA where a mask is dark (usual 0).
        preserved_texts: features of the captions that must stay as they are (trigger word replaced by its
            class word); None where nothing is preserved.
    """

    latents_BCHW: Tensor
    texts: list[Tensor]
    entry_indices: tuple[int, ...]
    loss_weights: tuple[float, ...] = ()
    lora_weight: float = 1.0
    prior: tuple[bool, ...] = ()
    masks_BHW: Tensor | None = None
    mask_prior_weights: tuple[float, ...] = ()
    preserved_texts: list[Tensor] | None = None


class Loader:
    """Serves the sampler's batches by number and prefetches the following one in a single background thread.

    Args:
        dataset: the examples that the sampler's draws point to.
        sampler: the order.
        latents: (example, view) to latents (C, h, w).
        features: caption to features (tokens, T).
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: BucketSampler,
        latents: Callable[[Example, View], Tensor],
        features: Callable[[str], Tensor],
    ) -> None:
        self._examples = dataset.examples
        self._sampler = sampler
        self._latents = latents
        self._features = features
        self._masks = MaskReader()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._ahead: tuple[int, Future[TrainingBatch]] | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Micro steps in which every sample is seen."""
        return self._sampler.batches_per_epoch

    def batch_at(self, micro_step: int) -> TrainingBatch:
        """The batch of a micro step; any order of steps gives the same batches.

        Raises:
            DataError: a cached tensor or a picture is gone.
        """
        ready = self._take(micro_step)
        self._ahead = micro_step + 1, self._pool.submit(self._build, micro_step + 1)
        return ready.result()

    def size_at(self, micro_step: int) -> tuple[int, int]:
        """Width and height in pixels of a micro step's pictures."""
        bucket = self._examples[self._sampler.draw(micro_step)[0].example_index].bucket
        return bucket.width, bucket.height

    def close(self) -> None:
        """End the background thread: waits for a fetch in progress, whose failure no longer matters."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, micro_step: int) -> Future[TrainingBatch]:
        # a jump is built in the same thread, so latents never depend on where they were encoded
        if self._ahead is None:
            return self._pool.submit(self._build, micro_step)
        step, future = self._ahead
        if step == micro_step:
            return future
        future.cancel()
        return self._pool.submit(self._build, micro_step)

    def _build(self, micro_step: int) -> TrainingBatch:
        draws = self._sampler.draw(micro_step)
        examples = [self._examples[draw.example_index] for draw in draws]
        views = [draw.view for draw in draws]
        latents = [self._latents(example, view) for example, view in zip(examples, views, strict=True)]
        masks_BHW, prior_weights = self._mask_fields(examples, views)
        captions = [
            example.caption_at(draw.caption_variant, draw.dropped)
            for example, draw in zip(examples, draws, strict=True)
        ]
        preserved = [caption.preserved for caption in captions if caption.preserved is not None]
        weights = tuple(example.loss_multiplier for example in examples)
        prior = tuple(example.regularization == "prior" for example in examples)
        return TrainingBatch(
            latents_BCHW=pinned(torch.stack(latents)),
            texts=[self._features(caption.text) for caption in captions],
            entry_indices=tuple(draw.example_index for draw in draws),
            loss_weights=weights if set(weights) != {1.0} else (),
            lora_weight=examples[0].lora_weight,
            prior=prior if any(prior) else (),
            masks_BHW=masks_BHW,
            mask_prior_weights=prior_weights,
            preserved_texts=[self._features(caption) for caption in preserved] or None,
        )

    def _mask_fields(
        self, examples: Sequence[Example], views: Sequence[View]
    ) -> tuple[Tensor | None, tuple[float, ...]]:
        """`masks_BHW` and `mask_prior_weights` of a batch."""
        masks = [example.image.mask for example in examples]
        if not any(masks):
            return None, ()
        weights = [self._cell_weights(example, view) for example, view in zip(examples, views, strict=True)]
        prior_weights = tuple(mask.settings.prior_weight if mask else 0.0 for mask in masks)
        return pinned(torch.stack(weights)), prior_weights if any(prior_weights) else ()

    def _cell_weights(self, example: Example, view: View) -> Tensor:
        """Weights (h, w) of the view's latent cells; one everywhere without a mask."""
        image, bucket = example.image, example.bucket
        if image.mask is None:
            return torch.ones(bucket.height // CELL, bucket.width // CELL)
        weights_KHW = self._masks.weights(image.mask, (image.width, image.height), bucket, example.crops)
        mirrors = [axis for axis, mirrored in ((1, view.flipped), (0, view.upside_down)) if mirrored]
        return weights_KHW[view.crop].flip(mirrors)


def cached_latents(
    cache: TensorCache, identity: str, keep_in_memory_gib: float = 2.0
) -> Callable[[Example, View], Tensor]:
    """(example, view) to latents (C, h, w) from disk; the first `keep_in_memory_gib` stay in memory."""
    memory = _Memory(keep_in_memory_gib)

    def latents(example: Example, view: View) -> Tensor:
        key = example_key(example, view, identity)
        return memory.get(key, lambda: _read(cache, key, f"the latents of {example.image.path}"))

    return latents


def cached_features(cache: TensorCache, identity: str, keep_in_memory_gib: float = 2.0) -> Callable[[str], Tensor]:
    """Caption to features (tokens, T) from the disk; the first `keep_in_memory_gib` stay in memory.

    A caption whose features stay has the same tensor at every call, in any thread.
    """
    memory = _Memory(keep_in_memory_gib)

    def features(caption: str) -> Tensor:
        key = text_key(caption, identity)
        return memory.get(key, lambda: _read(cache, key, f"the features of the caption {caption!r}"))

    return features


def fresh_latents(encode_images: Callable[[Tensor], Tensor]) -> Callable[[Example, View], Tensor]:
    """(example, view) to latents (C, h, w), with the picture opened and encoded at every call."""

    def latents(example: Example, view: View) -> Tensor:
        return encode_example(example_pixels(reopen(example.image), example, view), encode_images, example)

    return latents


class _Memory:
    """Tensors kept up to a size. The first stay: epochs visit all in turn, so replacing gains nothing."""

    def __init__(self, limit_gib: float) -> None:
        self._left = int(limit_gib * _GIB)
        self._kept: dict[str, Tensor] = {}
        # training and previews ask from different threads
        self._lock = threading.Lock()

    def get(self, key: str, read: Callable[[], Tensor]) -> Tensor:
        """The tensor of a key, read where it is not kept yet; one that is kept is the same object for everyone."""
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        tensor = read()
        with self._lock:
            if key in self._kept:  # another thread read it in the meantime
                return self._kept[key]
            if tensor.nbytes <= self._left:
                self._kept[key] = tensor
                self._left -= tensor.nbytes
        return tensor


def _read(cache: TensorCache, key: str, what: str) -> Tensor:
    tensor = cache.get(key)
    if tensor is None:
        raise DataError(
            f"{what} are no longer in the cache: the file vanished or was damaged",
            where=str(cache.path(key)),
            fix="run `slipstream resume` on the run folder: what is missing is encoded again.",
        )  # fmt: skip
    return tensor
