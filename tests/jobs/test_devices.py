from __future__ import annotations

from pathlib import Path

import pytest

from slipstream.jobs.devices import find_gpus, parse_gpus, queue_names

ANSWER = """\
0, GPU-aaaa-1, NVIDIA H100 80GB HBM3, 81559, 1024, 37, 41, 212.55
1, GPU-bbbb-2, NVIDIA GeForce RTX 4090, 24564, 0, [N/A], [N/A], [Not Supported]
No devices were found
"""


def test_gpus_are_read_as_nvidia_smi_prints_them() -> None:
    first, second = parse_gpus(ANSWER)
    assert (first.index, first.uuid, first.name, first.queue) == (0, "GPU-aaaa-1", "NVIDIA H100 80GB HBM3", "gpu:0")
    assert first.memory_gib == pytest.approx(79.65, abs=0.01)
    assert (first.used_gib, first.busy_percent, first.celsius, first.watts) == (1.0, 37, 41, 212.55)
    assert (second.queue, second.busy_percent, second.celsius, second.watts) == ("gpu:1", None, None, None)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("0,1", ("gpu:0", "gpu:1", "cpu")), ("1", ("gpu:1", "cpu")), ("GPU-bbbb", ("gpu:1", "cpu")), ("", ("cpu",)),
     ("-1", ("cpu",)), ("7", ("cpu",))],
)  # fmt: skip
def test_gpus_that_are_kept_back_have_no_queue(visible: str, expected: tuple[str, ...]) -> None:
    assert queue_names(parse_gpus(ANSWER), visible) == expected


def test_without_a_gpu_there_is_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus() == ()
    assert queue_names(()) == ("cpu",)
    assert queue_names(parse_gpus(ANSWER)) == ("gpu:0", "gpu:1", "cpu")


@pytest.mark.parametrize(("body", "num_gpus"), [(f"cat <<'END'\n{ANSWER}END", 2), ("exit 9", 0)])
def test_the_program_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, num_gpus: int) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert len(find_gpus()) == num_gpus
