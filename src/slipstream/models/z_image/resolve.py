"""Where each part of a Z-Image model comes from: the packaged tiny family, a folder, a single file, or the hub.

| name | means |
|---|---|
| `tiny/turbo` | the packaged tiny family |
| `path/to/folder` | a model in diffusers' layout |
| `path/to/file.safetensors` | a transformer in one file |
| `org/name`, `org/name@revision` | a model in diffusers' layout on the hub |
| `org/name/file.safetensors`, `...@revision` | a transformer in one file on the hub |

A base may hold its transformer only (as `ostris/Z-Image-De-Turbo` does, and every single file); the other parts then
come from `extras_from`. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import slipstream
from slipstream.core.errors import ModelError
from slipstream.models.z_image.contents import require_transformer
from slipstream.models.z_image.hub import HubRepo, OnDownload, ask_hub, fetch
from slipstream.models.z_image.model_folder import weight_headers

COMPONENTS = ("transformer", "scheduler", "text_encoder", "tokenizer", "vae")
WITH_WEIGHTS = ("transformer", "text_encoder", "vae")
MARKER = {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}
TINY_ROOT = Path(slipstream.__file__).parent / "tiny"
FILE_SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
NAME, EXTRAS = "model.name_or_path", "model.extras_from"


@dataclass(frozen=True)
class Source:
    """One place that parts may come from: a local folder, a local file, or a hub repository (`repo`, `revision`), of
    which `file` is one file."""

    name: str
    folder: Path | None = None
    path: Path | None = None
    repo: str | None = None
    revision: str | None = None
    file: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is a transformer alone, in one file."""
        return self.path is not None or self.file is not None


@dataclass(frozen=True)
class ModelParts:
    """Where every component lies, and where it came from.

    Attributes:
        paths: component -> local folder; the transformer may be a single file.
        origins: component -> name of its source.
        revisions: component -> commit, of those that came from the hub.
        notes: what a user should know about how they were found.
    """

    paths: Mapping[str, Path]
    origins: Mapping[str, str]
    revisions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """One line a component: name, origin, commit, place."""
        return [f"{name}: {self.origins[name]}{self._commit(name)} ({self.paths[name]})" for name in self.paths]

    def _commit(self, component: str) -> str:
        return f" at {self.revisions[component][:12]}" if component in self.revisions else ""


def parse_source(name: str, where: str = NAME) -> Source:
    """Read a model name.

    Raises:
        ModelError: it is neither a tiny name, an existing folder or file, nor one of the hub.
    """
    if name.startswith("tiny/"):
        folder = TINY_ROOT / name.removeprefix("tiny/").replace("-", "_")
        if not folder.is_dir():
            raise ModelError(
                f"no packaged model is called {name!r}", where=where,
                fix="use tiny/turbo, tiny/de-turbo or tiny/base.",
            )  # fmt: skip
        return Source(name, folder=folder)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return Source(name, folder=path.resolve())
    if name and path.is_file():
        return Source(name, path=path.resolve())
    if looks_local(name):
        raise ModelError(
            f"there is no such file or folder: {name!r}", where=where,
            fix="check the path (relative ones start where slipstream was started); hub names are `org/name`.",
        )  # fmt: skip
    repo, _, revision = name.partition("@")
    pieces = repo.split("/")
    is_file = len(pieces) > 2 and pieces[-1].endswith(FILE_SUFFIXES)
    if not all(pieces) or not (len(pieces) == 2 or is_file):
        raise ModelError(
            f"{name!r} is neither an existing model folder or file nor a name of the hub", where=where,
            fix="give a diffusers folder, a .safetensors file, `org/name` or `org/name@revision` of the hub, "
            "`org/name/file.safetensors`, or tiny/turbo.",
        )  # fmt: skip
    if is_file:
        return Source(name, repo="/".join(pieces[:2]), revision=revision or None, file="/".join(pieces[2:]))
    return Source(name, repo=repo, revision=revision or None)


def looks_local(name: str) -> bool:
    """Whether a name that exists nowhere was meant as a path of this machine, not as one of the hub."""
    path = Path(name).expanduser()
    if path.is_absolute() or name.startswith((".", "~", "\\")) or "\\" in name:
        return True
    pieces = name.partition("@")[0].split("/")
    is_file = pieces[-1].endswith(FILE_SUFFIXES)
    return is_file and (len(pieces) < 3 or Path(pieces[0]).is_dir())


