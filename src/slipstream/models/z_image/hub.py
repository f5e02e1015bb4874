"""Getting files of a Hugging Face repository: one question what is there, then only what is not on this machine yet.

`HF_HUB_OFFLINE=1`, or a hub out of reach, means the newest copy on this machine. No torch here.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from slipstream.core.errors import ModelError

OnDownload = Callable[[str, int], AbstractContextManager[Callable[[int, int], None]]]
"""(what, MiB in all) -> a block that yields `tick(done, total)` in MiB."""

_SECONDS_TO_ANSWER = 10
_POLL_SECONDS = 0.5
_MIB = 1 << 20
_SPARE_BYTES = 512 * _MIB
_LOG_IN = "log in (`hf auth login`) or set HF_TOKEN"


@dataclass(frozen=True)
class HubRepo:
    """A repository at one commit: what files it has, and how large they are.

    Attributes:
        name: `org/name`, with `@revision` where one was asked for.
        commit: the full hash.
        sizes: path -> bytes; of a copy on this machine only what was fetched.
        note: why the hub itself was not asked, empty where it was.
    """

    name: str
    repo: str
    revision: str | None
    commit: str
    sizes: Mapping[str, int]
    note: str = ""

    def has(self, path: str) -> bool:
        """Whether the repository has this file."""
        return path in self.sizes

    def under(self, folder: str) -> list[str]:
        """The files of a folder that are read here: settings, tokenizers, and safetensors."""
        kept = (".json", ".txt", ".jinja", ".model", ".safetensors")
        return [path for path in self.sizes if path.startswith(f"{folder}/") and path.endswith(kept)]


def ask_hub(repo: str, revision: str | None, where: str) -> HubRepo:
    """What the repository holds at this revision (a branch, a tag or a commit; None: the newest).

    Raises:
        ModelError: there is no such repository or revision, it is closed to this user, or nothing of it is here and the
            hub is out of reach.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    name = f"{repo}@{revision}" if revision else repo
    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=_SECONDS_TO_ANSWER)
    except OfflineModeIsEnabled:
        return _copy_here(repo, revision, where, "HF_HUB_OFFLINE is set")
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status >= 500 or status == 429:
            return _copy_here(repo, revision, where, f"the hub answers with {status}")
        raise _refused(error, name, where) from error
    except (HTTPError, OSError) as error:
        return _copy_here(repo, revision, where, f"the hub cannot be reached ({type(error).__name__})")
    except ValueError as error:
        raise ModelError(f"{name!r} is no name of a repository: {error}", where=where, fix="write org/name.") from error
    sizes = {one.rfilename: int(one.size or 0) for one in info.siblings or ()}
    return HubRepo(name, repo, revision, str(info.sha), sizes)


