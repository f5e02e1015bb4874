"""`slipstream doctor`: quick without a GPU, honest about what is missing, and silent about the token."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from slipstream.memory.plan import GIB
from slipstream.memory.planner import Machine
from slipstream.workflows import doctor
from slipstream.workflows.doctor import Finding, as_values, examine
from slipstream.workflows.doctor_gpu import Gpu, capabilities, driver_finding, speed_findings, usual_plan

H100 = Gpu(0, "NVIDIA H100", (9, 0), 78 * GIB, 79 * GIB, ("sm_80", "sm_90", "sm_120"), 91002, has_triton=True)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def levels(findings) -> dict[str, str]:
    return {finding.name: finding.level for finding in findings}


def test_this_machine_can_train(monkeypatch):
    secret = "hf_" + "a" * 34
    monkeypatch.setenv("HF_TOKEN", secret)
    findings = examine()
    found = levels(findings)
    assert found["Python"] == found["torch"] == found["diffusers"] == found["hub token"] == "ok"
    assert {"driver", "bitsandbytes", "disk for models", "disk for caches", "host memory", "hub"} <= set(found)
    assert secret not in json.dumps(as_values(findings))
    assert all(finding.fix for finding in findings if finding.level != "ok")


def test_the_command_answers_in_seconds_and_speaks_json():
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "slipstream.cli.app", "doctor", "--json"], capture_output=True, text=True, timeout=120
    )
    report = json.loads(done.stdout)
    assert report["ok"] is (done.returncode == 0)
    assert {"name", "level", "text", "fix"} == set(report["findings"][0])
    assert time.perf_counter() - begun < 60  # a few seconds on a machine that has nothing else to do


def test_lines_for_people(monkeypatch, capsys):
    from slipstream.cli.doctor import doctor_command

    monkeypatch.setattr(doctor, "examine", lambda: [Finding("a", "ok", "fine"), Finding("b", "fail", "no [x]", "do y")])
    assert doctor_command(as_json=False) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ok", "a", "fine"]
    assert lines[1].split() == ["fail", "b", "no", "[x]"]
    assert lines[2].split() == ["fix", "do", "y"]


@pytest.mark.parametrize(
    ("driver", "built_for", "count", "level", "words"),
    [
        ("580.1", "13.0", 2, "ok", "2 GPU(s)"),
        (None, None, 0, "warn", "no NVIDIA GPU was found"),
        ("580.1", None, 0, "fail", "torch was built without CUDA"),
        ("470.0", "13.0", 0, "fail", "sees no GPU"),
    ],
)
def test_the_driver_and_torch(driver, built_for, count, level, words):
    found = driver_finding(driver, built_for, count)
    assert found.level == level
    assert words in found.text
    assert bool(found.fix) is (level != "ok")


def test_what_a_gpu_allows():
    found = {finding.name: finding for finding in capabilities(H100)}
    assert {finding.level for finding in found.values()} == {"ok"}
    assert "compute capability 9.0, 78.0 of 79.0 GiB free" in found["GPU 0"].text
    assert "multiply float8" in found["GPU 0 float8"].text
    ampere = {one.name: one for one in capabilities(replace(H100, capability=(8, 6), free_bytes=20 * GIB))}
    assert "no float8 tensor cores" in ampere["GPU 0 float8"].text
    assert ampere["GPU 0"].level == "warn"


def test_a_gpu_that_cannot():
    assert levels(capabilities(replace(H100, capability=(7, 5)))) == {
        "GPU 0": "ok", "GPU 0 kernels": "fail", "GPU 0 bf16": "fail",
    }  # fmt: skip
    assert levels(capabilities(replace(H100, capability=(10, 0))))["GPU 0 kernels"] == "fail"
    assert "GPU 0 kernels" not in levels(capabilities(replace(H100, capability=(8, 9))))
    assert levels(capabilities(replace(H100, has_triton=False)))["GPU 0 Triton"] == "warn"


def test_speeds():
    assert levels(speed_findings(0, 700, 24)) == {"GPU 0 products": "ok", "GPU 0 PCIe": "ok"}
    assert levels(speed_findings(0, 700, 3))["GPU 0 PCIe"] == "warn"


def test_how_the_6b_would_be_trained():
    def plan(gib: float) -> Finding:
        return usual_plan(0, Machine("a GPU", (9, 0), int(gib * GIB), 80 * GIB, 64 * GIB, 25.0, 700.0, float8=True))

    assert plan(78).level == "ok"
    assert "bf16 weights" in plan(78).text
    assert "float8 weights" in plan(11.2).text
    assert plan(5).level == "warn"


def test_a_library_that_breaks_is_named_with_what_needs_it(monkeypatch):
    def broken(name: str) -> None:
        raise OSError("libcudart.so: cannot open shared object file\nand more")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    found = {finding.name: finding for finding in doctor._libraries()}
    assert found["bitsandbytes"].level == "warn"
    assert "adamw8bit" in found["bitsandbytes"].text
    assert "and more" not in found["bitsandbytes"].text
    assert found["diffusers"].level == "fail"
    (torch,) = doctor._torch()
    assert torch.level == "fail"


def test_disks(tmp_path, monkeypatch):
    assert doctor._folder("disk", tmp_path / "not" / "there", 0, "HF_HOME").level == "ok"
    assert doctor._folder("disk", tmp_path, 1 << 30, "HF_HOME").level == "warn"
    monkeypatch.setattr(doctor.os, "access", lambda *rest: False)
    assert "set HF_HOME" in doctor._folder("disk", tmp_path, 0, "HF_HOME").fix


@pytest.mark.parametrize(("answer", "level"), [("answers", "ok"), ("unreachable", "warn"), ("silent", "warn")])
def test_the_hub(monkeypatch, answer, level):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("slipstream.hub.reach.ask", lambda seconds: answer)
    assert doctor._hub().level == level
