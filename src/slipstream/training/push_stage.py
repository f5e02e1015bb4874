"""The last stage of a run that is to go to the hub: whatever happens there, the training stays finished."""

from __future__ import annotations

from slipstream.config.run_config import RunConfig
from slipstream.core.errors import SlipstreamError
from slipstream.hub.push import push_run
from slipstream.runs.layout import RunDir
from slipstream.training.reporter import Reporter


def push_if_asked(config: RunConfig, run: RunDir, reporter: Reporter) -> None:
    """Upload the finished LoRA where `save.push_to_hub` says so; a failure or a stop is a line in the log."""
    panel = config.save.push_to_hub
    if panel is None:
        return
    retry = f"slipstream push {run.path}"
    try:
        with reporter.phase("push to hub", may_stop=False):
            pushed = push_run(run, panel.repo, private=panel.private, new_card=False, log=reporter.log)
    except SlipstreamError as error:
        reporter.log(f"warning: the LoRA is not on the hub: {' '.join(str(error).split())} (retry: {retry})")
    except KeyboardInterrupt:
        reporter.log(f"warning: the LoRA is not on the hub: stopped while it was pushed (retry: {retry})")
    else:
        reporter.log(f"pushed to {pushed.url}")
