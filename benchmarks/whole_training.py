"""Trains as a user does, with `slipstream train` on a whole random model, and reads off what it took.

    python benchmarks/write_random_model.py /tmp/random_z_image
    python benchmarks/whole_training.py --model /tmp/random_z_image --out benchmarks/results
    python benchmarks/whole_training.py --model /tmp/tiny_z_image --size tiny --steps 9 --out /tmp/out     # a dry run

A dataset of synthetic pictures and a config like the Turbo presets (rank 16, training adapter active, previews, saves,
logging) are written, then the command trains in a process of its own. Step times are the time between consecutive
updates in `metrics.jsonl`, without those of the first epochs (every size and caption length comes up for the first
time) and those around saves and previews; everything else is read from `phases.jsonl` and `log.txt`. A second start
with warm caches follows, for the time until its first update.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import yaml
from random_model import ADAPTER_RANKS
from results import merge, revision
from synthetic_dataset import write_pictures
from write_random_model import ADAPTER

from slipstream.config.presets import preset_text
from slipstream.config.run_config import RunConfig, parse_config
from slipstream.runs.layout import RunDir
from slipstream.runs.metrics import read_metrics
from slipstream.runs.phases import PhaseSpan, read_phases
from slipstream.runs.progress import read_progress

SOURCE = "slipstream train"
PROMPTS = (
    "a photo of [trigger] on a wooden table", "a photo of [trigger] on the moon", "a dog running on a beach",
)  # fmt: skip
COMMAND = (
    sys.executable, "-c", "from slipstream.cli.app import main; import sys; sys.argv[0] = 'slipstream'; main()",
)  # fmt: skip
"""`slipstream`, as its installed script starts it."""


@dataclass(frozen=True)
class Finished:
    """A training that ran: its folder, its config, when it was launched, how long it took, how it ended."""

    run: RunDir
    config: RunConfig
    launched: float
    seconds: float
    code: int
    said: str


def config_of(options: argparse.Namespace, mode: str, folder: Path, name: str) -> dict[str, Any]:
    """The preset for large cards with what the benchmark changes, as the YAML a user would write."""
    divide = options.divide
    config: dict[str, Any] = yaml.safe_load(preset_text("vram_80gb"))
    half = max(1, options.steps // 2)
    config["job"] |= {"name": name, "trigger_word": "zobj_lamp", "output_dir": str(folder / "runs")}
    config["model"] |= {
        "name_or_path": str(options.model), "extras_from": str(options.model),
        "training_adapter": str(options.model / ADAPTER) if options.adapter else "none",
    }  # fmt: skip
    config["quantization"] |= {"transformer": mode, "text_encoder": options.text_encoder}
    config["target"]["rank"] = options.rank
    config["save"] |= {"every": half, "keep": 2}
    config["training"] |= {
        "steps": options.steps, "batch_size": options.batch, "optimizer": options.optimizer,
        "gradient_checkpointing": options.checkpointing,
    }  # fmt: skip
    sides = [side // divide for side in options.resolutions]
    config["datasets"] = [{"path": str(folder / "pictures"), "resolutions": sides, "cache_latents": True}]
    config["sample"] |= {
        "every": half, "at_start": False, "width": 1024 // divide, "height": 1024 // divide,
        "prompts": list(PROMPTS[: options.previews]),
    }  # fmt: skip
    config["advanced"] = {"cache_dir": str(folder / f"cache_{mode}")}
    return config


def train(options: argparse.Namespace, config: dict[str, Any], folder: Path) -> Finished:
    """Run `slipstream train` on a config and wait for its end."""
    path = folder / f"{config['job']['name']}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    run = RunDir(folder / "runs" / config["job"]["name"])
    command = [*COMMAND, "train", str(path), *options.set]
    launched, output = time.time(), path.with_suffix(".out")
    with output.open("w", encoding="utf-8") as said, memory_in_use(path.with_suffix(".memory")):
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        try:
            process.wait(options.seconds)
        except subprocess.TimeoutExpired:
            said.write(f"\ntook longer than {options.seconds:.0f} s")
        finally:
            code = _end(process)
    words = output.read_text(encoding="utf-8", errors="replace")
    return Finished(run, parse_config(config, options.set), launched, time.time() - launched, code, words)


@contextmanager
def memory_in_use(path: Path) -> Iterator[None]:
    """Meanwhile the GPU's memory in use is written down five times a second, in MiB; nothing where there is none."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "200"]
    if shutil.which(command[0]) is None:
        yield
        return
    with path.open("w") as lines:
        watcher = subprocess.Popen(command, stdout=lines, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            watcher.terminate()
            watcher.wait()


def most_in_use(path: Path) -> float | None:
    """GiB at the worst moment, of the first GPU; None where nobody watched."""
    values = path.read_text().split() if path.is_file() else []
    return round(max(int(value) for value in values if value.isdigit()) / 1024, 2) if values else None


def _end(process: subprocess.Popen) -> int:
    """Its exit code; where it still runs it is asked to stop, and at the third time killed, its worker with it."""
    if process.poll() is not None:
        return process.returncode
    for patience in (10, 5, 5):
        process.terminate()
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    return process.wait()


def step_seconds(finished: Finished, skip: float) -> dict[int, list[float]]:
    """Seconds from update to update by the pictures' side; without the first `skip` epochs, and without those that a
    save or previews fall into."""
    spans = read_phases(finished.run.phases)
    seconds: dict[int, list[float]] = {}
    before: float | None = None
    for row in read_metrics(finished.run.metrics):
        side, now = int(row["width"]), row["time"]
        undisturbed = before is not None and not any(span.started < now and span.ended > before for span in spans)
        if undisturbed and row["epoch"] > skip and before is not None:
            seconds.setdefault(side, []).append(now - before)
        before = now
    return seconds


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, 10th and 90th percentile, mean in milliseconds, and of how many."""
    tenths = quantiles(seconds, n=10, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 9
    return {
        "ms_per_step_median": round(median(seconds) * 1000, 1), "ms_per_step_p10": round(tenths[0] * 1000, 1),
        "ms_per_step_p90": round(tenths[8] * 1000, 1), "ms_per_step_mean": round(sum(seconds) / len(seconds) * 1000, 1),
        "steps": len(seconds),
    }  # fmt: skip


def phases_of(finished: Finished) -> dict[str, Any]:
    """Seconds until the first update and what they went into, and what saves and previews took."""
    spans, rows = read_phases(finished.run.phases), read_metrics(finished.run.metrics)
    first = rows[0]["time"] if rows else None
    ahead = [span for span in spans if first is None or span.ended <= first]
    figures: dict[str, Any] = {"total_seconds": round(finished.seconds, 2)}
    if ahead:
        figures["until_first_phase"] = round(ahead[0].started - finished.launched, 2)
    figures["phases"] = [_told(span, finished.launched) for span in spans]
    if first is not None:
        figures["until_first_step"] = round(first - finished.launched, 2)
        figures["first_step_seconds"] = round(rows[0]["seconds"], 2)
        busy = sum(span.seconds for span in ahead) + rows[0]["seconds"]
        figures["between_phases"] = round(first - ahead[0].started - busy, 2) if ahead else None
    if pictures := len(finished.config.sample.prompts):
        drawn = [span.seconds / pictures for span in spans if span.phase == "previews"]
        figures["preview_seconds_per_picture"] = [round(seconds, 3) for seconds in drawn]
    figures["save_seconds"] = [round(span.seconds, 3) for span in spans if span.phase == "save checkpoint"]
    return figures


def _told(span: PhaseSpan, launched: float) -> dict[str, Any]:
    return {"phase": span.phase, "from": round(span.started - launched, 2), "seconds": span.seconds, "step": span.step}


def warm_up_seconds(finished: Finished, skip: float, typical: dict[int, float]) -> float:
    """What the updates of the first epochs took over their usual time: compiling, tuning, recording graphs."""
    early = [row for row in read_metrics(finished.run.metrics) if row["epoch"] <= skip and int(row["width"]) in typical]
    return round(sum(max(0.0, row["seconds"] - typical[int(row["width"])]) for row in early), 2)


def losses(run: RunDir) -> dict[str, float | None]:
    """Mean loss of the first and of the last ten updates."""
    values = [row["loss"] for row in read_metrics(run.metrics)]
    few = min(10, len(values))
    ends = {"first": values[:few], "last": values[len(values) - few :]}
    return {name: round(sum(part) / few, 5) if few else None for name, part in ends.items()}


def log_lines(run: RunDir) -> list[str]:
    """What the run said, without times of day."""
    lines = run.log.read_text(encoding="utf-8").splitlines() if run.log.is_file() else []
    return [line.partition("  ")[2] for line in lines]


def measure(options: argparse.Namespace, mode: str, folder: Path) -> bool:
    """Train in one mode, then start once more; writes rows and phases, returns whether all went well."""
    print(f"{mode}: training", flush=True)
    finished = train(options, config_of(options, mode, folder, f"product_{mode}"), folder)
    said = log_lines(finished.run)
    facts = {
        "device": _after(said, "device: ").rpartition(" (")[0].partition(", ")[0], "revision": revision(),
        "mode": mode, "size": options.size, "checkpointing": options.checkpointing, "batch": options.batch,
        "rank": options.rank, "adapter_rank": ADAPTER_RANKS[options.size] if options.adapter else 0,
        "optimizer": options.optimizer, "blocks": _after(said, "blocks: ").partition(",")[0].partition(" (")[0],
    }  # fmt: skip
    seconds = step_seconds(finished, options.skip)
    progress = read_progress(finished.run)
    peak = round(progress.memory_gib, 2) if progress is not None and progress.memory_gib else None
    rows = [
        {**facts, "resolution": side * options.divide, **spread(each), "peak_gib": peak, "source": SOURCE}
        for side, each in sorted(seconds.items())
    ]
    whole: dict[str, Any] = {
        **facts, "resolutions": options.resolutions, "exit_code": finished.code, **phases_of(finished),
        "warm_up_seconds": warm_up_seconds(finished, options.skip, {s: median(each) for s, each in seconds.items()}),
        "peak_gib": peak, "peak_device_gib": most_in_use(folder / f"product_{mode}.memory"),
        "losses": losses(finished.run), "said": said,
    }  # fmt: skip
    if finished.code != 0:
        whole["output"] = finished.said.splitlines()[-30:]
    _keep(finished.run, options.out, mode)
    if options.restart and finished.code == 0:
        whole["second_start"] = second_start(options, mode, folder)
    merge(options.out / "step_time.json", rows)
    merge(options.out / "product_run.json", [whole])
    tell(rows, whole)
    return finished.code == 0


def second_start(options: argparse.Namespace, mode: str, folder: Path) -> dict[str, Any]:
    """A short training of the same config: captions, latents and compiled kernels come from their caches."""
    print(f"{mode}: a second start", flush=True)
    config = config_of(options, mode, folder, f"again_{mode}")
    config["training"]["steps"] = 3 * len(options.resolutions)
    config["save"]["every"] = config["sample"]["every"] = 0
    config["sample"]["prompts"] = []
    finished = train(options, config, folder)
    figures = phases_of(finished) | {"exit_code": finished.code}
    return {key: value for key, value in figures.items() if key not in ("save_seconds", "preview_seconds_per_picture")}


def _after(lines: list[str], start: str) -> str:
    return next((line.removeprefix(start) for line in lines if line.startswith(start)), "")


def _keep(run: RunDir, out: Path, mode: str) -> None:
    """The run's own words beside the figures."""
    for path in (run.log, run.metrics):
        if path.is_file():
            shutil.copy(path, out / f"product_{mode}_{path.name}")


def tell(rows: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    """Print what was found."""
    for row in rows:
        print(
            f"  {row['mode']} {row['resolution']}: {row['ms_per_step_median']} ms a step "
            f"(p10 {row['ms_per_step_p10']}, p90 {row['ms_per_step_p90']}, {row['steps']} steps)"
        )
    if rows:
        print(f"  mean of the medians: {sum(row['ms_per_step_median'] for row in rows) / len(rows):.1f} ms")
    for phase in whole["phases"]:
        print(f"  {phase['from']:8.2f} s  {phase['phase']:28} {phase['seconds']:8.2f} s")
    kept = {key: value for key, value in whole.items() if key not in ("phases", "said", "output", "second_start")}
    print(f"  {kept}")
    again = whole.get("second_start", {})
    if "until_first_step" in again:
        print(f"  second start: first step after {again['until_first_step']} s", flush=True)
    if "output" in whole:
        print("  FAILED", *whole["output"], sep="\n    ", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder that write_random_model.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for step_time.json and product_run.json")
    parser.add_argument(
        "--size", choices=("real", "tiny"), default="real", help="of the model; tiny divides sides by 8"
    )
    parser.add_argument("--modes", "--mode", nargs="+", default=["bf16", "float8"], help="as quantization.transformer")
    parser.add_argument("--text-encoder", default="auto", help="as in quantization.text_encoder")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[512, 768, 1024])
    parser.add_argument("--steps", type=int, default=216, help="updates of all resolutions together")
    parser.add_argument("--skip", type=float, default=2, help="first epochs that do not count")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--previews", type=int, default=3, help="prompts drawn at half time and at the end, 0 to 3")
    parser.add_argument("--checkpointing", default="none", help="as in training.gradient_checkpointing")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--optimizer", default="adamw", help="as in training.optimizer")
    parser.add_argument("--no-adapter", dest="adapter", action="store_false", help="without a training adapter")
    parser.add_argument("--no-restart", dest="restart", action="store_false", help="without the second start")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change to the config")
    parser.add_argument("--seconds", type=float, default=240, help="a training that takes longer is ended")
    parser.add_argument("--folder", type=Path, help="where to work, and keep everything; else a temporary folder")
    options = parser.parse_args(arguments)
    options.model, options.out = options.model.resolve(), options.out.resolve()
    options.divide = 8 if options.size == "tiny" else 1
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure every mode; returns how many failed."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # which ends the training too
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        write_pictures(folder / "pictures", options.pictures, max(options.resolutions) // options.divide)
        for mode in options.modes:
            try:
                failed += not measure(options, mode, folder)
            except Exception as error:  # noqa: BLE001 - the other modes are still measured
                print(f"{mode}: {type(error).__name__}: {error}", flush=True)
                failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
