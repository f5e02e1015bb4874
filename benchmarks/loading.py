"""How fast the weights of a model come from the disk to the device, by precision and number of readers.

    python benchmarks/write_random_model.py /tmp/random_z_image
    python benchmarks/loading.py /tmp/random_z_image --out loading.json

Rows: the text encoder and the transformer of the folder, the transformer packed in float8, and a single float8 file
with scales in ComfyUI's form, which is written first. Each is loaded twice; the second time the disk is certainly warm.
One row that fails does not stop the others.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.core.quiet import quiet_imports  # noqa: E402
from slipstream.models.z_image.loading import load_text_encoder, load_transformer, may_be_quantized  # noqa: E402
from slipstream.models.z_image.model_folder import weight_headers  # noqa: E402
from slipstream.precision import reading  # noqa: E402

LARGEST = torch.finfo(torch.float8_e4m3fn).max


def write_float8(folder: Path, path: Path, device: torch.device) -> Path:
    """The folder's transformer as one file, the blocks' linears in float8 with one scale each."""
    pieces = reading.pieces_of(weight_headers(folder))
    tensors: dict[str, Tensor] = {}
    for piece, tensor in zip(pieces, reading.read_ahead(pieces), strict=True):
        module, _, leaf = piece.key.rpartition(".")
        if leaf == "weight" and tensor.ndim == 2 and may_be_quantized(module):
            weight = tensor.to(device).float()
            scale = weight.abs().max() / LARGEST
            tensors[piece.key] = (weight / scale).to(torch.float8_e4m3fn).cpu()
            tensors[f"{module}.weight_scale"] = scale.cpu()
        else:
            tensors[piece.key] = tensor
    save_file(tensors, path)
    return path


def measure(name: str, place: Path, load: Callable[[], nn.Module], readers: int) -> dict[str, Any]:
    """Seconds of two loads and the bytes they read."""
    gib = sum(file.path.stat().st_size for file in weight_headers(place)) / 2**30
    reading.READERS = readers
    row: dict[str, Any] = {"what": name, "readers": readers, "gib": round(gib, 3)}
    try:
        for key in ("first_seconds", "second_seconds"):
            started = time.perf_counter()
            model = load()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            row[key] = round(time.perf_counter() - started, 3)
            del model
            gc.collect()
    except Exception as error:  # noqa: BLE001 (the other rows are worth having)
        row["error"] = f"{type(error).__name__}: {error}"[:300]
    if row.get("second_seconds"):
        row["gib_per_second"] = round(gib / row["second_seconds"], 2)
    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def main() -> int:
    """Measure and write; returns how many rows failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model in diffusers' layout")
    parser.add_argument("--out", type=Path, default=Path("loading.json"))
    parser.add_argument("--readers", type=int, nargs="+", default=[4, 1, 8])
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    device, dtype = torch.device("cuda" if cuda else "cpu"), torch.bfloat16
    transformer, encoder = options.model / "transformer", options.model / "text_encoder"
    packed = options.model / "transformer_float8.safetensors"
    if not packed.is_file():
        write_float8(transformer, packed, device)
    torch.zeros(1, device=device)  # neither the device's own start nor imports are loading
    with quiet_imports():
        from diffusers import ZImageTransformer2DModel  # noqa: F401
        from transformers import AutoModel  # noqa: F401
    rows = []
    for readers in options.readers:
        rows += [
            measure("transformer bf16", transformer, lambda: load_transformer(transformer, device, dtype), readers),
            measure("transformer packed in float8", transformer,
                    lambda: load_transformer(transformer, device, dtype, "float8"), readers),
            measure("float8 file, codes kept", packed,
                    lambda: load_transformer(packed, device, dtype, "float8"), readers),
            measure("float8 file to bf16", packed, lambda: load_transformer(packed, device, dtype), readers),
            measure("text encoder bf16", encoder, lambda: load_text_encoder(encoder, device, dtype), readers),
        ]  # fmt: skip
    name = torch.cuda.get_device_name() if cuda else "CPU"
    write_json(options.out, {"device": name, "torch": torch.__version__, "rows": rows})
    return sum("error" in row for row in rows)


if __name__ == "__main__":
    raise SystemExit(main())
