"""Which training keeps Turbo most at the same strength of the concept: many methods, judged alike.

    python recipes/tiny_family/turbo_preserving_table.py --out turbo_preserving --task foxy --jobs 2

Every trial trains a LoRA in this process with the product's functions (a LoRA on Turbo, trigger word `felt`), and at a
few checkpoints Turbo with the LoRA draws at 8 steps, guidance 0: prompts with the trigger word, and unrelated prompts
whose subjects AND styles no method has seen. *style* is how far the former have gone from Turbo's own pictures to the
training pictures in the judge's features; the drift is Frechet's distance of the latter to Turbo's own of the same
prompts and seeds. Methods are compared at the same style, between checkpoints in a straight line.
Needs nothing but the package. Writes a JSON file a trial as soon as it is done; started again it goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from turbo_preserving_inputs import Inputs, make_inputs
from turbo_preserving_methods import METHODS, PLANS
from turbo_preserving_trial import Bench, Method, run_trial

TASKS = ("foxy", "blueprint", "robot")
BEGAN = time.monotonic()
_BENCHES: dict[tuple[str, str], Bench] = {}


def inputs_of(path: Path, task: str, num_prompts: int, device: str) -> None:
    """Make the file of a task's inputs where it is not there."""
    if not path.exists():
        torch.set_num_threads(1)
        torch.save(make_inputs(task, num_prompts, 96 if num_prompts >= 16 else 8, torch.device(device)), path)


def trial(path: str, device: str, method: Method, key: tuple[str, int, str], place: Path) -> list[dict[str, float]]:
    """One trial in a process that keeps its task's inputs; its figures are written as they come."""
    torch.set_num_threads(1)
    if (path, device) not in _BENCHES:
        inputs: Inputs = torch.load(path, weights_only=False)
        _BENCHES[path, device] = Bench(inputs, torch.device(device))
    task, seed, name = key
    about = {"task": task, "method": name, "seed": seed, "settings": asdict(method)}

    def tell(rows: list[dict[str, float]]) -> None:
        partial = place.with_suffix(".part")
        partial.write_text(json.dumps({**about, "rows": rows}))
        partial.replace(place)

    return run_trial(_BENCHES[path, device], method, seed, place.with_suffix(""), tell)


def at_style(rows: list[dict[str, float]], style: float, key: str) -> float | None:
    """A figure at a strength of style, in a straight line between checkpoints; None beyond the last.

    The start is Turbo itself: style 0, distance 0.
    """
    before = {"style": 0.0, key: 0.0}
    for row in rows:
        if row["style"] >= style > before["style"]:
            share = (style - before["style"]) / (row["style"] - before["style"])
            return before[key] + share * (row[key] - before[key])
        if row["style"] > before["style"]:
            before = row
    return None


def summary(results: Mapping[str, Mapping[str, Any]], styles: tuple[float, ...]) -> str:
    """Markdown: drift of each method at each strength, mean over seeds, and against plain training with adapter v2."""
    heading = "| method | seeds | " + " | ".join(f"drift at {s:g} (to v2)" for s in styles) + " | last: style, drift |"
    lines = [heading, "|---" * (len(styles) + 3) + "|"]
    base = {seed: [row for row in rows if "seconds" in row] for seed, rows in results.get("v2", {}).items()}

    def cells(by_seed: Mapping[str, list[dict[str, float]]]) -> list[str]:
        out = []
        for style in styles:
            values, ratios = [], []
            for seed, rows in by_seed.items():
                value = at_style(rows, style, "frechet")
                if value is not None:
                    values.append(value)
                    reference = at_style(base.get(seed, []), style, "frechet")
                    if reference:
                        ratios.append(value / reference)
            out.append(f"{sum(values) / len(values):.1f} ({', '.join(f'{r:.2f}' for r in ratios)})" if values else "-")
        return out

    for name, by_seed in results.items():
        kinds = sorted({(row.get("after", 0.0), row.get("weight", 1.0)) for rows in by_seed.values() for row in rows})
        for kind in kinds:
            chosen = {
                s: [r for r in rows if (r.get("after", 0.0), r.get("weight", 1.0)) == kind]
                for s, rows in by_seed.items()
            }
            last = [rows[-1] for rows in chosen.values() if rows]
            end = ", ".join(f"{sum(r[k] for r in last) / len(last):.2f}" for k in ("style", "frechet"))
            title = name if not kind[0] else f"{name}, projected {kind[0]:g}, weight {kind[1]:g}"
            lines.append(f"| {title} | {len(chosen)} | {' | '.join(cells(chosen))} | {end} |")
    return "\n".join(lines) + "\n"


