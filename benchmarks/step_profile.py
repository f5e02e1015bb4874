"""Times the update on random weights of the real size and says which kernels it spends its time in.

    python benchmarks/step_profile.py --out profile.json                       # bf16 and float8, one CUDA card
    python benchmarks/step_profile.py --modes bf16 --resolutions 1024 --steps 30 --out profile.json
    python benchmarks/step_profile.py --size tiny --out /tmp/profile.json      # a dry run on any machine

Everything but the weights is the product's own (`composition.py`). All resolutions are timed before any is profiled,
since a profiler slows down what runs after it. Every mode runs in a process of its own, so that one
that fails, hangs or leaves memory behind does not reach the others; JSON is written after every resolution.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from slipstream.core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402
from composition import RandomTraining, training_config  # noqa: E402
from kernel_times import Kernels, lines, summary  # noqa: E402
from random_model import ADAPTER_RANKS, model_size  # noqa: E402
from results import revision  # noqa: E402

from slipstream.core.atomic import write_json  # noqa: E402
from slipstream.training.loop import TrainingJob  # noqa: E402

GIB = 2**30


class Profile:
    """One mode: a training, and the file that its figures go to."""

    def __init__(self, options: argparse.Namespace, mode: str, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.kernels = Kernels()
        overrides = [
            f"quantization.transformer={mode}", f"target.rank={options.rank}", f"job.device={options.device}",
            f"training.gradient_checkpointing={options.checkpointing}", f"training.optimizer={options.optimizer}",
            f"training.batch_size={options.batch}", *options.set,
        ]  # fmt: skip
        size = model_size(options.size)
        self.divide = size.divide
        started = time.perf_counter()
        self.training = RandomTraining(training_config(folder, overrides), size, folder)
        self.device = self.training.setting.compute.device
        self.cuda = self.device.type == "cuda"
        self.report: dict[str, Any] = {
            "mode": mode, "device": self.training.setting.compute.reasons[0].removeprefix("device: "),
            "torch": torch.__version__, "revision": revision(), "size": options.size, "batch": options.batch,
            "rank": options.rank, "adapter_rank": ADAPTER_RANKS[options.size], "optimizer": options.optimizer,
            "checkpointing": options.checkpointing, "load_seconds": round(time.perf_counter() - started, 2),
            "said": self.training.said(), "resolutions": {},
        }  # fmt: skip

    def measure(self, resolution: int) -> dict[str, Any]:
        """Warm-up and timed steps; an error ends this resolution alone."""
        figures: dict[str, Any] = {}
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            with self.training.job(resolution // self.divide) as job:
                started = time.perf_counter()
                for _ in range(self.options.warm_ups):
                    job.update()
                self._settle(job)
                figures["warm_up_seconds"] = round(time.perf_counter() - started, 2)
                figures |= self._time(job)
                if self.cuda:
                    figures["peak_gib"] = round(torch.cuda.max_memory_allocated(self.device) / GIB, 2)
                    figures["reserved_gib"] = round(torch.cuda.max_memory_reserved(self.device) / GIB, 2)
        except Exception as error:  # noqa: BLE001 - the other resolutions are still measured
            figures |= told(error)
        return figures

    def profile(self, resolution: int) -> dict[str, Any]:
        """One step as it runs, and before it one without CUDA graphs: only there kernels are seen with their shapes."""
        figures: dict[str, Any] = {}
        for name, graphs in (("one_step_without_graphs", False), ("one_step", True)):
            try:
                with self.training.job(resolution // self.divide, graphs=graphs) as job:
                    job.update()
                    self._settle(job)
                    figures[name] = self._profile(job, f"{resolution}{'' if graphs else '_without_graphs'}")
            except Exception as error:  # noqa: BLE001 - two copies of the activations may not fit
                figures[name] = told(error)
            if self.cuda:
                torch.cuda.empty_cache()
        return figures

    def _settle(self, job: TrainingJob) -> None:
        """Until every update is done and its figures are logged."""
        job.settle()
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def _time(self, job: TrainingJob) -> dict[str, Any]:
        """Time from step to step on the device, and on the host, without waiting in between."""
        marks, host = [], [time.perf_counter()]
        for number in range(self.options.steps + 1):
            if number:
                job.update()
                host.append(time.perf_counter())
            if self.cuda:
                mark = torch.cuda.Event(enable_timing=True)
                mark.record()
                marks.append(mark)
        self._settle(job)
        total = (time.perf_counter() - host[0]) / self.options.steps * 1000
        on_host = [(after - before) * 1000 for before, after in pairwise(host)]
        steps = [before.elapsed_time(after) for before, after in pairwise(marks)] or on_host
        return {
            **spread(steps, "ms_per_step"), "ms_per_step_mean": round(total, 2), "steps": len(steps),
            **spread(on_host, "host_ms_per_step"),
        }  # fmt: skip

    def _profile(self, job: TrainingJob, name: str) -> dict[str, Any]:
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self.cuda:
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities, record_shapes=True) as profiler:
            job.update()
            self._settle(job)
        traces = self.options.traces or self.folder
        traces.mkdir(parents=True, exist_ok=True)
        trace = traces / f"{self.report['mode']}_{name}.json"
        profiler.export_chrome_trace(str(trace))
        return summary(trace, self.kernels)


def told(error: Exception) -> dict[str, Any]:
    """An error as figures."""
    return {
        "error": f"{type(error).__name__}: {str(error)[:300]}", "traceback": traceback.format_exc().splitlines()[-12:],
    }  # fmt: skip


def spread(values: list[float], name: str) -> dict[str, float]:
    """Median, 10th and 90th percentile."""
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    tenth, middle, ninetieth = torch.tensor(values, dtype=torch.float64).quantile(levels).tolist()
    return {f"{name}_median": round(middle, 2), f"{name}_p10": round(tenth, 2), f"{name}_p90": round(ninetieth, 2)}


def run_mode(options: argparse.Namespace, mode: str, out: Path) -> dict[str, Any]:
    """Everything about one mode, in this process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        profile = Profile(options, mode, folder)
        for line in profile.report["said"]:
            print(f"  {line}", flush=True)
        for resolution in options.resolutions:
            figures = profile.measure(resolution)
            profile.report["resolutions"][str(resolution)] = figures
            write_json(out, [profile.report])
            show(mode, resolution, figures)
        for resolution in options.resolutions if options.profile else ():
            figures = profile.profile(resolution)
            profile.report["resolutions"][str(resolution)] |= figures
            write_json(out, [profile.report])
            for name, found in figures.items():
                print("\n".join(lines(f"{mode} {resolution} {name}", found)), flush=True)
        return profile.report


