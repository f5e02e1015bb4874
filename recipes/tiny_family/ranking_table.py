"""Is the checkpoint that `slipstream rank` recommends among the best, for a judge that it never saw?

    python recipes/tiny_family/ranking_table.py --out ranking --jobs 2 --threads 1 --device cpu

Every setting and seed trains a style LoRA (`slipstream train`, 24 packaged drawings in a style that Turbo has never
seen, called up by `felt`) with a checkpoint every few steps, and ranks them (`slipstream rank`). Then the judge, whose
net and labels the ranking does not use, looks at pictures of every checkpoint, Turbo at 8 steps and guidance 0, of
subjects that neither the training set nor the ranking draws:
- style: how far pictures WITH the trigger word have gone from Turbo's own towards the training pictures, in the
  judge's features (0 = Turbo's own, 1 = the training pictures);
- loss: by how much pictures WITHOUT it are less what they should be: 1 - (mean probability of the right concept with
  the LoRA / without it);
- quality = min(style, 1) - max(loss, 0).
This, and what the ranking charges for what, was fixed on a run of another seed (7).
For comparison: style less the share of Frechet's distance (pictures without the trigger word, with the LoRA to without
it; 1 = as far as the training pictures are). Writes ranking.json, .md and .svg; started again it goes on where it
stopped. `--jobs N` handles N trainings at a time, a process with `--threads` threads each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from commands import slipstream
from PIL import Image
from regularization_table import FORMS, KNOWN_STYLES, PICTURES, TRIGGER
from torch import Tensor

from slipstream.data.buckets import Bucket
from slipstream.data.transforms import to_levels
from slipstream.drawings.request import Base, LoraUse
from slipstream.evaluation.frechet import frechet_distance
from slipstream.evaluation.judge import Judge, load_judge
from slipstream.evaluation.subjects import subject_prompts
from slipstream.models.z_image.resolve import TINY_ROOT
from slipstream.previews.render import Picture, render
from slipstream.runs.layout import RunDir
from slipstream.runs.ranking import read_ranking
from slipstream.training.drawing_model import DrawingModel, Told, settle_drawing_model
from slipstream.workflows.rank import checkpoints_of

SIDE = 128
NEAR = 0.05
"""The recommended checkpoint may be this much worse than the best."""
PREVIEWS = (
    "a [trigger] emoji of dog face on a light blue background", "a [trigger] emoji of cat face",
    "a [trigger] emoji of mouse face", "a [trigger] emoji of light bulb", "a noto emoji of owl",
    "a glossy emoji of red apple",
)  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "adapter v2": {"learning_rate": 5e-4, "lr_schedule": "cosine"},
    "learning rate x 4": {"learning_rate": 2e-3, "lr_schedule": "constant"},
}


@dataclass(frozen=True)
class Task:
    """One training and its judgement."""

    out: str
    setting: str
    seed: int
    steps: int
    every: int
    prompts: int
    threads: int
    device: str

    @property
    def name(self) -> str:
        """`hot_300_seed_0`."""
        words = self.setting.replace("adapter ", "").replace("learning rate x 4", "hot")
        return f"{words}_{self.steps}_seed_{self.seed}"


def config_of(task: Task) -> dict[str, Any]:
    """The config of one training."""
    return {
        "job": {"name": task.name, "trigger_word": TRIGGER, "seed": task.seed, "device": task.device},
        "model": {"variant": "turbo", "name_or_path": "tiny/turbo", "training_adapter": "v2"},
        "target": {"rank": 16},
        "training": {"steps": task.steps, "batch_size": 2, "optimizer": "adamw", **SETTINGS[task.setting]},
        "save": {"every": task.every, "keep": 0},
        "sample": {"every": 0, "at_start": False, "width": SIDE, "height": SIDE, "prompts": list(PREVIEWS)},
        "datasets": [{"path": str(PICTURES), "resolutions": [SIDE]}],
        "advanced": {"tensorboard": False, "cache_dir": str(Path(task.out) / "cache")},
    }  # fmt: skip


@dataclass(frozen=True)
class Exam:
    """What the judge looks at: pictures with and without the trigger word, and the style's way."""

    judge: Judge
    with_trigger: tuple[Picture, ...]
    without: tuple[Picture, ...]
    right: Tensor
    own_with: Tensor
    own_without: Tensor
    own_right: float
    way: Tensor
    full_distance: float


def subjects_of(judge: Judge, count: int) -> tuple[list[str], list[str]]:
    """Concepts for pictures with and without the trigger word: nothing that is trained on or that the ranking draws."""
    seen = " ".join([*(path.stem.replace("-", " ") for path in PICTURES.glob("*.png")), *PREVIEWS,
                     *subject_prompts(is_tiny=True)])  # fmt: skip
    concepts = [concept for concept in judge.concepts if concept not in seen]
    random.Random(1).shuffle(concepts)
    return concepts[:count], concepts[count : 2 * count]


