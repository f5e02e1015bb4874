"""Uploading a run's LoRA, with a card and a few previews, to the Hugging Face hub.

The token comes from `HF_TOKEN` or the hub's own login and goes nowhere else: no config, no log, no file of a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import slipstream
from slipstream.core.errors import HubError, RunError
from slipstream.hub.card import examples_of, lora_metadata, model_card
from slipstream.hub.reach import ask
from slipstream.reports.facts import lora_to_use
from slipstream.runs.layout import RunDir

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_CARD = "README.md"
_SECONDS_TO_ANSWER = 10
"""How long a hub may stay silent before it counts as out of reach."""
_LOG_IN = "run `hf auth login`, or set HF_TOKEN to a token that may write,"
_AGAIN = "then again: slipstream push {run} --repo {repo}"


@dataclass(frozen=True)
class Pushed:
    """What was done: the repository's address, the LoRA's name in it, and whether its card was written."""

    url: str
    lora: str
    wrote_card: bool


def push_run(run: RunDir, repo: str, *, private: bool, new_card: bool, log: Callable[[str], None]) -> Pushed:
    """Upload the finished LoRA (or the newest checkpoint), the card and previews as one commit.

    The repository is made where there is none; `private` is for a new one only. A card that is there already is kept,
    because its owner may have written into it, unless `new_card`.

    Raises:
        RunError: the run has saved nothing yet.
        HubError: the hub cannot be reached or refuses; nothing of the run was changed.
    """
    found = lora_to_use(run)
    if found is None:
        raise RunError("this run has saved no LoRA yet", where=str(run.path), fix="train it first.")
    lora = run.path / found
    if lora != run.lora:
        log(f"the run is not finished: its newest checkpoint {lora.name} is pushed")
    return _speaking(run, repo, lambda api: _upload(api, run, lora, repo, private, new_card))


def _upload(api: HfApi, run: RunDir, lora: Path, repo: str, private: bool, new_card: bool) -> Pushed:
    from huggingface_hub import CommitOperationAdd

    url = str(api.create_repo(repo, private=private, exist_ok=True))
    writes_card = new_card or not api.file_exists(repo, _CARD)
    examples = examples_of(run)
    files = [CommitOperationAdd(run.lora.name, lora), *(CommitOperationAdd(one.name, one.path) for one in examples)]
    if writes_card:
        files.append(CommitOperationAdd(_CARD, model_card(run, lora, repo, examples).encode()))
    step = lora_metadata(lora).get("steps", "?")
    api.create_commit(
        repo, files, commit_message=f"{run.name} after {step} updates (slipstream {slipstream.__version__})"
    )
    return Pushed(url, run.lora.name, writes_card)


def _speaking(run: RunDir, repo: str, work: Callable[[HfApi], Pushed]) -> Pushed:
    """Do something with the hub; whatever it or the way to it says becomes a `HubError` without the token."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import disable_progress_bars

    token = get_token()
    again = _AGAIN.format(run=run.path, repo=repo)
    if not token:
        raise HubError("nobody is logged in to the hub", where=repo, fix=f"{_LOG_IN} {again}")
    disable_progress_bars()
    _require_an_answer(repo, again)
    try:
        return work(HfApi(token=token, library_name="slipstream", library_version=slipstream.__version__))
    except OfflineModeIsEnabled as error:
        raise HubError("the hub is switched off (HF_HUB_OFFLINE)", where=repo, fix=f"unset it, {again}") from error
    except HfHubHTTPError as error:
        raise _refused(error, repo, token, again) from error
    except (HTTPError, OSError, RuntimeError, ValueError, LookupError) as error:
        raise HubError(f"the upload failed: {_told(error, token)}", where=repo, fix=f"look into it, {again}") from error


def _require_an_answer(repo: str, again: str) -> None:
    """Ask the hub anything, for a few seconds. Whatever comes back is left to the work itself to meet.

    Raises:
        HubError: nothing came back.
    """
    from huggingface_hub import constants

    if ask(_SECONDS_TO_ANSWER) == "silent":
        raise HubError(
            f"the hub has not answered within {_SECONDS_TO_ANSWER} seconds ({constants.ENDPOINT})", where=repo,
            fix=f"look whether this machine may reach it, {again}",
        )  # fmt: skip


def _refused(error: Exception, repo: str, token: str, again: str) -> HubError:
    """What the hub's answer means for the user."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return HubError("the hub does not know this token (401)", where=repo, fix=f"{_LOG_IN} {again}")
    if status == 403:
        return HubError(
            "this token may not write there (403)", where=repo,
            fix=f"use a name of your own or of an organisation you belong to, and a token that may write, {again}",
        )  # fmt: skip
    return HubError(f"the hub refused ({status}): {_told(error, token)}", where=repo, fix=f"look into it, {again}")


def _told(error: Exception, token: str) -> str:
    """An error and its cause in one line, the token taken out wherever it stands."""
    causes = [error, *([error.__cause__] if error.__cause__ is not None else [])]
    text = ": ".join(" ".join(str(cause).split()) or type(cause).__name__ for cause in causes)
    return text.replace(token, "***")
