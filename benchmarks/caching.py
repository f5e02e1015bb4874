"""Measures what comes before the first update, and previews: pictures and captions into the cache, by stage.

    python benchmarks/caching.py --out caching.json                      # one CUDA card, less than two minutes
    python benchmarks/caching.py --previews --out caching.json           # and the time of a preview
    python benchmarks/caching.py --size tiny --device cpu --out /tmp/caching.json

Weights are random and pictures synthetic (JPEG and PNG of 1 to 4 megapixels in a temporary folder). Readers, batches,
cache and drawing are the product's own. A part that fails has an `error`, and the others go on.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from slipstream.core.environment import prepare_environment  # noqa: E402

prepare_environment()

import torch  # noqa: E402
from random_model import ModelSize, model_size, random_text_encoder, random_vae  # noqa: E402
from results import revision  # noqa: E402
from synthetic_dataset import caption, picture  # noqa: E402
from torch import Tensor  # noqa: E402

from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.core.hashing import hash_text  # noqa: E402
from slipstream.data.background import num_cores  # noqa: E402
from slipstream.data.cache import TensorCache  # noqa: E402
from slipstream.data.dataset import Dataset, build_dataset  # noqa: E402
from slipstream.data.encode import encode_captions, encode_latents  # noqa: E402
from slipstream.data.pixel_batches import Pace, batches_by_bucket, entries_of, pace_on, read_batches  # noqa: E402
from slipstream.data.settings import DatasetSettings  # noqa: E402
from slipstream.models.z_image.family import memory_format_on  # noqa: E402
from slipstream.models.z_image.latents import ImageCodec  # noqa: E402
from slipstream.models.z_image.loading import load_tokenizer  # noqa: E402
from slipstream.models.z_image.resolve import TINY_ROOT  # noqa: E402
from slipstream.models.z_image.text import TOKENS_AT_ONCE, TextEncoder  # noqa: E402
from slipstream.previews.drawing import draw  # noqa: E402
from slipstream.previews.png import save_png  # noqa: E402
from slipstream.previews.render import LATENT_CHANNELS, Picture, Renderer  # noqa: E402

RESOLUTIONS = (512, 768, 1024)
SIZES = ((1152, 896), (1024, 1024), (1216, 832), (1600, 1200), (2048, 1536), (2304, 1728))
"""Pixels of the files: 1 to 4 megapixels."""
PREVIEW_SIDES = (512, 1024)
PREVIEW_STEPS = 8
CACHE_ENTRIES = 10_000
GIB = 2**30
MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What to measure, where, and where the figures go."""

    size: ModelSize
    device: torch.device
    folder: Path
    options: argparse.Namespace
    report: Figures

    @property
    def dtype(self) -> torch.dtype:
        """Of weights: what the product would choose."""
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    def attempt(self, name: str, part: Callable[[Figures], None]) -> None:
        """Run a part; its figures, its peak of memory and what went wrong with it go into the report."""
        figures: Figures = {}
        self.report[name] = figures
        self.release()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        started = time.perf_counter()
        try:
            part(figures)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other parts go on
            figures["error"] = f"{type(error).__name__}: {error}"
        if self.device.type == "cuda":
            figures["peak_gib"] = round(torch.cuda.max_memory_allocated(self.device) / GIB, 2)
        figures["seconds"] = round(time.perf_counter() - started, 2)
        print(name, figures, flush=True)
        write_json(self.options.out, self.report)

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def release(self) -> None:
        """Give freed memory back, so that parts do not see each other's."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def timed(self, figures: Figures, name: str, count: int) -> Iterator[None]:
        """Things a second, device work included."""
        self.wait()
        started = time.perf_counter()
        yield
        self.wait()
        figures[name] = round(count / (time.perf_counter() - started), 2)


def write_files(folder: Path, count: int) -> Path:
    """Pictures of all sizes in turn, every third a PNG."""
    folder.mkdir(parents=True)

    def write(number: int) -> None:
        width, height = SIZES[number % len(SIZES)]
        image = picture(number, max(width, height)).crop((0, 0, width, height))
        if number % 3 == 2:
            image.save(folder / f"{number:04d}.png", compress_level=4)
        else:
            image.save(folder / f"{number:04d}.jpg", quality=92)

    with ThreadPoolExecutor(num_cores()) as pool:
        list(pool.map(write, range(count)))
    return folder


def cache_entries(bench: Bench, figures: Figures) -> None:
    """How long it takes to find that thousands of entries are there, in milliseconds."""
    keys = [hash_text(str(number)) for number in range(CACHE_ENTRIES)]
    cache = TensorCache(bench.folder / "many", "texts")

    def took(name: str, ask: Callable[[], object]) -> None:
        started = time.perf_counter()
        ask()
        figures[name] = round((time.perf_counter() - started) * 1000, 1)

    took("empty_ms", lambda: cache.missing(keys))
    took("write_ms", lambda: [cache.put(key, torch.zeros(16)) for key in keys])
    fresh = TensorCache(cache.root, cache.kind)
    took("first_look_ms", lambda: fresh.missing(keys))
    took("second_look_ms", lambda: fresh.missing(keys))


def read_only(bench: Bench, dataset: Dataset, figures: Figures) -> None:
    """Opening, decoding and scaling alone, by number of threads."""
    batches = batches_by_bucket(entries_of(dataset, "random"), pace_on(bench.device).pixels_at_once)
    most = pace_on(bench.device).num_readers
    for readers in sorted({1, max(1, most // 2), most}):
        with bench.timed(figures, f"views_per_second_{readers}_threads", len(dataset.examples)):
            for _ in read_batches(batches, readers):
                pass


def encode_only(bench: Bench, codec: ImageCodec, figures: Figures) -> None:
    """Pictures a second through the VAE alone, by side, batch and layout of the weights in memory."""
    at_once = pace_on(bench.device).pixels_at_once
    for name, memory_format in MEMORY_FORMATS.items():
        codec.vae.to(memory_format=memory_format)
        for side in (resolution // bench.size.divide for resolution in RESOLUTIONS):
            for batch in sorted({1, max(1, at_once // side**2), max(1, 2 * at_once // side**2)}):
                pixels = noise(batch, 3, side, side).clamp(-1, 1).to(bench.device)
                codec.encode(pixels)
                repeats = max(2, bench.options.repeats // batch)
                with bench.timed(figures, f"{name}_{side}_batch_{batch}_per_second", repeats * batch):
                    for _ in range(repeats):
                        codec.encode(pixels)
    codec.vae.to(memory_format=memory_format_on(bench.device))


def decode_only(bench: Bench, codec: ImageCodec, figures: Figures) -> None:
    """Pictures a second out of the VAE, by side and layout of the weights in memory."""
    for name, memory_format in MEMORY_FORMATS.items():
        codec.vae.to(memory_format=memory_format)
        for side in (resolution // bench.size.divide for resolution in RESOLUTIONS):
            latents = noise(1, LATENT_CHANNELS, side // 8, side // 8).to(bench.device)
            codec.decode(latents)
            with bench.timed(figures, f"{name}_{side}_per_second", bench.options.repeats):
                for _ in range(bench.options.repeats):
                    codec.decode(latents)
    codec.vae.to(memory_format=memory_format_on(bench.device))


def encode_whole(bench: Bench, dataset: Dataset, codec: ImageCodec, figures: Figures) -> None:
    """From files to the cache: as the product does it, and one picture after the other."""
    pace = pace_on(bench.device)
    figures.update(pictures=dataset.num_images, views=len(dataset.examples), readers=pace.num_readers)
    for name, way in (
        ("product", pace),
        ("one_by_one", Pace(1, pace.num_readers)),
        ("one_by_one_1_thread", Pace(1, 1)),
    ):
        cache = TensorCache(bench.folder / name, "latents")
        with bench.timed(figures, f"{name}_views_per_second", len(dataset.examples)):
            encode_latents(dataset, codec.encode, "random", cache, ignore, bench.device, way)


def encode_texts(bench: Bench, figures: Figures) -> None:
    """From captions to the cache: in batches as on a GPU, and one by one."""
    dice = random.Random(0)
    captions = [f"{number}: {caption(dice)}" for number in range(bench.options.captions)]
    model = random_text_encoder(bench.size, bench.device, bench.dtype, None)
    encoder = TextEncoder(model, load_tokenizer(TINY_ROOT / "turbo/tokenizer"), "random", TOKENS_AT_ONCE)
    lengths = [len(encoder.token_ids(text)) for text in captions]
    figures.update(captions=len(captions), mean_tokens=round(sum(lengths) / len(lengths), 1))
    alone = replace(encoder, tokens_at_once=0)
    encoder.encode(captions[:2])
    with bench.timed(figures, "tokenize_per_second", len(captions)):
        encoder.batches(captions)
    for name, way, share in (("in_batches", encoder, captions), ("one_by_one", alone, captions[: len(captions) // 4])):
        cache = TensorCache(bench.folder / f"texts_{name}", "texts")
        with bench.timed(figures, f"{name}_per_second", len(share)):
            encode_captions(share, way.encode, "random", cache, ignore, way.batches)


def draw_previews(bench: Bench, codec: ImageCodec) -> None:
    """Seconds per picture, from noise to file, with the LoRA attached and the training adapter removed."""
    from composition import RandomTraining, training_config

    from slipstream.training.build import trained_predictor

    trained: list[RandomTraining] = []

    def load(figures: Figures) -> None:
        config = training_config(bench.folder / "runs", [f"job.device={bench.device.type}"])
        trained.append(RandomTraining(config, bench.size, bench.folder / "training"))
        figures["said"] = trained[0].said()

    bench.attempt("previews: load", load)
    if not trained:
        return
    adapted, features = trained[0].adapted, trained[0].caption_features
    renderer = Renderer(
        predict=trained_predictor(adapted), decode=codec.decode, features=lambda _: features,
        shift_at=lambda _: 3.0, device=bench.device,
    )  # fmt: skip
    for side in PREVIEW_SIDES:
        for batch in (1, 4, 8):
            pixels = side // bench.size.divide

            def part(figures: Figures, pixels: int = pixels, batch: int = batch) -> None:
                wanted = [Picture(f"{n}", "", pixels, pixels, n, PREVIEW_STEPS, 0.0) for n in range(batch)]
                with adapted.adapter.removed():
                    for name in ("first_time", "warm"):
                        seconds = drawn_in(bench, replace(renderer, max_batch=batch), wanted)
                        figures[f"{name}_seconds_per_picture"] = round(seconds / batch, 4)

            bench.attempt(f"previews: {pixels}, batch {batch}", part)


def drawn_in(bench: Bench, renderer: Renderer, wanted: list[Picture]) -> float:
    """Seconds until all files are written."""
    folder = bench.folder / "previews"
    folder.mkdir(exist_ok=True)

    def write(number: int, image: Tensor) -> None:
        save_png(folder / f"{number}.png", image, {"prompt": wanted[number].prompt})

    bench.wait()
    started = time.perf_counter()
    assert len(list(draw(renderer, wanted, write, lambda step: None))) == len(wanted)
    return time.perf_counter() - started


def noise(*shape: int) -> Tensor:
    """Seeded normal values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def ignore(done: int, total: int) -> None:
    """Nobody watches."""