def resolve_parts(
    name: str, extras_from: str, on_download: OnDownload | None = None, components: Sequence[str] = COMPONENTS
) -> ModelParts:
    """Find components, downloading from the hub what is not on this machine yet; weight files are looked into.

    Raises:
        ModelError: the transformer is not at `name`, a part is at neither place, or a file is cut off or of another
            model.
    """
    places = [_Place.of(parse_source(name), NAME)]
    if extras_from != name:
        extras = parse_source(extras_from, EXTRAS)
        if extras.is_file:
            raise ModelError(
                "a single file holds no text encoder, tokenizer, VAE and scheduler in a form that is read here",
                where=EXTRAS, fix="name a Z-Image model in diffusers' layout, such as Tongyi-MAI/Z-Image-Turbo.",
            )  # fmt: skip
        places.append(_Place.of(extras, EXTRAS))
    chosen = {component: _first_with(component, places, name, extras_from) for component in components}
    for place in places:
        place.fetch([component for component in components if chosen[component] is place], on_download)
    paths = {component: place.local(component) for component, place in chosen.items()}
    for component in (one for one in WITH_WEIGHTS if one in paths):
        headers = weight_headers(paths[component])
        if component == "transformer" and paths[component].is_file():
            require_transformer(headers[0], str(paths[component]))
    return ModelParts(
        paths=paths,
        origins={component: place.source.name for component, place in chosen.items()},
        revisions={component: place.hub.commit for component, place in chosen.items() if place.hub is not None},
        notes=tuple(
            f"{place.hub.name}: {place.hub.note}; the copy of commit {place.hub.commit[:12]} on this machine is used"
            for place in places
            if place.hub is not None and place.hub.note
        ),
    )


def _first_with(component: str, places: list[_Place], name: str, extras_from: str) -> _Place:
    candidates = places[:1] if component == "transformer" else places
    for place in candidates:
        if place.has(component):
            return place
    looked = " and ".join(place.source.name for place in candidates)
    if places[0].source.is_file and extras_from == name:
        raise ModelError(
            f"a single file is a transformer alone; {component!r} has to come from elsewhere", where=EXTRAS,
            fix="set model.extras_from to a Z-Image model in diffusers' layout, such as Tongyi-MAI/Z-Image-Turbo.",
        )  # fmt: skip
    fix = "give a Z-Image model in diffusers' layout, and `model.extras_from` for what it lacks."
    if component == "transformer" and (files := places[0].single_files()):
        fix = f"the files there are transformers in one file? Then set model.name_or_path to {files[0]}."
    raise ModelError(
        f"no {component!r} folder found in {looked}", where=NAME if component == "transformer" else EXTRAS, fix=fix
    )


class _Place:
    """A source that was looked into: a folder, a file, or a repository with its list of files."""

    def __init__(self, source: Source, where: str, hub: HubRepo | None) -> None:
        self.source, self.where, self.hub = source, where, hub
        self._root = source.folder

    @classmethod
    def of(cls, source: Source, where: str) -> _Place:
        hub = ask_hub(source.repo, source.revision, where) if source.repo is not None else None
        if hub is not None and source.file is not None and not hub.has(source.file):
            others = ", ".join(path for path in hub.sizes if path.endswith(FILE_SUFFIXES)) or "none"
            raise ModelError(
                f"{hub.name} has no file {source.file!r}{f' here, and {hub.note}' if hub.note else ''}", where=where,
                fix=f"its files of weights are: {others}.",
            )  # fmt: skip
        return cls(source, where, hub)

    def has(self, component: str) -> bool:
        if self.source.is_file:
            return component == "transformer"
        if self.hub is not None:
            return self.hub.has(f"{component}/{_marker(component)}")
        return component_folder(self.source, component) is not None

    def fetch(self, components: list[str], on_download: OnDownload | None) -> None:
        if self.hub is None or not components:
            return
        files = [self.source.file] if self.source.file else []
        files += [path for component in components if not self.source.is_file for path in self.hub.under(component)]
        self._root = fetch(self.hub, files, self.where, on_download)

    def local(self, component: str) -> Path:
        if self.source.path is not None:
            return self.source.path
        assert self._root is not None, "fetch comes first"
        return self._root / (self.source.file or component)

    def single_files(self) -> list[str]:
        if self.hub is not None:
            files = [path for path in self.hub.sizes if path.endswith(".safetensors")]
            return [f"{self.hub.repo}/{path}" for path in files]
        folder = self.source.folder
        return sorted(str(path) for path in folder.glob("*.safetensors")) if folder is not None else []


def _marker(component: str) -> str:
    return MARKER.get(component, "config.json")


def component_folder(source: Source, component: str) -> Path | None:
    """The folder of one component in a local source, or None where it lacks it."""
    if source.folder is None:
        return None
    folder = source.folder / component
    return folder if (folder / _marker(component)).is_file() else None


def resolve_adapter(
    name: str, *, what: str = "training adapter", where: str = "model.training_adapter",
    fix: str = 'use "v1", "v2", "org/repo/file.safetensors" or the path of a file; "none" trains without one.',
    on_download: OnDownload | None = None,
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
    if len(pieces) < 3 or not all(pieces) or name.startswith("tiny/") or looks_local(name):
        raise ModelError(f"there is no {what} at {name!r}: no such file", where=where, fix=fix)
    hub, file = ask_hub("/".join(pieces[:2]), revision or None, where), "/".join(pieces[2:])
    if not hub.has(file):
        others = ", ".join(found for found in hub.sizes if found.endswith(".safetensors")) or "none"
        raise ModelError(
            f"{hub.name} has no file {file!r}{f' here, and {hub.note}' if hub.note else ''}", where=where,
            fix=f"its .safetensors files are: {others}.",
        )  # fmt: skip
    return fetch(hub, [file], where, on_download) / file
