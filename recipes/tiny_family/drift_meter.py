"""The drift meter on trainings that drift and trainings that do not: what it says, how early, and how often in vain.

    python recipes/tiny_family/drift_meter.py --out drift_meter --jobs 15

Turbo without a training adapter drifts, with one it does not (drift_table.py measures that on pictures). Every setting
trains a style LoRA (`slipstream train`) with three seeds and measures drift every 25 steps. The score and the limits of
the traffic light were chosen on three styles; a fourth, blurred pastels, is held out.
`--jobs N` trains N at a time, a process with `--threads` threads each: 48 trainings of about 80 s of one core.
`--device cuda` trains on a GPU. Needs nothing but the package. Writes drift_meter.json, .md and .svg; started again it
goes on where it stopped. `--only foxy woodcut` leaves the other settings out, `--steps 150` is half as long.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import by_seed, slipstream
from drift_picture import Line, scores_svg
from drift_styles import TRIGGER, write_styles

from slipstream.evaluation.drift import RED, YELLOW
from slipstream.runs.drift import read_rows

EVERY = 25
INKS = {"none": "#c0362c", "v1": "#2f6df6", "v2": "#16794a"}


@dataclass(frozen=True)
class Setting:
    """What is trained; `calibrates` where the limits may follow from it, `hot` where a light may rightly be on."""

    style: str
    adapter: str
    learning_rate: float
    calibrates: bool = False
    hot: bool = False

    @property
    def title(self) -> str:
        """`foxy, v2, lr 0.001`."""
        return f"{self.style}, {self.adapter}, lr {self.learning_rate:g}"

    @property
    def drifts(self) -> bool:
        """Whether nothing keeps Turbo's steps."""
        return self.adapter == "none"


SETTINGS = (
    *(Setting("foxy", adapter, 1e-3, calibrates=True) for adapter in INKS),
    *(Setting("soft", adapter, 1e-3) for adapter in INKS),
    *(Setting("woodcut", adapter, 1e-3, calibrates=True) for adapter in INKS),
    Setting("foxy", "v2", 4e-3, hot=True),
    *(Setting("blueprint", adapter, 1e-3, calibrates=True) for adapter in INKS),
    *(Setting("foxy", adapter, 5e-4, calibrates=True) for adapter in ("none", "v2")),
    Setting("foxy", "v2", 2e-3, calibrates=True),
)


