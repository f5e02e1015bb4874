"""The commands as a user runs them, on the tiny family."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipstream.config.run_config import dump_yaml, load_config
from slipstream.runs.create import create_run
from slipstream.runs.layout import RunDir

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = """\
job: {{name: small, seed: 7, trigger_word: foxy, output_dir: {output}}}
model: {{variant: turbo, name_or_path: tiny/turbo, training_adapter: v2}}
target: {{rank: 4}}
save: {{every: 4, keep: 2}}
training: {{steps: 10, batch_size: 2, optimizer: adamw, learning_rate: 1e-3, ema: {{decay: 0.9}}}}
datasets: [{{path: "{data}", resolutions: [128], flip_horizontal: true}}]
sample: {{every: 5, width: 64, height: 64, prompts: ["a [trigger] emoji of pizza", "a noto emoji of fox"]}}
advanced: {{tensorboard: false}}
"""


@dataclass(frozen=True)
class Result:
    """What a command said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Product:
    """Runs `slipstream` as a user does, in a folder of its own."""

    folder: Path
    cache: Path

    @property
    def environment(self) -> dict[str, str]:
        """The child's environment."""
        return {**os.environ, "SLIPSTREAM_CACHE": str(self.cache), "COLUMNS": "200", "NO_COLOR": "1"}

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "slipstream.cli.app", *arguments]

    def __call__(self, *arguments: str) -> Result:
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=280
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def write_config(self, name: str = "run.yaml", change: Callable[[str], str] = lambda text: text) -> Path:
        """The small config, changed where a test wants it."""
        path = self.folder / name
        path.write_text(change(CONFIG.format(output=self.folder / "runs", data=EXAMPLES / "foxy_style")))
        return path

    def new_run(self, *overrides: str, change: Callable[[str], str] = lambda text: text) -> RunDir:
        """A run folder of the small config with changes, for a worker in this process or one of its own."""
        config = load_config(self.write_config(change=change), overrides)
        return create_run(self.folder / "runs", config.job.name, dump_yaml(config))[0]