def collect(out: Path, task: str) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Results on disk by method and seed."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for path in sorted((out / "trials").glob(f"{task}__*.json")):
        trial_ = json.loads(path.read_text())
        found.setdefault(trial_["method"], {})[str(trial_["seed"])] = trial_["rows"]
    order = {name: number for number, name in enumerate(METHODS)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], 999)))


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plan", choices=tuple(PLANS), default="search")
    parser.add_argument("--task", nargs="*", choices=TASKS, help="tasks of the plan; all when left out")
    parser.add_argument("--only", nargs="*", help="methods by name; all when left out")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--jobs", type=int, default=2, help="processes on the CPU, one thread each")
    parser.add_argument("--cuda-jobs", type=int, default=0, help="processes on the GPU")
    parser.add_argument("--minutes", type=float, default=600.0, help="no trial is begun after so long")
    parser.add_argument("--styles", type=float, nargs="+", default=[0.3, 0.45, 0.6])
    parser.add_argument("--rehearse", action="store_true", help="two updates a trial: does everything run?")
    arguments = parser.parse_args()
    methods = {n: replace(m, checkpoints=(1, 2)) if arguments.rehearse else m for n, m in METHODS.items()}
    out: Path = arguments.out
    (out / "trials").mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    plan = PLANS[arguments.plan]
    wanted = [
        (task, seed, name)
        for names, tasks, seeds in plan
        for seed in seeds
        for task in tasks
        for name in names
        if (not arguments.only or name in arguments.only) and (not arguments.task or task in arguments.task)
    ]
    place = {
        key: out / "trials" / f"{key[0]}__{key[2].replace(' ', '_').replace(',', '')}__{key[1]}.json" for key in wanted
    }
    missing = [key for key in dict.fromkeys(wanted) if not place[key].exists()]
    paths = {task: out / f"{task}_{arguments.prompts}.pt" for task in dict.fromkeys(task for task, _, _ in missing)}
    devices = ["cuda"] * arguments.cuda_jobs + ["cpu"] * arguments.jobs
    with ProcessPoolExecutor(len(TASKS), mp_context=get_context("spawn")) as pool:
        made = [pool.submit(inputs_of, path, task, arguments.prompts, devices[0]) for task, path in paths.items()]
        for future in made:
            future.result()
    print(f"{len(missing)} trials on {len(devices)} processes; inputs {time.monotonic() - BEGAN:.0f} s", flush=True)

    def work(device: str) -> None:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            while missing and time.monotonic() - BEGAN < 60 * arguments.minutes:
                key = missing.pop(0)
                task, seed, name = key
                start = time.monotonic()
                done = pool.submit(trial, str(paths[task]), device, methods[name], key, place[key])
                if (failure := done.exception()) is not None:
                    print(key, device, *traceback.format_exception(failure), flush=True)
                    continue
                rows = done.result()
                brief = "  ".join(f"{r['style']:.2f}/{r['frechet']:.0f}" for r in rows if "seconds" in r)
                took = (
                    f"{rows[0]['seconds'] / rows[0]['update'] * 1000:.0f} ms, {time.monotonic() - start:.0f} s {device}"
                )
                print(f"{task} {seed} {name}: {brief}  ({took})", flush=True)

    threads = [threading.Thread(target=work, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for task in TASKS:
        results = collect(out, task)
        if results:
            (out / f"{task}.json").write_text(json.dumps(results, indent=1) + "\n")
            print(f"\n{task}\n{summary(results, tuple(arguments.styles))}")


if __name__ == "__main__":
    main()
