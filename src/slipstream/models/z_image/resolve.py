"""Where each part of a Z-Image model comes from: the packaged tiny family, a diffusers folder, or a hub repository.

A base may hold its transformer only (as `ostris/Z-Image-De-Turbo` does); the other parts then come from `extras_from`.
Names: `tiny/turbo`, a folder, `org/name`, or `org/name@revision`. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import slipstream
from slipstream.core.errors import ModelError

COMPONENTS = ("transformer", "scheduler", "text_encoder", "tokenizer", "vae")
MARKER = {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}
TINY_ROOT = Path(slipstream.__file__).parent / "tiny"


@dataclass(frozen=True)
class Source:
    """One place that parts may come from: a local folder (`folder`) or a hub repository (`repo`, `revision`)."""

    name: str
    folder: Path | None = None
    repo: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class ModelParts:
    """A local folder for every component, and where it came from (`origins`: component -> source name)."""

    folders: dict[str, Path]
    origins: dict[str, str]

    def describe(self) -> list[str]:
        """One line a component: name, origin, folder."""
        return [f"{name}: {self.origins[name]} ({self.folders[name]})" for name in COMPONENTS]


def parse_source(name: str) -> Source:
    """Read a model name.

    Raises:
        ModelError: it is neither a tiny name, an existing folder, nor a repository id.
    """
    if name.startswith("tiny/"):
        folder = TINY_ROOT / name.removeprefix("tiny/").replace("-", "_")
        if not folder.is_dir():
            raise ModelError(
                f"no packaged model is called {name!r}", where="model.name_or_path",
                fix="use tiny/turbo, tiny/de-turbo or tiny/base.",
            )  # fmt: skip
        return Source(name, folder=folder)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return Source(name, folder=path.resolve())
    repo, _, revision = name.partition("@")
    if path.is_absolute() or name.startswith((".", "~")) or repo.count("/") != 1 or path.suffix == ".safetensors":
        raise ModelError(
            f"{name!r} is neither an existing model folder nor a repository id", where="model.name_or_path",
            fix="give a diffusers folder, `org/name` or `org/name@revision` of a hub, or tiny/turbo.",
        )  # fmt: skip
    return Source(name, repo=repo, revision=revision or None)


def resolve_parts(name: str, extras_from: str) -> ModelParts:
    """Find every component, downloading from the hub what is not cached yet.

    Raises:
        ModelError: the transformer is not at `name`, or a part is at neither place.
    """
    sources = [parse_source(name)]
    if extras_from != name:
        sources.append(parse_source(extras_from))
    folders: dict[str, Path] = {}
    origins: dict[str, str] = {}
    for component in COMPONENTS:
        candidates = sources[:1] if component == "transformer" else sources
        for source in candidates:
            folder = component_folder(source, component)
            if folder is not None:
                folders[component], origins[component] = folder, source.name
                break
        else:
            looked = " and ".join(source.name for source in candidates)
            raise ModelError(
                f"no {component!r} folder found in {looked}", where="model.name_or_path",
                fix="give a Z-Image model in diffusers' layout, and `model.extras_from` for what it lacks.",
            )  # fmt: skip
    return ModelParts(folders, origins)


def component_folder(source: Source, component: str) -> Path | None:
    """The local folder of one component, or None where the source does not hold it."""
    marker = MARKER.get(component, "config.json")
    if source.folder is not None:
        folder = source.folder / component
        return folder if (folder / marker).is_file() else None
    return _hub_component(source, component, marker)


def _hub_component(source: Source, component: str, marker: str) -> Path | None:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    assert source.repo is not None
    try:
        hf_hub_download(source.repo, f"{component}/{marker}", revision=source.revision)
        root = snapshot_download(source.repo, revision=source.revision, allow_patterns=[f"{component}/*"])
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{component!r} of {source.name} is not on this machine and the hub cannot be reached", where=source.name,
            fix="connect once, or download it elsewhere and give the folder as model.name_or_path.",
        ) from error  # fmt: skip
    except EntryNotFoundError:
        return None
    except GatedRepoError as error:
        raise ModelError(
            "this repository is gated", where=source.name, fix="accept its terms on its page, then set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"there is no revision {source.revision!r}", where=source.repo, fix="check the part after @."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            "the hub knows no such repository (or it is private)", where=source.name,
            fix="check model.name_or_path; for a private repository set HF_TOKEN.",
        ) from error  # fmt: skip
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"download failed: {error}", where=source.name, fix="try again; what arrived is kept."
        ) from error
    return Path(root) / component


def resolve_adapter(
    name: str, *, what: str = "training adapter", where: str = "model.training_adapter",
    fix: str = 'use "v1", "v2", "org/repo/file.safetensors" or the path of a file; "none" trains without one.',
) -> Path:  # fmt: skip
    """An adapter's local file: a local path, or `org/repo/file.safetensors[@revision]` of the hub.

    Raises:
        ModelError: the file is not there.
    """
    path = Path(name).expanduser()
    if name.startswith("tiny/"):
        path = TINY_ROOT / name.removeprefix("tiny/")
    if path.is_file():
        return path
    parts, _, revision = name.partition("@")
    pieces = parts.split("/")
    if len(pieces) < 3 or path.is_absolute() or name.startswith((".", "~", "tiny/")):
        raise ModelError(
            f"there is no {what} at {name!r}", where=where, fix=fix,
        )  # fmt: skip
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        local = hf_hub_download("/".join(pieces[:2]), "/".join(pieces[2:]), revision=revision or None)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"cannot get the {what} {name!r}: {error}", where=where,
            fix="connect once, or download the file and give its path.",
        ) from error  # fmt: skip
    return Path(local)