def train(out: Path, setting: Setting, seed: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The measurements of one training."""
    name = f"{setting.style}_{setting.adapter}_{setting.learning_rate:g}_{arguments.steps}_seed_{seed}"
    name = name.replace(".", "")
    run = out / "runs" / name
    if not (run / f"{name}.safetensors").exists():
        config = {
            "job": {"name": name, "trigger_word": TRIGGER, "seed": seed, "device": arguments.device},
            "model": {"variant": "turbo", "name_or_path": "tiny/turbo", "training_adapter": setting.adapter},
            "target": {"rank": 16},
            "training": {
                "steps": arguments.steps, "batch_size": 2, "optimizer": "adamw",
                "learning_rate": setting.learning_rate, "drift": {"every": EVERY},
            },
            "save": {"every": 0},
            "sample": {"prompts": [], "at_start": False},
            "datasets": [{"path": setting.style, "resolutions": [128], "caption_dropout": 0.0}],
            "advanced": {"tensorboard": False, "cache_dir": "cache"},
        }  # fmt: skip
        (out / f"{name}.yaml").write_text(json.dumps(config, indent=2), encoding="utf-8")
        slipstream(out, "train", f"{name}.yaml", "--fresh", threads=arguments.threads)
    rows = read_rows(run / "drift.jsonl")
    print(setting.title, seed, [row["score"] for row in rows][::2], flush=True)
    return rows


def first_step(rows: Sequence[dict[str, Any]], limit: float) -> int | None:
    """The step of the first score from a limit on."""
    return next((row["step"] for row in rows if row["score"] >= limit), None)


def judged(results: dict[Setting, list[list[dict[str, Any]]]], steps: int) -> dict[str, Any]:
    """What the measurements say about the meter."""
    third = steps // 3
    naive = {setting: runs for setting, runs in results.items() if setting.drifts}
    kept = {setting: runs for setting, runs in results.items() if not setting.drifts and not setting.hot}
    highest = max(row["score"] for setting, runs in kept.items() if setting.calibrates for run in runs for row in run)
    lowest = min(
        max(row["score"] for row in run if row["step"] <= third)
        for setting, runs in naive.items() if setting.calibrates for run in runs
    )  # fmt: skip
    ranks = [
        all(naive_run[-1]["score"] > run[-1]["score"] > 0 for run in others)
        for setting, runs in naive.items()
        for seed, naive_run in enumerate(runs)
        if (
            others := [
                found[seed]
                for one, found in kept.items()
                if (one.style, one.learning_rate) == (setting.style, setting.learning_rate)
            ]
        )
    ]

    def alarms(held_out: bool) -> dict[str, Any]:
        rows = [
            row for setting, runs in kept.items() if setting.calibrates is not held_out for run in runs for row in run
        ]
        high = sum(row["score"] >= YELLOW for row in rows)
        return {"measurements": len(rows), "alarms": high, "share": round(high / len(rows), 4)}

    return {
        "limits": {"yellow": YELLOW, "red": RED},
        "calibration": {"highest with an adapter": highest, "lowest naive within the first third": lowest},
        "naive ranks above every adapter run, which ranks above none": f"{sum(ranks)} of {len(ranks)}",
        "naive is flagged at step (yellow, red)": {
            setting.title: [[first_step(run, YELLOW), first_step(run, RED)] for run in runs]
            for setting, runs in naive.items()
        },
        "false alarms, settings that calibrate": alarms(held_out=False),
        "false alarms, held-out settings": alarms(held_out=True),
    }


def table(results: dict[Setting, list[list[dict[str, Any]]]], steps: int) -> str:
    """Markdown: one row a setting."""
    lines = [
        f"| setting | held out | at step {steps // 3 // EVERY * EVERY} | at the end | highest | first yellow |",
        "|---|---|---|---|---|---|",
    ]
    for setting, runs in results.items():
        third = [[row["score"] for row in run if row["step"] <= steps // 3][-1] for run in runs]
        cells = [third, [run[-1]["score"] for run in runs], [max(row["score"] for row in run) for run in runs]]
        texts = [", ".join(f"{value:.0f}" for value in cell) for cell in cells]
        flagged = ", ".join(str(first_step(run, YELLOW) or "never") for run in runs)
        held = "no" if setting.calibrates else "hot" if setting.hot else "yes"
        lines.append(f"| {setting.title} | {held} | {' | '.join(texts)} | {flagged} |")
    return "\n".join(lines) + "\n"


def picture(results: dict[Setting, list[list[dict[str, Any]]]]) -> str:
    """Scores over steps, a line a run."""
    lines = [
        Line(
            [row["step"] for row in run],
            [row["score"] for row in run],
            "#b07c00" if setting.hot else INKS[setting.adapter],
        )
        for setting, runs in results.items()
        for run in runs
    ]
    legend = {"no adapter": INKS["none"], "adapter v1": INKS["v1"], "adapter v2": INKS["v2"], "v2, lr x 4": "#b07c00"}
    return scores_svg(lines, legend, (YELLOW, RED))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of settings, such as `foxy, v2`")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    parser.add_argument("--device", default="cpu", help="job.device of the trainings")
    return parser.parse_args()


def main() -> None:
    """Train, measure, judge, write."""
    arguments = parse()
    out: Path = arguments.out.resolve()
    write_styles(out)
    chosen = [setting for setting in SETTINGS if setting.title.startswith(tuple(arguments.only or [""]))]
    results = by_seed(
        lambda setting, seed: train(out, setting, seed, arguments), chosen, arguments.seeds, arguments.jobs
    )
    found = {
        "steps": arguments.steps, "seeds": arguments.seeds, "every": EVERY, **judged(results, arguments.steps),
        "scores": {setting.title: [[row["score"] for row in run] for run in runs] for setting, runs in results.items()},
    }  # fmt: skip
    (out / "drift_meter.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (out / "drift_meter.md").write_text(table(results, arguments.steps), encoding="utf-8")
    (out / "drift_meter.svg").write_text(picture(results), encoding="utf-8")
    print(table(results, arguments.steps))
    print(json.dumps({key: value for key, value in found.items() if key != "scores"}, indent=2))


if __name__ == "__main__":
    main()