def set_exam(model: DrawingModel, count: int) -> Exam:
    """Turbo's own pictures, as the judge sees them; a LoRA must be attached, it is not used."""
    judge = load_judge(TINY_ROOT / "judge")
    named, others = subjects_of(judge, count)
    subjects = sorted(path.stem for path in PICTURES.glob("*.png"))
    captions = [(PICTURES / f"{one}.txt").read_text().strip().replace("[trigger]", TRIGGER) for one in subjects]
    with_trigger = _pictures([FORMS[n % 3].format(style=TRIGGER, concept=one) for n, one in enumerate(named)])
    without = _pictures([FORMS[n % 3].format(style=KNOWN_STYLES[n % 6], concept=one) for n, one in enumerate(others)])
    taught = _pictures(captions)
    model.encode([one.prompt for one in (*with_trigger, *without, *taught)] + [""], Told())
    training = torch.stack([_pixels(Image.open(PICTURES / f"{one}.png").convert("RGB")) for one in subjects])
    own_without = drawn(model, without, 0.0)
    features = judge.features
    right = torch.tensor([judge.concepts.index(one) for one in others])
    return Exam(
        judge=judge,
        with_trigger=with_trigger,
        without=without,
        right=right,
        own_with=features(drawn(model, with_trigger, 0.0)),
        own_without=features(own_without),
        own_right=_probability(judge, own_without, right),
        way=features(training).mean(0) - features(drawn(model, taught, 0.0)).mean(0),
        full_distance=frechet_distance(features(training), features(own_without)),
    )


def judged(exam: Exam, model: DrawingModel) -> dict[str, float]:
    """The judge's figures of the attached LoRA."""
    features, way = exam.judge.features, exam.way
    without = drawn(model, exam.without, 1.0)
    moved = features(drawn(model, exam.with_trigger, 1.0)).mean(0) - exam.own_with.mean(0)
    style = float(moved @ way / way.square().sum())
    loss = 1 - _probability(exam.judge, without, exam.right) / exam.own_right
    distance = frechet_distance(features(without), exam.own_without) / exam.full_distance
    return {
        "style": style, "loss": loss, "distance": distance, "quality": min(style, 1.0) - max(loss, 0.0),
        "quality_by_distance": min(style, 1.0) - distance,
    }  # fmt: skip


def drawn(model: DrawingModel, pictures: tuple[Picture, ...], scale: float) -> Tensor:
    """(N, 3, H, W) in [0, 1] on the CPU."""
    asked = [Picture(one.prompt, "", SIDE, SIDE, one.seed, 8, 0.0, scale) for one in pictures]
    images = dict(render(model.renderer(max_batch=16), asked))
    return torch.stack([images[number].cpu() for number in range(len(asked))])


def _pictures(prompts: list[str]) -> tuple[Picture, ...]:
    return tuple(Picture(prompt, "", SIDE, SIDE, 42 + number, 8, 0.0) for number, prompt in enumerate(prompts))


def _pixels(picture: Image.Image) -> Tensor:
    return torch.from_numpy(to_levels(picture, Bucket(SIDE, SIDE), flip=False)).permute(2, 0, 1).float() / 255


def _probability(judge: Judge, images: Tensor, right: Tensor) -> float:
    """Mean probability of the right concept."""
    return float(judge.concept_logits(images).softmax(1).gather(1, right[:, None]).mean())


def measure(task: Task) -> dict[str, Any]:
    """Train, judge, rank; what is there already is kept (without `ranking.json` a run is ranked anew)."""
    torch.set_num_threads(task.threads)
    out = Path(task.out)
    run, kept = RunDir(out / "runs" / task.name), out / f"{task.name}_judged.json"
    if not run.lora.exists():
        (out / f"{task.name}.yaml").write_text(json.dumps(config_of(task), indent=2), encoding="utf-8")
        slipstream(out, "train", f"{task.name}.yaml", "--fresh", threads=task.threads)
    if not kept.exists():
        kept.write_text(json.dumps(judge_all(task, run), indent=1) + "\n", encoding="utf-8")
    if read_ranking(run) is None:
        slipstream(out, "rank", str(run.path), "--device", task.device, threads=task.threads)
    ranking, judged_rows = read_ranking(run), json.loads(kept.read_text(encoding="utf-8"))
    assert ranking is not None
    figures = ("strength", "taught", "drift", "leak_unrelated", "price", "score")
    rows = [
        {"step": ranked["step"], **{key: ranked[key] for key in figures}, **seen}
        for ranked, seen in zip(ranking["checkpoints"], judged_rows, strict=True)
    ]
    chosen = ranking["recommended"]
    found = {"setting": task.setting, "seed": task.seed, "recommended": chosen["step"], "weight": chosen["weight"],
             "seconds_of_rank": ranking["seconds"], **outcome(rows, chosen["step"]), "checkpoints": rows}  # fmt: skip
    print(task.name, {key: found[key] for key in ("recommended", "best", "share_of_best")}, flush=True)
    return found


