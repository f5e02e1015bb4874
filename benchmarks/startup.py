"""How long the commands take that come before a training: `slipstream --help`, `plan`, and the imports of a worker.

    python benchmarks/startup.py --out startup.json                            # with the tiny family
    python benchmarks/startup.py --model /tmp/random_z_image --out startup.json

The time until the first update is measured by `whole_training.py`, which trains.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from results import revision
from synthetic_dataset import write_pictures
from whole_training import COMMAND

from slipstream.config.presets import preset_text
from slipstream.core.atomic import write_json

IMPORTS = "import slipstream.training.build"


def seconds_of(command: list[str], repeats: int) -> dict[str, Any]:
    """The first run's seconds (cold where nothing ran before it) and the median of the others."""
    times, code, said = [], 0, ""
    for _ in range(repeats + 1):
        started = time.perf_counter()
        done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        times.append(time.perf_counter() - started)
        code, said = code or done.returncode, done.stdout
    figures: dict[str, Any] = {"first": round(times[0], 3), "median": round(median(times[1:]), 3), "runs": repeats}
    return figures | ({"error": said.splitlines()[-5:]} if code else {})


def write_config(folder: Path, model: Path | None) -> Path:
    """A config for `plan` with a few pictures."""
    config: dict[str, Any] = yaml.safe_load(preset_text("vram_80gb"))
    side = 64 if model is None else 512
    config["model"] |= {"name_or_path": str(model or "tiny/turbo"), "training_adapter": "none"}
    config["quantization"] = {"transformer": "auto", "text_encoder": "auto"}
    pictures = write_pictures(folder / "pictures", 10, side)
    config["datasets"] = [{"path": str(pictures), "resolutions": [side]}]
    config["sample"] |= {"width": side, "height": side}
    config["advanced"] = {"cache_dir": str(folder / "cache")}
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def main(arguments: list[str] | None = None) -> int:
    """Measure and write; returns how many commands failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="a folder that write_random_model.py wrote; else tiny/turbo")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as temporary:
        config = write_config(Path(temporary), options.model.resolve() if options.model else None)
        commands = {
            "slipstream --help": [*COMMAND, "--help"],
            "slipstream plan": [*COMMAND, "plan", str(config)],
            "imports of a worker": [sys.executable, "-c", IMPORTS],
        }
        seconds = {name: seconds_of(command, options.repeats) for name, command in commands.items()}
    for name, figures in seconds.items():
        print(f"{name:22} first {figures['first']:.2f} s, then {figures['median']:.2f} s {figures.get('error', '')}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, {"revision": revision(), "model": str(options.model or "tiny/turbo"), "seconds": seconds})
    return sum("error" in figures for figures in seconds.values())


if __name__ == "__main__":
    sys.exit(main())
