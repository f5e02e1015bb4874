"""A small run folder with everything that a report can show."""

import json
import math

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from slipstream.runs.layout import RunDir

PROMPTS = ["foxy, a <castle> & a moat", "foxy, a robot"]
STEPS = (0, 50, 100)


def manifest() -> dict:
    parts = ("transformer", "scheduler", "text_encoder", "tokenizer", "vae")
    return {
        "slipstream": "0.1.0",
        "created": "2026-03-01T10:00:00+00:00",
        "versions": {"python": "3.12.1", "torch": "2.11.0"},
        "device": "device: cpu",
        "choices": ["model: org/model (Z-Image Turbo)", "  vae: org/model"],
        "model": {
            "variant": "turbo",
            "label": "Z-Image Turbo",
            "name": "org/model@abc",
            "origins": dict.fromkeys(parts, "org/model@abc"),
        },
        "training_adapter": {
            "source": "v2.safetensors",
            "hash": "ab12",
            "matched": "240 of 240 modules matched",
        },
        "dataset": {
            "fingerprint": "f00d",
            "num_images": 24,
            "num_examples": 48,
            "buckets": [
                {"width": 512, "height": 512, "examples": 36},
                {"width": 640, "height": 400, "examples": 12},
            ],
            "skipped": ["broken.png: cannot be read"],
            "warnings": ["3 captions are empty"],
        },
        "lora": {"rank": 16, "alpha": 8.0, "modules": 240, "parameters": 42_500_000},
        "sample": {"prompts": PROMPTS, "steps": 8, "guidance_scale": 0.0, "width": 64, "height": 48},
    }


def draw_preview(run: RunDir, step: int, prompt: int, size=(64, 48), color=None) -> None:
    run.previews.mkdir(exist_ok=True)
    info = PngInfo()
    info.add_text("prompt", PROMPTS[prompt % 2])
    info.add_text("seed", str(1000 + prompt))
    picture = Image.new("RGB", size, color or (step % 256, 80 * prompt % 256, 40))
    picture.save(run.preview_image(step, prompt), pnginfo=info)


def fill(run: RunDir) -> None:
    """Everything that a finished run leaves behind."""
    for step in STEPS:
        for prompt in range(len(PROMPTS)):
            draw_preview(run, step, prompt)
    rows = (
        {
            "step": step,
            "loss": 0.2 + math.exp(-step / 20),
            "grad_norm": 0.5,
            "learning_rate": 1e-4,
            "seconds": 2.0,
        }
        for step in range(1, 101)
    )
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.manifest.write_text(json.dumps(manifest()))
    run.timings.write_text(json.dumps({"loading": 30.0, "training": 120.0, "previews": 20.0}))
    progress = {"state": "finished", "step": 100, "steps": 100, "seconds_per_step": 2.0, "memory_gib": 11.25}
    run.progress.write_text(json.dumps(progress))
    run.config.write_text("job:\n  name: my_style # <b>\n")
    run.lora.write_bytes(bytes(3 * 1024**2))