def fetch(hub: HubRepo, paths: Iterable[str], where: str, on_download: OnDownload | None = None) -> Path:
    """The folder in the hub's cache that holds these files of the repository, after fetching what is missing.

    Raises:
        ModelError: they cannot be had: no room, no right, no connection.
    """
    wanted = sorted(set(paths))
    snapshot = _snapshot(hub)
    missing = [path for path in wanted if snapshot is None or not (snapshot / path).is_file()]
    if not missing and snapshot is not None:
        return snapshot
    if hub.note:
        raise ModelError(
            f"{len(missing)} files of {hub.name} are not on this machine ({', '.join(missing[:3])}), and {hub.note}",
            where=where, fix="connect once, or download it elsewhere and give the folder or file.",
        )  # fmt: skip
    total = sum(hub.sizes[path] for path in missing)
    _require_room(hub, total, where)
    with (on_download or _unseen)(f"download {hub.name}", max(1, total // _MIB)) as tick:
        return _download(hub, wanted, total, where, tick)


def _unseen(what: str, total: int) -> AbstractContextManager[Callable[[int, int], None]]:
    return nullcontext(lambda done, total: None)


def _download(hub: HubRepo, paths: list[str], total: int, where: str, tick: Callable[[int, int], None]) -> Path:
    """Fetch in a thread, and tell how far it is by the sizes of the files that grow in the cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError
    from huggingface_hub.utils import disable_progress_bars

    came: list[str] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            came.append(snapshot_download(hub.repo, revision=hub.revision, allow_patterns=paths))
        except (HfHubHTTPError, HTTPError, OSError, RuntimeError, ValueError) as error:
            failed.append(error)

    disable_progress_bars()
    blobs, before = _folder(hub) / "blobs", _bytes_in(_folder(hub) / "blobs")
    thread = threading.Thread(target=work, name="download", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_SECONDS)
        tick(min(total, max(0, _bytes_in(blobs) - before)) // _MIB, max(1, total // _MIB))
    if failed:
        raise _failed(failed[0], hub, where) from failed[0]
    return Path(came[0])


def _copy_here(repo: str, revision: str | None, where: str, why: str) -> HubRepo:
    name = f"{repo}@{revision}" if revision else repo
    hub = HubRepo(name, repo, revision, _known_commit(repo, revision), {}, why)
    snapshot = _snapshot(hub)
    if snapshot is None:
        raise ModelError(
            f"{name} is not on this machine, and {why}", where=where,
            fix="check the name, then connect once (unset HF_HUB_OFFLINE), or give a folder or file of this machine.",
        )  # fmt: skip
    files = [path for path in snapshot.rglob("*") if path.is_file()]
    sizes = {path.relative_to(snapshot).as_posix(): path.stat().st_size for path in files}
    return HubRepo(name, repo, revision, snapshot.name, sizes, why)


def _folder(hub: HubRepo) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=hub.repo, repo_type="model")


def _known_commit(repo: str, revision: str | None) -> str:
    """The commit that a branch or tag meant when it was last fetched; a name that is none counts as a commit."""
    path = _folder(HubRepo(repo, repo, revision, "", {})) / "refs" / (revision or "main")
    return path.read_text(encoding="utf-8").strip() if path.is_file() else revision or "main"


def _snapshot(hub: HubRepo) -> Path | None:
    folder = _folder(hub) / "snapshots" / hub.commit
    return folder if hub.commit and folder.is_dir() else None


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # renamed just now
            continue
    return total


def _require_room(hub: HubRepo, num_bytes: int, where: str) -> None:
    place = _folder(hub)
    while not place.is_dir() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if num_bytes + _SPARE_BYTES > free:
        raise ModelError(
            f"{hub.name} needs {num_bytes / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free at {place}",
            where=where, fix="make room, or set HF_HOME to a folder on a larger disk.",
        )  # fmt: skip


def _refused(error: Exception, name: str, where: str) -> ModelError:
    """What the hub's answer means for the user."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    repo, _, revision = name.partition("@")
    if isinstance(error, GatedRepoError):
        return ModelError(
            f"{repo} is gated", where=where, fix=f"accept its terms at its page on the hub, then {_LOG_IN}."
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelError(f"{repo} has no revision {revision!r}", where=where, fix="check the part after @.")
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(
            f"the hub knows no repository {repo!r} (or it is private)", where=where,
            fix=f"check the name: a path of this machine starts with / or ./; for a private repository {_LOG_IN}.",
        )  # fmt: skip
    text = " ".join(str(error).split())[:200]
    return ModelError(f"the hub refuses {name}: {text}", where=where, fix=f"try again later, or {_LOG_IN}.")


def _failed(error: Exception, hub: HubRepo, where: str) -> ModelError:
    import errno

    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return _refused(error, hub.name, where)
    if getattr(error, "errno", None) == errno.ENOSPC:
        return ModelError(
            f"no room left while downloading {hub.name}", where=where,
            fix="make room, or set HF_HOME to a folder on a larger disk; what arrived is kept.",
        )  # fmt: skip
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return ModelError(
        f"the download of {hub.name} broke off: {text}", where=where, fix="start again: it goes on there."
    )
