"""Everything at once: step time, memory, caching, previews and start-up, as JSON files and tables.

    python benchmarks --out measured                                   # one CUDA card, about 20 minutes, 25 GB of disk
    python benchmarks --parts step product --seconds 600 --out measured
    python benchmarks --size tiny --out /tmp/measured                  # a dry run on any machine

Parts run one after the other, each in a process of its own: one that fails or takes too long leaves the others alone.
`summary.json` says how each ended; `tables.md` has the tables. Weights are random and seeded, nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from results import merge, profile_rows, revision  # noqa: E402
from tables import show, tables  # noqa: E402

from slipstream.core.atomic import write_json, write_text  # noqa: E402


@dataclass(frozen=True)
class Part:
    """A script beside this file and its arguments; `{...}` is filled in from the command line.

    Attributes:
        name: as in `--parts`.
        script: file name.
        arguments: at the real size.
        limit: seconds after which it is ended.
        tiny: arguments of the dry run that go behind those.
        cuda: whether it needs a CUDA card, and is left out of the dry run.
        needs_model: whether it reads the model that `write_random_model.py` writes.
    """

    name: str
    script: str
    arguments: tuple[str, ...]
    limit: float
    tiny: tuple[str, ...] = ()
    cuda: bool = False
    needs_model: bool = False


PARTS = (
    Part("step", "step_profile.py", ("--out", "{out}/step_profile.json", "--size", "{size}"), 300,
         ("--steps", "2", "--warm-ups", "1", "--no-profile")),
    Part("startup", "startup.py", ("--out", "{out}/startup.json"), 120, ("--repeats", "1")),
    Part("product", "whole_training.py", ("--model", "{model}", "--size", "{size}", "--out", "{out}"), 600,
         ("--steps", "6", "--skip", "0", "--pictures", "1", "--previews", "1"), needs_model=True),
    Part("caching", "caching.py", ("--out", "{out}/caching.json", "--size", "{size}", "--previews"), 240),
    Part("memory", "plan_check.py", ("--out", "{out}/memory.json", "--size", "{size}"), 900,
         ("--steps", "1", "--cases", "4")),
    Part("equality", "equality.py", ("--out", "{out}/equality.json", "--size", "{size}"), 240),
    Part("accuracy", "quantization_accuracy.py",
         ("--out", "{out}/quantization_accuracy.json", "--size", "{size}"), 150),
    Part("rows", "row_kernels.py", ("--out", "{out}/row_kernels.json"), 120, cuda=True),
    Part("float8", "float8_matmul.py", ("--out", "{out}/float8_matmul.json"), 150, cuda=True),
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    out: Path
    size: str
    work: Path
    ends: float

    @property
    def model(self) -> Path:
        """Where the random model lies, or will lie."""
        return self.work / f"random_z_image_{self.size}"

    def command(self, part: Part) -> list[str]:
        """How a part is started."""
        given = (*part.arguments, *(part.tiny if self.size == "tiny" else ()))
        filled = [text.format(out=self.out, size=self.size, model=self.model) for text in given]
        return [sys.executable, str(HERE / part.script), *filled]


def run_part(part: Part, plan: Plan) -> dict[str, Any]:
    """Run a part within what is left of the time; returns how it ended."""
    if not (HERE / part.script).is_file():
        return {"skipped": f"there is no {part.script}"}
    if part.cuda and plan.size == "tiny":
        return {"skipped": "needs a CUDA card"}
    if part.needs_model and not (plan.model / "model_index.json").is_file():
        writer = [sys.executable, str(HERE / "write_random_model.py"), str(plan.model), "--size", plan.size]
        written = run(writer, 300, plan)
        if "error" in written:
            return {"error": f"the model could not be written: {written['error']}"}
    return run(plan.command(part), part.limit, plan)


def run(command: list[str], limit: float, plan: Plan) -> dict[str, Any]:
    """Run a command; returns its seconds, and an error where there was one."""
    left = min(limit, plan.ends - time.monotonic())
    if left <= 0:
        return {"skipped": "out of time"}
    started = time.monotonic()
    try:
        code = subprocess.run(command, timeout=left, check=False).returncode
        ended = {} if code == 0 else {"error": f"ended with code {code}"}
    except subprocess.TimeoutExpired:
        ended = {"error": f"took longer than {left:.0f} s"}
    except OSError as error:
        ended = {"error": str(error)}
    return {"seconds": round(time.monotonic() - started, 1), **ended}


def gather(out: Path) -> None:
    """Rows of the profile go beside those of the trainings; then all tables are written and shown."""
    profile = out / "step_profile.json"
    if profile.is_file():
        merge(out / "step_time.json", profile_rows(json.loads(profile.read_text(encoding="utf-8"))))
    found = tables(out)
    write_text(out / "tables.md", "\n\n".join(f"## {table.name}\n\n{table.markdown()}" for table in found) + "\n")
    show(found)


def main(arguments: list[str] | None = None) -> int:
    """Run the parts; returns how many failed."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="python benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--size", choices=("real", "tiny"), default="real")
    parser.add_argument("--seconds", type=float, default=1800, help="for all parts together")
    parser.add_argument("--work", type=Path, help="folder that keeps the random model; else a temporary one")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    ended: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        plan = Plan(options.out.resolve(), options.size, work.resolve(), time.monotonic() + options.seconds)
        for part in PARTS:
            if part.name in options.parts:
                print(f"== {part.name}", flush=True)
                ended[part.name] = run_part(part, plan)
                print(f"== {part.name}: {ended[part.name]}", flush=True)
                write_json(options.out / "summary.json", {"revision": revision(), "size": options.size, "parts": ended})
    gather(options.out)
    return sum("error" in how for how in ended.values())


if __name__ == "__main__":
    sys.exit(main())
