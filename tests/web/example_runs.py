"""Run folders as workers leave them, made in a moment: for tests and for the pictures in the docs."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from slipstream.config.run_config import dump_yaml, parse_config
from slipstream.runs.layout import RunDir
from slipstream.runs.phases import PhaseSpan, append_phase
from slipstream.runs.progress import Progress, State, write_progress

PROMPTS = ("a [trigger] emoji of fox", "a [trigger] emoji of castle", "a photo of a dog")


def make_run(
    runs_dir: Path,
    name: str = "foxy",
    *,
    state: State = "finished",
    steps: int = 100,
    done: int | None = None,
    every: int = 50,
    side: int = 64,
    prompts: tuple[str, ...] = PROMPTS,
) -> RunDir:
    """A run with metrics, validation, phases, previews and checkpoints every `every` updates, a log and a report."""
    done = steps if done is None else done
    run = RunDir(runs_dir / name)
    for folder in (run.path, run.previews, run.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    config = parse_config(
        {
            "job": {"name": name, "output_dir": str(runs_dir), "trigger_word": "foxy"},
            "model": {"variant": "turbo", "name_or_path": "tiny/turbo"},
            "training": {"steps": steps},
            "datasets": [{"path": str(runs_dir.parent / "datasets" / "foxes")}],
            "sample": {"prompts": list(prompts), "width": 128, "height": 128},
        }
    )
    run.config.write_text(dump_yaml(config))
    run.metrics.write_text("".join(json.dumps(_row(step)) + "\n" for step in range(1, done + 1)))
    saved = list(range(0, done + 1, every))
    rows = ({"step": step, "loss": 0.5 + math.exp(-step / 30), "sigma_0.5": 0.5} for step in saved)
    run.validation.write_text("".join(json.dumps(row) + "\n" for row in rows))
    drift = (
        {"step": step, "score": 20 + step / 20, "light": "green", "changes": {}, "guard": None} for step in saved[1:]
    )
    run.drift.write_text("".join(json.dumps(row) + "\n" for row in drift))
    for step in saved:
        for number, prompt in enumerate(prompts):
            draw(run, step, number, prompt, side)
        if step:
            (run.checkpoints / f"{name}_{step:09d}.safetensors").write_bytes(_lora(step))
    if len(saved) > 1:
        (run.checkpoints / f"state_{saved[-1]:09d}.pt").write_bytes(b"state")
    pictures = [{"prompt": p, "width": side, "height": side, "has_trigger": "[trigger]" in p} for p in prompts]
    run.manifest.write_text(json.dumps({"sample": {"prompts": list(prompts), "pictures": pictures, "steps": 8}}))
    run.timings.write_text(json.dumps({"loading": 3.0, "previews": 2.0}))
    started = time.time() - 60
    append_phase(run.phases, PhaseSpan("loading", started, 3.0, 0))
    append_phase(run.phases, PhaseSpan("previews", started + 3, 2.0, 0))
    run.log.write_text("".join(f"{number:05d}  line of the log, ñ\n" for number in range(200)), encoding="utf-8")
    if state == "finished":
        run.lora.write_bytes(_lora(done))
    message = "it broke\n  fix: mend it" if state == "failed" else ""
    progress = Progress(
        state=state, phase="training", done=done, total=steps, step=done, steps=steps, loss=_row(max(1, done))["loss"],
        learning_rate=1e-4, seconds_per_step=0.5, eta_seconds=(steps - done) * 0.5, memory_gib=3.2, message=message,
    )  # fmt: skip
    write_progress(run, progress)
    return run


def _row(step: int) -> dict[str, float]:
    loss = 0.2 + math.exp(-step / 40) + 0.03 * math.sin(step * 1.7)
    return {"step": step, "loss": loss, "grad_norm": 0.4, "learning_rate": 1e-4, "seconds": 0.5}


def _lora(step: int) -> bytes:
    header = json.dumps({"__metadata__": {"steps": str(step)}}).encode()
    return len(header).to_bytes(8, "little") + header


def draw(run: RunDir, step: int, prompt: int, text: str = "", side: int = 64) -> Path:
    """A preview picture that differs from all others."""
    picture = Image.new("RGB", (side, side), (40 + step % 200, 60 + 50 * (prompt % 4), 150))
    inner = side * (0.15 + 0.1 * math.sin(step / 40 + prompt))
    ImageDraw.Draw(picture).ellipse((inner, inner, side - inner, side - inner), fill=(240, 150, 40 + 30 * prompt % 200))
    info = PngInfo()
    info.add_text("prompt", text)
    info.add_text("seed", "42")
    path = run.preview_image(step, prompt)
    picture.save(path, pnginfo=info)
    return path


def as_if(run: RunDir, **changes: object) -> None:
    """Change what the progress file says."""
    values = json.loads(run.progress.read_text())
    write_progress(run, dataclasses.replace(Progress(**values), **changes))
