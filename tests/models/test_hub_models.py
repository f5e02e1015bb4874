"""Models from a hub: what is asked and fetched, revisions, single files, offline, and every way it can fail."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from read_hub import ReadHub, Repo, commit_of, running

from single_files import original, tiny_tensors, write
from slipstream.core.errors import ModelError
from slipstream.models.z_image.family import ZImage
from slipstream.models.z_image.resolve import TINY_ROOT, resolve_adapter, resolve_parts

CPU = torch.device("cpu")
TURBO, DE_TURBO, ADAPTER = "Tongyi-MAI/Z-Image-Turbo", "ostris/Z-Image-De-Turbo", "ostris/adapter"
FILE = "split_files/z_image_de_turbo_v1_bf16.safetensors"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ReadHub]:
    """A hub with a whole Turbo, a transformer alone with a single file beside it, and an adapter; an empty cache."""
    from huggingface_hub import constants

    with running() as hub:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        turbo = files_of(TINY_ROOT / "turbo")
        turbo |= {"README.md": b"pictures", "transformer/old.bin": b"pickle", "assets/large.png": bytes(1000)}
        single = write(tmp_path / "z.safetensors", original(tiny_tensors("de_turbo"))).read_bytes()
        lora = (TINY_ROOT / "adapters/training_adapter_v2.safetensors").read_bytes()
        hub.repos = {
            TURBO: Repo([{**turbo, "scheduler/scheduler_config.json": b'{"shift": 6.0}'}, turbo], tags={"v1.0": 0}),
            DE_TURBO: Repo([{**files_of(TINY_ROOT / "de_turbo"), FILE: single}]),
            ADAPTER: Repo([{"a_v2.safetensors": lora}]),
        }
        yield hub


def offline(monkeypatch: pytest.MonkeyPatch, how: str, hub: ReadHub) -> None:
    from huggingface_hub import constants

    if how == "set":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif how == "down":
        hub.status = 503
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def same_files(folder: Path, wanted: Path) -> bool:
    return all((folder / path.name).read_bytes() == path.read_bytes() for path in wanted.iterdir())


def test_a_repository_is_fetched_once_and_only_what_is_read(hub):
    parts = resolve_parts(TURBO, TURBO)
    assert set(parts.revisions.values()) == {commit_of(1)}
    assert same_files(parts.paths["text_encoder"], TINY_ROOT / "turbo/text_encoder")
    assert f"transformer: {TURBO} at {commit_of(1)[:12]} (" in parts.describe()[0]
    fetched = " ".join(hub.requests)
    assert "README" not in fetched
    assert "old.bin" not in fetched
    assert "large.png" not in fetched
    hub.requests.clear()
    assert resolve_parts(TURBO, TURBO).paths == parts.paths
    assert len(hub.requests) == 1, "a whole copy on this machine costs one question"
    assert hub.requests[0].startswith(f"GET /api/models/{TURBO}")


def test_a_transformer_alone_takes_the_rest_from_elsewhere(hub):
    parts = resolve_parts(DE_TURBO, TURBO)
    assert parts.origins == {"transformer": DE_TURBO, "scheduler": DE_TURBO, "text_encoder": TURBO,
                             "tokenizer": TURBO, "vae": TURBO}  # fmt: skip
    assert not any("resolve" in request and "Turbo/" in request and FILE in request for request in hub.requests)
    assert not any(f"{TURBO}/resolve" in request and "/transformer/" in request for request in hub.requests)


@pytest.mark.parametrize(("revision", "number"), [("v1.0", 0), (commit_of(0), 0), ("main", 1)])
def test_a_revision_is_what_was_asked_for(hub, revision, number):
    parts = resolve_parts(f"{TURBO}@{revision}", f"{TURBO}@{revision}")
    assert set(parts.revisions.values()) == {commit_of(number)}
    shift = (parts.paths["scheduler"] / "scheduler_config.json").read_text()
    assert ("6.0" in shift) is (number == 0)


@pytest.mark.parametrize("revision", ["", "@main"])
def test_one_file_of_a_repository_is_a_transformer(hub, revision):
    parts = resolve_parts(f"{DE_TURBO}/{FILE}{revision}", TURBO)
    assert parts.paths["transformer"].name == Path(FILE).name
    assert parts.paths["transformer"].is_file()
    assert parts.origins["scheduler"] == TURBO
    assert not any("resolve" in request and "de-turbo/transformer/" in request.lower() for request in hub.requests)


def test_downloads_are_told(hub):
    told: list[tuple[str, int]] = []

    @contextmanager
    def on_download(what, total):
        told.append((what, total))
        yield lambda done, total: None

    resolve_parts(DE_TURBO, TURBO, on_download)
    resolve_parts(DE_TURBO, TURBO, on_download)
    assert [what for what, _ in told] == [f"download {DE_TURBO}", f"download {TURBO}"]
    assert all(total >= 1 for _, total in told)


@pytest.mark.parametrize("how", ["set", "down", "unplugged"])
def test_without_the_hub_the_copy_on_this_machine_is_used_and_said(hub, monkeypatch, how):
    before = resolve_parts(DE_TURBO, TURBO)
    offline(monkeypatch, how, hub)
    hub.requests.clear()
    parts = resolve_parts(DE_TURBO, TURBO)
    assert (parts.paths, parts.revisions) == (before.paths, before.revisions)
    assert len(parts.notes) == 2
    assert "on this machine is used" in parts.notes[0]
    assert how != "set" or not hub.requests
    with pytest.raises(ModelError, match=r"transformer|scheduler"):  # Turbo's transformer was never fetched
        resolve_parts(TURBO, TURBO)
    with pytest.raises(ModelError, match="org/never is not on this machine") as caught:
        resolve_parts("org/never", TURBO)
    assert "connect once" in (caught.value.fix or "")


def test_a_pinned_commit_needs_no_branch_offline(hub, monkeypatch):
    name = f"{TURBO}@{commit_of(0)}"
    parts = resolve_parts(name, name)
    offline(monkeypatch, "set", hub)
    assert resolve_parts(name, name).paths == parts.paths


def test_an_unfinished_copy_is_named_offline(hub, monkeypatch):
    parts = resolve_parts(TURBO, TURBO)
    (parts.paths["vae"] / "diffusion_pytorch_model.safetensors").unlink()
    offline(monkeypatch, "set", hub)
    with pytest.raises(ModelError, match="no safetensors file in it") as caught:
        resolve_parts(TURBO, TURBO)
    assert str(caught.value.where).endswith("vae")


def test_local_models_ask_nobody(hub, tmp_path, monkeypatch):
    """Neither to be found nor to be loaded, whatever libraries like to look up."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was opened"))
    single = write(tmp_path / "mine.safetensors", original(tiny_tensors()))
    resolve_parts(str(TINY_ROOT / "turbo"), str(TINY_ROOT / "turbo"))
    resolve_adapter(str(TINY_ROOT / "adapters/training_adapter_v1.safetensors"))
    model = ZImage(resolve_parts(str(single), "tiny/turbo"), CPU, torch.float32, torch.float32)
    model.load_transformer()
    model.load_codec()
    model.load_text_encoder().encode(["a cat"])
    model.load_shift()
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "message", "fix"),
    [
        ("Tongyi-MAI/Z-Image-Trubo", "knows no repository 'Tongyi-MAI/Z-Image-Trubo'", "check the name"),
        (f"{TURBO}@v9", "has no revision 'v9'", "after @"),
        (f"{DE_TURBO}/nothing.safetensors", "has no file 'nothing.safetensors'", FILE),
        (ADAPTER, "no 'transformer' folder found in", f"{ADAPTER}/a_v2.safetensors"),
        (f"{ADAPTER}/a_v2.safetensors", "this is a LoRA", "model.training_adapter"),
        ("a b/c", "no name of a repository", "org/name"),
    ],
)
def test_wrong_names_are_told_with_the_way_out(hub, name, message, fix):
    with pytest.raises(ModelError, match=message) as caught:
        resolve_parts(name, TURBO)
    assert fix in (caught.value.fix or "")