def show(mode: str, resolution: int, figures: dict[str, Any]) -> None:
    """Print what was found."""
    if "ms_per_step_median" in figures:
        print(
            f"{mode} {resolution}: {figures['ms_per_step_median']} ms a step (p10 {figures['ms_per_step_p10']}, p90 "
            f"{figures['ms_per_step_p90']}, mean {figures['ms_per_step_mean']}; host "
            f"{figures['host_ms_per_step_median']}), warm-up {figures['warm_up_seconds']} s, peak "
            f"{figures.get('peak_gib', '-')} GiB",
            flush=True,
        )
    if "error" in figures:
        print(f"{mode} {resolution}: {figures['error']}", *figures["traceback"], sep="\n  ", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Step time and kernels of a training on random weights.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--size", choices=("real", "tiny"), default="real", help="size of the random model")
    parser.add_argument("--device", default="auto", help="as in job.device")
    parser.add_argument("--modes", nargs="+", default=["bf16", "float8"], help="as in quantization.transformer")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[512, 768, 1024])
    parser.add_argument("--steps", type=int, default=20, help="timed updates per resolution")
    parser.add_argument("--warm-ups", type=int, default=5, help="updates before those")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--optimizer", default="adamw", help="as in training.optimizer")
    parser.add_argument("--checkpointing", default="none", help="as in training.gradient_checkpointing")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change to the config")
    parser.add_argument("--no-profile", dest="profile", action="store_false", help="times alone")
    parser.add_argument("--traces", type=Path, help="folder to keep the traces in, for a trace viewer")
    parser.add_argument("--seconds", type=float, default=120, help="a mode that takes longer is ended")
    parser.add_argument("--in-this-process", action="store_true", help="no process for each mode")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure every mode; returns how many modes and resolutions could not be measured."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parse(given)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.in_this_process:
        return failures([run_mode(options, mode, options.out) for mode in options.modes])
    reports: list[dict[str, Any]] = []
    for mode in options.modes:
        part = options.out.with_suffix(f".{mode}.json")
        command = [sys.executable, __file__, *given, "--modes", mode, "--in-this-process", "--out", str(part)]
        error = {}
        try:
            subprocess.run(command, timeout=options.seconds, check=False)
        except subprocess.TimeoutExpired:
            error = {"error": f"took longer than {options.seconds:.0f} s"}
        reports.append(written(part, mode) | error)
        write_json(options.out, reports)
    return failures(reports)


def failures(reports: list[dict[str, Any]]) -> int:
    """How many modes and resolutions have an error."""
    return sum("error" in figures for report in reports for figures in (report, *report["resolutions"].values()))


def written(part: Path, mode: str) -> dict[str, Any]:
    """What a mode wrote before it ended, for whatever reason."""
    if not part.is_file():
        return {"mode": mode, "resolutions": {}, "error": "ended before anything was measured"}
    (report,) = json.loads(part.read_text(encoding="utf-8"))
    part.unlink()
    return report


if __name__ == "__main__":
    sys.exit(main())