def judge_all(task: Task, run: RunDir) -> list[dict[str, float]]:
    """The judge's figures of every checkpoint, by step."""
    checkpoints = checkpoints_of(run)
    model = settle_drawing_model(Base("tiny/turbo", "tiny/turbo"), task.device, Told())
    model.use([LoraUse(checkpoints[0].path)], Told())
    exam = set_exam(model, task.prompts)
    rows = []
    for checkpoint in checkpoints:
        model.use([LoraUse(checkpoint.path)], Told())
        rows.append(judged(exam, model))
    return rows


def outcome(rows: list[dict[str, float]], recommended: float) -> dict[str, Any]:
    """The recommended checkpoint's share of the best quality, and that of simpler rules."""

    def share(step: float, key: str) -> float:
        return next(row[key] for row in rows if row["step"] == step) / max(row[key] for row in rows)

    qualities = [row["quality"] for row in rows]
    return {
        "best": max(rows, key=lambda row: row["quality"])["step"],
        "share_of_best": share(recommended, "quality"),
        "share_of_best_by_distance": share(recommended, "quality_by_distance"),
        "last": share(rows[-1]["step"], "quality"),
        "middle": share(rows[len(rows) // 2]["step"], "quality"),
        "strongest_in_captions": share(max(rows, key=lambda row: row["taught"])["step"], "quality"),
        "average_checkpoint": fmean(qualities) / max(qualities),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: one row a training."""
    lines = [
        "| setting, seed | recommended | the judge's best | share of the best | by distance | last | average |",
        "|---" * 7 + "|",
    ]
    for one in results:
        shares = (one[key] for key in ("share_of_best", "share_of_best_by_distance", "last", "average_checkpoint"))
        cells = " | ".join(f"{share:.0%}" for share in shares)
        lines.append(f"| {one['setting']}, {one['seed']} | {one['recommended']} | {one['best']:g} | {cells} |")
    within = sum(one["share_of_best"] >= 1 - NEAR for one in results)
    lines.append(f"\nWithin {NEAR:.0%} of the best: {within} of {len(results)}.\n")
    return "\n".join(lines)


def panels_svg(results: list[dict[str, Any]]) -> str:
    """Per training: the judge's quality over steps, the recommended checkpoint ringed, the best one filled."""
    width, height, across = 220, 130, 3
    parts = []
    for number, one in enumerate(results):
        left, top = (number % across) * width, (number // across) * height
        rows = one["checkpoints"]
        most = max(1e-6, *(row["quality"] for row in rows))
        last = rows[-1]["step"]
        at = {row["step"]: (left + 20 + 180 * row["step"] / last,
                            top + 115 - 85 * max(0.0, row["quality"]) / most) for row in rows}  # fmt: skip
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at.values())
        floor = top + 115 - 85 * (1 - NEAR)
        best, ring = at[one["best"]], at[one["recommended"]]
        title = f"{one['setting']}, seed {one['seed']}: {one['share_of_best']:.0%}"
        parts.append(
            f'<text x="{left + 20}" y="{top + 16}">{title}</text>'
            f'<line x1="{left + 20}" x2="{left + 200}" y1="{floor:.1f}" y2="{floor:.1f}" stroke="#888" '
            f'stroke-dasharray="3 3"/><polyline points="{line}" fill="none" stroke="#3f7cf4" stroke-width="1.6"/>'
            f'<circle cx="{best[0]:.1f}" cy="{best[1]:.1f}" r="3.5" fill="#3f7cf4"/>'
            f'<circle cx="{ring[0]:.1f}" cy="{ring[1]:.1f}" r="7" fill="none" stroke="#e0604f" stroke-width="2"/>'
        )
    rows_down = -(-len(results) // across)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * across} {height * rows_down}" '
        f'font-family="sans-serif" font-size="11" fill="#777">{"".join(parts)}</svg>\n'
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--every", type=int, default=40, help="steps between two checkpoints")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=128, help="prompts of each kind for the judge")
    parser.add_argument("--only", nargs="*", help="settings by name; all when left out")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser.parse_args()


def main() -> None:
    """Train, rank, judge, write."""
    arguments = parse()
    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    tasks = [
        Task(str(out), setting, seed, arguments.steps, arguments.every, arguments.prompts, arguments.threads,
             arguments.device)
        for seed in range(arguments.seeds)
        for setting in SETTINGS
        if not arguments.only or setting in arguments.only
    ]  # fmt: skip
    with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = sorted(pool.map(measure, tasks), key=lambda one: (one["setting"], one["seed"]))
    settings = {key: value for key, value in asdict(tasks[0]).items() if key in ("steps", "every", "prompts", "device")}
    (out / "ranking.json").write_text(json.dumps({**settings, "results": results}, indent=1) + "\n", encoding="utf-8")
    (out / "ranking.md").write_text(table(results), encoding="utf-8")
    (out / "ranking.svg").write_text(panels_svg(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
