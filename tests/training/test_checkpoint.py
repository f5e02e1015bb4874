"""Checkpoints: training goes on bit for bit, the newest stay, and a failed save harms nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from slipstream.adapters.inject import inject_lora
from slipstream.core.errors import DiskFullError, RunError
from slipstream.training.checkpoint import (
    CheckpointPolicy,
    TrainingState,
    changes_since,
    export_lora,
    lora_path,
    newest_step,
    range_warning,
    restore,
    save_checkpoint,
)
from slipstream.training.ema import Ema
from slipstream.training.optimizers import OptimizerName, OptimizerSettings, build_optimizer, choose_optimizer

CPU = torch.device("cpu")


def new_state(small, optimizer: str = "adamw", ema: bool = True) -> TrainingState:
    parameters = small.lora.parameters()
    choice = choose_optimizer(OptimizerSettings(optimizer, learning_rate=1e-2, weight_decay=0.01))
    built = build_optimizer(choice, small.lora.parameter_groups(), CPU)
    return TrainingState(small.lora, built, Ema(parameters, 0.9) if ema else None)


def policy_in(folder: Path, keep: int = 0, name: str = "style", keep_every: int = 0) -> CheckpointPolicy:
    return CheckpointPolicy(folder / "checkpoints", name, torch.float32, keep, keep_every)


def tensors_of(state: TrainingState) -> list[torch.Tensor]:
    found = [parameter.detach() for parameter in state.lora.parameters()]
    for parameter in state.lora.parameters():
        found += [value for _, value in sorted(state.optimizer.state[parameter].items()) if torch.is_tensor(value)]
    return found + (state.ema.shadow if state.ema is not None else [])


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


OPTIMIZERS = (*get_args(OptimizerName), "pytorch_optimizer/AdEMAMix")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("ema", [True, False], ids=["ema", "no ema"])
def test_training_goes_on_bit_for_bit(tmp_path, small, optimizer, ema):
    first = small()
    state = new_state(first, optimizer, ema)
    first.train(state, 4)
    save_checkpoint(policy_in(tmp_path), state, {})
    saved = [tensor.clone() for tensor in tensors_of(state)]
    first.train(state, 4)

    second = small()
    resumed = new_state(second, optimizer, ema)
    second.train(resumed, 1)
    assert restore(policy_in(tmp_path), resumed) == 4
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(resumed), saved, strict=True))
    second.train(resumed, 4)
    assert resumed.step == state.step == 8
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(resumed), tensors_of(state), strict=True))


def test_nothing_to_restore_is_step_zero(tmp_path, small):
    state = new_state(small())
    assert restore(policy_in(tmp_path), state) == 0
    assert state.step == 0


def test_the_label_is_the_number_of_updates_in_name_and_metadata(tmp_path, small):
    model = small()
    state = new_state(model)
    model.train(state, 3)
    path = save_checkpoint(policy_in(tmp_path), state, {"base": "tiny/turbo"})
    assert path.name == "style_000000003.safetensors"
    assert names_in(path.parent) == ["state_000000003.pt", "style_000000003.safetensors"]
    with safe_open(path, framework="pt") as handle:
        assert handle.metadata() == {"format": "pt", "base": "tiny/turbo", "steps": "3"}


def test_the_file_holds_the_shadow_with_alpha_in_b_and_training_keeps_the_raw_weights(tmp_path, small):
    model = small()
    state = new_state(model)
    model.train(state, 3)
    raw = [parameter.detach().clone() for parameter in state.lora.parameters()]
    saved = load_file(save_checkpoint(policy_in(tmp_path), state, {}))
    assert state.ema is not None
    a, b = state.ema.shadow[:2]
    torch.testing.assert_close(saved["diffusion_model.0.lora_A.weight"], a)
    torch.testing.assert_close(saved["diffusion_model.0.lora_B.weight"], b * 16 / 32)
    assert not torch.allclose(a, raw[0], rtol=0, atol=1e-6)
    assert all(torch.equal(p, r) for p, r in zip(state.lora.parameters(), raw, strict=True))


def test_the_newest_k_loras_and_two_states_stay(tmp_path, small):
    model = small()
    state = new_state(model)
    policy = policy_in(tmp_path, keep=2)
    for _ in range(4):
        model.train(state, 5)
        save_checkpoint(policy, state, {})
    assert names_in(policy.folder) == [
        "state_000000015.pt", "state_000000020.pt", "style_000000015.safetensors", "style_000000020.safetensors"
    ]  # fmt: skip


def saved_steps(policy: CheckpointPolicy) -> list[int]:
    return [int(name[-21:-12]) for name in names_in(policy.folder) if name.endswith("safetensors")]


@pytest.mark.parametrize(("keep", "kept"), [(2, [4, 8, 9, 10]), (1, [4, 8, 10]), (0, list(range(1, 11)))])
def test_multiples_of_keep_every_stay_besides_the_newest(tmp_path, small, keep, kept):
    model = small()
    state = new_state(model)
    policy = policy_in(tmp_path, keep=keep, keep_every=4)
    for _ in range(10):
        model.train(state, 1)
        save_checkpoint(policy, state, {})
    assert saved_steps(policy) == kept


def test_pruning_goes_by_the_policy_of_the_resumed_run(tmp_path, small):
    """What an earlier policy kept is not lost before the next save, and then what the new one keeps is there."""
    model = small()
    state = new_state(model)
    for _ in range(6):
        model.train(state, 1)
        save_checkpoint(policy_in(tmp_path, keep=3, keep_every=2), state, {})
    assert saved_steps(policy_in(tmp_path)) == [1, 2, 3, 4, 5, 6]
    again = small()
    resumed, policy = new_state(again), policy_in(tmp_path, keep=1, keep_every=3)
    assert restore(policy, resumed) == 6
    assert saved_steps(policy) == [1, 2, 3, 4, 5, 6]
    again.train(resumed, 1)
    save_checkpoint(policy, resumed, {})
    assert saved_steps(policy) == [3, 6, 7]


@pytest.mark.parametrize(("dtype", "held"), [(torch.float16, 65504.0), (torch.bfloat16, 1e6), (torch.float32, 1e6)])
def test_values_beyond_a_formats_range_are_cut_off_and_told(tmp_path, small, dtype, held):
    state = new_state(small(), ema=False)
    assert range_warning(state, dtype) is None
    with torch.no_grad():
        state.lora.parameters()[-1][0, 0] = -1e6 / (16 / 32)
    warning = range_warning(state, dtype)
    path = tmp_path / "style.safetensors"
    export_lora(path, dtype, state, {})
    stored = torch.cat([tensor.float().flatten() for tensor in load_file(path).values()])
    assert stored.isfinite().all()
    assert stored.min().item() == pytest.approx(-held, rel=0.01)
    if dtype is torch.float16:
        assert warning is not None
        assert "1 of 2 modules" in warning
        assert "65,504" in warning
        with state.lora.rounded_to(dtype):
            assert min(parameter.min().item() for parameter in state.lora.parameters()) >= -65504 / (16 / 32)
    else:
        assert warning is None


def test_the_best_step_is_spared(tmp_path, small):
    model = small()
    state = new_state(model)
    policy = policy_in(tmp_path, keep=1)
    for spared in (None, 5, 5, 15):
        model.train(state, 5)
        save_checkpoint(policy, state, {}, spared=spared)
    loras = [name for name in names_in(policy.folder) if name.startswith("style")]
    assert loras == ["style_000000015.safetensors", "style_000000020.safetensors"]


def test_keep_zero_keeps_every_lora(tmp_path, small):
    model = small()
    state = new_state(model)
    for _ in range(4):
        model.train(state, 1)
        save_checkpoint(policy_in(tmp_path), state, {})
    names = names_in(policy_in(tmp_path).folder)
    assert [name for name in names if name.startswith("style")] == [
        f"style_00000000{n}.safetensors" for n in (1, 2, 3, 4)
    ]
    assert [name for name in names if name.startswith("state")] == ["state_000000003.pt", "state_000000004.pt"]


def test_pruning_touches_only_the_runs_own_labels(tmp_path, small):
    model = small()
    state = new_state(model)
    policy = policy_in(tmp_path, keep=1, name="s[1]")
    policy.folder.mkdir()
    for name in ("s[1]_character.safetensors", "other_000000001.safetensors"):
        (policy.folder / name).write_bytes(b"mine")
    for _ in range(3):
        model.train(state, 1)
        save_checkpoint(policy, state, {})
    assert [name for name in names_in(policy.folder) if name.endswith("safetensors")] == [
        "other_000000001.safetensors", "s[1]_000000003.safetensors", "s[1]_character.safetensors"
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "foreign"])
def test_a_damaged_state_is_named_and_without_it_the_one_before_serves(tmp_path, small, damage):
    model = small()
    state, policy = new_state(model), policy_in(tmp_path)
    for _ in range(2):
        model.train(state, 2)
        save_checkpoint(policy, state, {})
    newest = policy.folder / "state_000000004.pt"
    if damage == "foreign":
        torch.save({"something": 1}, newest)
    else:
        content = newest.read_bytes()
        newest.write_bytes({"cut": content[: len(content) // 2], "garbage": b"no state at all", "empty": b""}[damage])
    with pytest.raises(RunError, match="cannot be read") as caught:
        restore(policy, state)
    assert caught.value.where == str(newest)
    assert "delete" in (caught.value.fix or "")
    newest.unlink()
    assert restore(policy, state) == 2


def test_a_state_of_another_lora_is_refused_and_nothing_is_loaded(tmp_path, small):
    model = small()
    state = new_state(model)
    model.train(state, 2)
    save_checkpoint(policy_in(tmp_path), state, {})
    other = small().model[0].base
    narrow = inject_lora(torch.nn.Sequential(other), ["0"], rank=8, alpha=8.0, seed=0)
    before = [parameter.detach().clone() for parameter in narrow.parameters()]
    fresh = TrainingState(narrow, torch.optim.AdamW(narrow.parameters()), Ema(narrow.parameters(), 0.9))
    with pytest.raises(RunError, match="the saved LoRA has 4 tensors, this run's 2"):
        restore(policy_in(tmp_path), fresh)
    assert all(torch.equal(p, b) for p, b in zip(narrow.parameters(), before, strict=True))
    with pytest.raises(RunError, match=r"saved with training\.ema"):
        restore(policy_in(tmp_path), new_state(small(), ema=False))
    with pytest.raises(RunError, match=r"training\.optimizer was changed"):
        restore(policy_in(tmp_path), new_state(small(), "adamw8bit"))


def test_the_config_decides_about_the_optimizers_settings(tmp_path, small):
    """A weight decay that was changed before a resume counts; the file's would be a silent fallback."""
    model = small()
    state = new_state(model)
    model.train(state, 2)
    save_checkpoint(policy_in(tmp_path), state, {})
    resumed = new_state(small())
    resumed.optimizer.param_groups[0].update(weight_decay=0.5, betas=(0.8, 0.9))
    restore(policy_in(tmp_path), resumed)
    assert resumed.optimizer.param_groups[0]["weight_decay"] == 0.5
    assert resumed.optimizer.param_groups[0]["betas"] == (0.8, 0.9)
    assert all(resumed.optimizer.state[p]["step"] == 2 for p in resumed.lora.parameters())