def measure(bench: Bench) -> None:
    """All parts."""
    bench.attempt("cache of 10,000 entries", lambda figures: cache_entries(bench, figures))
    datasets: list[Dataset] = []

    def scan(figures: Figures) -> None:
        folder = write_files(bench.folder / "pictures", bench.options.pictures)
        with bench.timed(figures, "scanned_per_second", bench.options.pictures):
            resolutions = tuple(resolution // bench.size.divide for resolution in RESOLUTIONS)
            datasets.append(build_dataset([DatasetSettings(folder, resolutions)]))
        figures["views"] = len(datasets[0].examples)

    bench.attempt("pictures: scan", scan)
    vae: Any = random_vae(bench.size, bench.device, bench.dtype)
    codec = ImageCodec(vae.to(memory_format=memory_format_on(bench.device)), "random")
    for dataset in datasets:
        bench.attempt("pictures: read only", lambda figures, data=dataset: read_only(bench, data, figures))
    bench.attempt("pictures: encode only", lambda figures: encode_only(bench, codec, figures))
    for dataset in datasets:
        bench.attempt("pictures: whole", lambda figures, data=dataset: encode_whole(bench, data, codec, figures))
    bench.attempt("pictures: decode latents", lambda figures: decode_only(bench, codec, figures))
    bench.attempt("captions", lambda figures: encode_texts(bench, figures))
    if bench.options.previews:
        draw_previews(bench, codec)


def main(arguments: list[str] | None = None) -> int:
    """Measure; returns how many parts failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--size", choices=("real", "tiny"), help="of the models; else real on CUDA, tiny on the CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pictures", type=int, help="files; else 96 at the real size, 12 at the tiny one")
    parser.add_argument("--captions", type=int, help="else 1000 at the real size, 120 at the tiny one")
    parser.add_argument("--repeats", type=int, help="passes of a picture through the VAE; else 16, tiny 3")
    parser.add_argument("--previews", action="store_true", help="also load a transformer and draw")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    size = options.size or ("real" if device.type == "cuda" else "tiny")
    usual = (96, 1000, 16) if size == "real" else (12, 120, 3)
    for name, value in zip(("pictures", "captions", "repeats"), usual, strict=True):
        setattr(options, name, getattr(options, name) or value)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report: Figures = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {num_cores()} cores",
        "torch": torch.__version__, "revision": revision(), "size": size,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        measure(Bench(model_size(size), device, Path(folder), options, report))
    return sum("error" in part for part in report.values() if isinstance(part, dict))


if __name__ == "__main__":
    sys.exit(main())