def test_wrong_extras_are_told_under_their_own_setting(hub):
    with pytest.raises(ModelError, match="knows no repository") as caught:
        resolve_parts(DE_TURBO, "org/nothing")
    assert caught.value.where == "model.extras_from"
    with pytest.raises(ModelError, match=f"no 'text_encoder' folder found in {DE_TURBO}") as caught:
        resolve_parts(DE_TURBO, DE_TURBO)
    assert caught.value.where == "model.extras_from"


def test_a_gated_repository_says_what_to_accept(hub):
    hub.repos[TURBO].gated = True
    with pytest.raises(ModelError, match="is gated") as caught:
        resolve_parts(TURBO, TURBO)
    assert "accept its terms" in (caught.value.fix or "")
    assert "HF_TOKEN" in (caught.value.fix or "")


def test_a_download_larger_than_the_disk_is_refused_before_it_starts(hub, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=10 << 20))
    with pytest.raises(ModelError, match=r"needs 0.0 GiB, and 0.0 GiB are free") as caught:
        resolve_parts(TURBO, TURBO)
    assert "HF_HOME" in (caught.value.fix or "")
    assert not any("resolve" in request for request in hub.requests)


def test_adapters_of_the_hub(hub, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    name = f"{ADAPTER}/a_v2.safetensors"
    path = resolve_adapter(name)
    assert path.read_bytes() == (TINY_ROOT / "adapters/training_adapter_v2.safetensors").read_bytes()
    offline(monkeypatch, "set", hub)
    assert resolve_adapter(name) == path
    with pytest.raises(ModelError, match=r"has no file .a_v3\.safetensors. here") as caught:
        resolve_adapter(f"{ADAPTER}/a_v3.safetensors")
    assert caught.value.where == "model.training_adapter"
    (tmp_path / "adapters").mkdir()
    hub.requests.clear()
    for missing in ("/no/such/a.safetensors", "./a/b/c.safetensors", "adapters/mine/a.safetensors", "a.safetensors"):
        with pytest.raises(ModelError, match="no such file"):
            resolve_adapter(missing)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("error", "message", "fix"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no room left while downloading", "HF_HOME"),
        (OSError("Consistency check failed: file should be of size 9"), "broke off: Consistency check", "start again"),
    ],
)
def test_a_download_that_fails_says_why(hub, monkeypatch, error, message, fix):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ModelError, match=message) as caught:
        resolve_parts(TURBO, TURBO)
    assert fix in (caught.value.fix or "")


def test_a_tokenizer_alone_may_be_asked_for(hub):
    assert set(resolve_parts(DE_TURBO, TURBO, components=("tokenizer",)).paths) == {"tokenizer"}
    assert all("/tokenizer/" in request for request in hub.requests if "/resolve/" in request)


def test_a_stop_is_heeded_while_downloading(hub, monkeypatch):
    @contextmanager
    def on_download(what, total):
        def tick(done, total):
            raise KeyboardInterrupt

        yield tick

    with pytest.raises(KeyboardInterrupt):
        resolve_parts(TURBO, TURBO, on_download)
