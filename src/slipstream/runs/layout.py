"""Where everything of a run lies. The worker writes; doors read, and write only into `controls/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


def preview_name(step: int, prompt: int) -> str:
    """The file name of the picture of prompt number `prompt` (from 0) after `step` updates."""
    return f"step_{step:09d}_prompt_{prompt:02d}.png"


@dataclass(frozen=True)
class RunDir:
    """`runs/<name>/` and the files in it."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name, which is the folder's."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def manifest(self) -> Path:
        """Versions, hashes, choices: what the run was made of."""
        return self.path / "manifest.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, one line an update."""
        return self.path / "metrics.jsonl"

    @property
    def validation(self) -> Path:
        """One JSON object a line, one line a measurement on held-out pictures."""
        return self.path / "validation.jsonl"

    @property
    def drift(self) -> Path:
        """One JSON object a line, one line a measurement of Turbo drift."""
        return self.path / "drift.jsonl"

    @property
    def progress(self) -> Path:
        """Where the run stands now."""
        return self.path / "progress.json"

    @property
    def timings(self) -> Path:
        """Seconds per phase."""
        return self.path / "timings.json"

    @property
    def phases(self) -> Path:
        """One JSON object a line, one line a phase: when it began and how long it took."""
        return self.path / "phases.jsonl"

    @property
    def log(self) -> Path:
        """Everything the worker said."""
        return self.path / "log.txt"

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self.path / "report.html"

    @property
    def ranking(self) -> Path:
        """What `slipstream rank` found about the checkpoints."""
        return self.path / "ranking.json"

    @property
    def ranking_page(self) -> Path:
        """The page about it."""
        return self.path / "ranking.html"

    @property
    def checkpoints(self) -> Path:
        """LoRAs and training states by step."""
        return self.path / "checkpoints"

    @property
    def previews(self) -> Path:
        """Preview pictures."""
        return self.path / "previews"

    @property
    def contact_sheet(self) -> Path:
        """Checkpoints by prompts in one picture."""
        return self.previews / "contact_sheet.png"

    @property
    def weight_sheet(self) -> Path:
        """LoRA weights by prompts in one picture."""
        return self.previews / "lora_weights.png"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def controls(self) -> Path:
        """Flags that doors set and the worker takes."""
        return self.path / "controls"

    @property
    def lock(self) -> Path:
        """Held by the worker while it runs."""
        return self.path / ".lock"

    @property
    def worker(self) -> Path:
        """Who works, or worked last, on the run, and how it ended."""
        return self.path / "worker.json"

    @property
    def lora(self) -> Path:
        """The finished LoRA."""
        return self.path / f"{self.name}.safetensors"

    def preview_image(self, step: int, prompt: int) -> Path:
        """The picture of prompt number `prompt` (from 0) after `step` updates."""
        return self.previews / preview_name(step, prompt)

    def weight_image(self, step: int, lora_scale: float, prompt: int) -> Path:
        """The picture of a prompt with the LoRA of `step` updates at a weight."""
        return self.previews / f"step_{step:09d}_lora_{lora_scale:g}_prompt_{prompt:02d}.png"
