"""`push`: upload a run's LoRA to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from rich.markup import escape

from slipstream.cli.screen import out
from slipstream.config.run_config import config_from_run
from slipstream.config.save import PushPanel
from slipstream.core.errors import ConfigError
from slipstream.hub.push import push_run
from slipstream.runs.create import open_run


def push_command(path: Path, repo: str | None, private: bool | None, *, new_card: bool) -> None:
    """Push and say where; what the command leaves open, the run's config says.

    Raises:
        SlipstreamError: there is nothing to push, nowhere to push it to, or the hub refuses.
    """
    run = open_run(path)
    panel = _panel(repo) if repo is not None else config_from_run(run.config).save.push_to_hub
    if panel is None:
        raise ConfigError(
            "where to push is not said", where="push", fix="give --repo owner/name, or set save.push_to_hub.repo."
        )
    chosen = panel.private if private is None else private
    out.print(f"[dim]pushing {escape(run.name)} to {escape(panel.repo)}[/dim]")
    pushed = push_run(
        run, panel.repo, private=chosen, new_card=new_card, log=lambda line: out.print(f"[dim]{escape(line)}[/dim]")
    )
    out.print(f"[bold green]pushed[/bold green]  {escape(pushed.lora)} to {escape(pushed.url)}")
    if pushed.wrote_card:
        out.print("the card has no licence yet: add one on the hub")
    else:
        out.print("the card that was there is kept (--new-card writes it anew)")


def _panel(repo: str) -> PushPanel:
    try:
        return PushPanel(repo=repo)
    except ValidationError as error:
        reason = str(error.errors()[0]["ctx"]["error"])
        raise ConfigError(reason, where="--repo", fix="write --repo owner/name.") from error