def test_what_changed_since_the_save_is_told(tmp_path, small):
    state, policy = new_state(small()), policy_in(tmp_path)
    save_checkpoint(policy, state, {"alpha": "16", "dataset_fingerprint": "a", "slipstream_version": "1"})
    now = {"alpha": "16", "dataset_fingerprint": "b", "slipstream_version": "2", "base_model_hash": "new"}
    (line,) = changes_since(policy, 0, now)
    assert "the dataset changed since step 0 (a before, b now)" in line
    lora_path(policy, 0).write_bytes(b"torn")
    assert "damaged" in changes_since(policy, 0, now)[0]
    assert changes_since(policy, 99, now) == []


def test_the_newest_step_is_read_from_the_names(tmp_path):
    assert newest_step(tmp_path) == 0
    for name in ("state_000000004.pt", "state_000000012.pt", ".state_000000020.pt.7.part", "state_x.pt"):
        (tmp_path / name).touch()
    assert newest_step(tmp_path) == 12


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, small, full_disk):
    model = small()
    state, policy = new_state(model), policy_in(tmp_path, keep=1)
    model.train(state, 2)
    save_checkpoint(policy, state, {})
    before = {path.name: path.read_bytes() for path in policy.folder.iterdir()}
    model.train(state, 2)
    with full_disk(), pytest.raises(DiskFullError):
        save_checkpoint(policy, state, {})
    assert {path.name: path.read_bytes() for path in policy.folder.iterdir()} == before
    assert restore(policy, state) == 2


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_disk_that_fills_up_inside_the_state_is_named(tmp_path, small):
    """torch reports a full disk as `unexpected pos ...`; the user must read the true cause."""
    model = small()
    state, policy = new_state(model), policy_in(tmp_path, keep=1)
    model.train(state, 2)
    save_checkpoint(policy, state, {})
    model.train(state, 2)
    (policy.folder / f".state_000000004.pt.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="no space"):
        save_checkpoint(policy, state, {})
    assert (policy.folder / "style_000000002.safetensors").is_file()
    assert restore(policy, state) == 2
    assert not list(policy.folder.glob(".*.part"))


def test_export_writes_the_same_file_as_a_checkpoint(tmp_path, small):
    model = small()
    state = new_state(model)
    model.train(state, 2)
    saved = save_checkpoint(policy_in(tmp_path), state, {"name": "x"})
    export_lora(tmp_path / "final.safetensors", torch.float32, state, {"name": "x"})
    assert (tmp_path / "final.safetensors").read_bytes() == saved.read_bytes()
    assert lora_path(policy_in(tmp_path), 2) == saved
