"""A push through the real client to a hub of our own: what arrives, who is asked, and what is told when it fails."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
import yaml
from fake_hub import TOKEN, FakeHub
from small_run import METADATA, write_lora

from slipstream.cli.push import push_command
from slipstream.core.errors import ConfigError, HubError, RunError, SlipstreamError
from slipstream.hub.push import Pushed, push_run
from slipstream.runs.layout import RunDir

REPO = "anna/my_style"


def push(run: RunDir, *, private: bool = True, new_card: bool = False, log=lambda line: None) -> Pushed:
    return push_run(run, REPO, private=private, new_card=new_card, log=log)


def test_lora_card_and_previews_arrive_in_one_commit(hub: FakeHub, run: RunDir) -> None:
    pushed = push(run)
    assert pushed == Pushed(f"{hub.endpoint}/{REPO}", "my_style.safetensors", True)
    files = hub.repositories[REPO]
    assert sorted(files) == ["README.md", "images/preview_0.png", "images/preview_1.png", "my_style.safetensors"]
    assert files["my_style.safetensors"] == run.lora.read_bytes()
    assert files["images/preview_0.png"] == run.preview_image(600, 1).read_bytes(), "the trigger's come first"
    assert hub.messages == ["my_style after 600 updates (slipstream 0.1.0)"]
    assert hub.private == {REPO: True}
    assert hub.tokens <= {f"Bearer {TOKEN}", ""}
    assert f"Bearer {TOKEN}" in hub.tokens


def test_the_card_says_base_trigger_prompts_and_settings(hub: FakeHub, run: RunDir) -> None:
    push(run)
    card = hub.repositories[REPO]["README.md"].decode()
    _, front, body = card.split("---\n", 2)
    head = yaml.safe_load(front)
    assert head["base_model"] == "Tongyi-MAI/Z-Image-Turbo"
    assert head["base_model_relation"] == "adapter"
    assert head["instance_prompt"] == "felt"
    assert {"lora", "z-image", "text-to-image"} <= set(head["tags"])
    assert head["widget"][0] == {"text": "a felt fox", "output": {"url": "images/preview_0.png"}}
    assert "license" not in head
    assert "add `license:`" in body
    assert "A LoRA for Z-Image Turbo, trained" in body
    assert r"a dog \| cat (without the trigger word)" in body
    assert f'pipe.load_lora_weights("{REPO}")' in body
    assert "8 steps, cfg 1" in body
    assert "| rank | 16 |" in body
    assert "| images | 24 |" in body
    assert METADATA["config"] in body


def test_a_base_in_one_file_is_named_by_its_repository(hub: FakeHub, run: RunDir) -> None:
    name = "ostris/Z-Image-De-Turbo/deep/z.safetensors@abc"
    run.manifest.write_text(run.manifest.read_text().replace("Tongyi-MAI/Z-Image-Turbo@abc", name))
    push(run)
    head = yaml.safe_load(hub.repositories[REPO]["README.md"].decode().split("---\n")[1])
    assert head["base_model"] == "ostris/Z-Image-De-Turbo"


@pytest.mark.parametrize("name", ["tiny/turbo", "/home/anna/base", "/home/anna/base.safetensors", "models"])
def test_a_base_that_is_not_on_the_hub_is_not_named_in_the_head(hub: FakeHub, run: RunDir, name: str) -> None:
    run.manifest.write_text(run.manifest.read_text().replace("Tongyi-MAI/Z-Image-Turbo@abc", name))
    push(run)
    assert "base_model" not in yaml.safe_load(hub.repositories[REPO]["README.md"].decode().split("---\n")[1])


def test_a_second_push_renews_the_lora_and_keeps_what_was_written_into_the_card(hub: FakeHub, run: RunDir) -> None:
    push(run)
    hub.repositories[REPO]["README.md"] = b"license: mine"
    write_lora(run.lora, {**METADATA, "steps": "900"})
    assert not push(run, private=False).wrote_card
    assert hub.repositories[REPO]["README.md"] == b"license: mine"
    assert hub.repositories[REPO]["my_style.safetensors"] == run.lora.read_bytes()
    assert hub.private == {REPO: True}, "a repository that is there stays as it is"
    assert push(run, new_card=True).wrote_card
    assert hub.repositories[REPO]["README.md"].startswith(b"---\nbase_model")


def test_a_run_without_previews_and_manifest_is_pushed_too(hub: FakeHub, run: RunDir) -> None:
    for path in run.previews.iterdir():
        path.unlink()
    run.manifest.unlink()
    write_lora(run.lora, {})
    push(run)
    assert sorted(hub.repositories[REPO]) == ["README.md", "my_style.safetensors"]


def test_the_newest_checkpoint_goes_where_there_is_no_finished_lora(hub: FakeHub, run: RunDir) -> None:
    run.lora.unlink()
    for step in (200, 400):
        write_lora(run.checkpoints / f"my_style_{step:09d}.safetensors", {"steps": str(step)})
    said: list[str] = []
    push(run, log=said.append)
    assert hub.messages == ["my_style after 400 updates (slipstream 0.1.0)"]
    assert "my_style.safetensors" in hub.repositories[REPO]
    assert "not finished" in said[0]


def test_a_run_that_saved_nothing_has_nothing_to_push(hub: FakeHub, run: RunDir) -> None:
    run.lora.unlink()
    with pytest.raises(RunError, match="saved no LoRA yet"):
        push(run)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("status", "said"), [(401, "hf auth login"), (403, "may not write there"), (400, "the hub refused")]
)
def test_a_refusal_is_one_message_with_the_way_to_try_again(hub: FakeHub, run: RunDir, status: int, said: str) -> None:
    hub.refusing = status
    with pytest.raises(HubError) as refused:
        push(run)
    assert said in str(refused.value)
    assert f"slipstream push {run.path} --repo {REPO}" in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_the_token_is_taken_out_of_whatever_is_said(hub: FakeHub, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    def leak(*arguments: object, **named: object) -> None:
        raise RuntimeError("upload failed") from OSError(f"with header Bearer {TOKEN}")

    monkeypatch.setattr(HfApi, "create_commit", leak)
    with pytest.raises(HubError) as refused:
        push(run)
    assert "Bearer ***" in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_no_login_is_told_before_anything_is_sent(hub: FakeHub, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(HubError, match="nobody is logged in"):
        push(run)
    assert hub.requests == []


def test_a_hub_that_is_switched_off_is_told(hub: FakeHub, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        push(run)


def test_a_hub_that_stays_silent_is_told_within_seconds(
    hub: FakeHub, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("slipstream.hub.push._SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(HubError, match=r"not answered within 0\.2 seconds") as refused:
            push(run)
    assert time.monotonic() - started < 2
    assert f"slipstream push {run.path} --repo {REPO}" in str(refused.value)


def test_the_command_takes_the_repository_from_the_config(hub: FakeHub, run: RunDir, capsys) -> None:
    with pytest.raises(ConfigError, match="where to push"):
        push_command(run.path, None, None, new_card=False)
    run.config.write_text(run.config.read_text() + f"save: {{push_to_hub: {{repo: {REPO}, private: false}}}}\n")
    push_command(run.path, None, None, new_card=False)
    assert hub.private == {REPO: False}
    assert "no licence yet" in capsys.readouterr().out
    push_command(run.path, "anna/other", True, new_card=False)
    assert hub.private["anna/other"] is True


@pytest.mark.parametrize("repo", ["my_style", "a/b/c", "anna/", "anna/my style", "https://hub/anna/x"])
def test_a_name_that_is_no_repository_is_refused(hub: FakeHub, run: RunDir, repo: str) -> None:
    with pytest.raises(ConfigError, match="expected the hub's owner/name"):
        push_command(run.path, repo, None, new_card=False)
    run.config.write_text(run.config.read_text() + f"save: {{push_to_hub: {{repo: '{repo}'}}}}\n")
    with pytest.raises(SlipstreamError, match=r"save\.push_to_hub\.repo"):
        push_command(run.path, None, None, new_card=False)


def test_a_token_in_a_config_is_refused_without_being_repeated(tmp_path: Path, run: RunDir) -> None:
    run.config.write_text(run.config.read_text() + f"save: {{push_to_hub: {{repo: {REPO}, hub_token: {TOKEN}}}}}\n")
    with pytest.raises(ConfigError, match="HF_TOKEN") as refused:
        push_command(run.path, None, None, new_card=False)
    assert TOKEN not in str(refused.value)
