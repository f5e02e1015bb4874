"""The drift guard on trainings that are too hot: final drift, and how strong the style came out.

    python recipes/tiny_family/drift_guard.py --out drift_guard --jobs 15

A style LoRA is trained (`slipstream train`, Turbo with adapter v2) at the usual learning rate, at 4 and at 16 times of
it, and at those with the guard (`training.drift.guard: lower_learning_rate`). Drift is the run's own last measurement.
Then Turbo with the LoRA draws subjects that were not trained on, with the trigger word, and the judge says how far they
went from Turbo's own pictures to the style (regularization_table.py explains the measure: 0 = Turbo's own, 1 = the
training pictures). Writes drift_guard.json and .md; started again it goes on where it stopped. `--jobs N` trains and
draws N at a time: 15 of about 3 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from commands import by_seed, draw, seeds_table, slipstream
from drift_styles import STYLES
from PIL import Image
from regularization_table import PICTURES, STYLE_SET, TRIGGER, Probe, judged, turbo_itself, write_inputs

from slipstream.evaluation.judge import load_judge
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.runs.drift import read_rows

USUAL_RATE = 1e-3
EVERY = 25
LIMIT = 20.0
"""About what the usual rate comes to, so that the guard does all it can."""
VARIANTS = {
    "the usual rate": (1, "off"),
    "4 x the rate": (4, "off"),
    "4 x the rate, guard from 20": (4, "lower_learning_rate"),
    "16 x the rate": (16, "off"),
    "16 x the rate, guard from 20": (16, "lower_learning_rate"),
}
"""How hot, and the guard."""


def measure(probe: Probe, title: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Train one LoRA, draw with it, judge."""
    out, (heat, guard) = probe.out, VARIANTS[title]
    name = f"heat_{heat}_{guard}_{arguments.steps}_seed_{seed}"
    if not (out / f"runs/{name}/{name}.safetensors").exists():
        config = {
            "job": {"name": name, "trigger_word": TRIGGER, "seed": seed, "device": arguments.device},
            "model": {"variant": "turbo", "name_or_path": "tiny/turbo", "training_adapter": "v2"},
            "target": {"rank": 16},
            "training": {
                "steps": arguments.steps, "batch_size": 2, "optimizer": "adamw", "learning_rate": heat * USUAL_RATE,
                "drift": {"every": EVERY, "guard": guard, "limit": LIMIT},
            },
            "save": {"every": 0},
            "sample": {"prompts": [], "at_start": False},
            "datasets": [{"path": STYLE_SET, "resolutions": [128], "caption_dropout": 0.0}],
            "advanced": {"tensorboard": False, "cache_dir": "cache"},
        }  # fmt: skip
        (out / f"{name}.yaml").write_text(json.dumps(config, indent=2), encoding="utf-8")
        slipstream(out, "train", f"{name}.yaml", "--fresh", threads=probe.threads)
    rows = read_rows(out / f"runs/{name}/drift.jsonl")
    pictures = [
        draw(out, f"{kind}_{name}", f"{kind}_trigger.txt", f"runs/{name}", threads=probe.threads)
        for kind in ("without", "with")
    ]
    figures = {
        "drift": rows[-1]["score"], "highest": max(row["score"] for row in rows),
        "rate": rows[-1]["rate_factor"], **judged(probe, *pictures),
    }  # fmt: skip
    print(title, seed, {key: round(value, 3) for key, value in figures.items()}, flush=True)
    return figures


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=96, help="prompts of each kind")
    parser.add_argument("--style", choices=tuple(STYLES), default="foxy")
    parser.add_argument("--only", nargs="*", help="variants by name; all when left out")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    parser.add_argument("--device", default="cpu", help="job.device of the trainings")
    return parser.parse_args()


def main() -> None:
    """Train, draw, judge, write."""
    arguments = parse()
    out: Path = arguments.out.resolve()
    torch.set_num_threads(arguments.threads)
    judge = load_judge(TINY_ROOT / "judge")
    write_inputs(out, judge, arguments.prompts)
    for path in sorted(PICTURES.glob("*.png")):
        STYLES[arguments.style](Image.open(path)).save(out / STYLE_SET / path.name)
    chosen = [title for title in VARIANTS if not arguments.only or title in arguments.only]
    probe = turbo_itself(out, judge, arguments.threads)
    results = by_seed(
        lambda title, seed: measure(probe, title, seed, arguments), chosen, arguments.seeds, arguments.jobs
    )
    forms = {"drift": "{:.1f}", "highest": "{:.1f}", "rate": "{:.2f}", "style": "{:.0%}", "bleed": "{:.0%}"}
    heading = (
        f"| {arguments.steps} steps with adapter v2 | drift at the end | highest | rate at the end, of what was set | "
        "style, with the trigger word | bleed, without it |"
    )
    table = seeds_table(heading, forms, results)
    settings = {key: getattr(arguments, key) for key in ("steps", "seeds", "prompts", "style")}
    (out / "drift_guard.json").write_text(json.dumps({**settings, "results": results}, indent=2) + "\n")
    (out / "drift_guard.md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
