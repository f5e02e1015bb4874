"""The profile of the update runs on the tiny size, and sorts kernels as it says."""

from __future__ import annotations

import json

import pytest

OPTIONS = ["--size", "tiny", "--device", "cpu", "--steps", "2", "--warm-ups", "1", "--in-this-process"]


def test_every_resolution_is_timed_and_profiled(benchmark, tmp_path, capsys):
    out = tmp_path / "profile.json"
    module = benchmark("step_profile")
    assert module.main([*OPTIONS, "--modes", "bf16", "--resolutions", "512", "640", "--out", str(out)]) == 0
    (report,) = json.loads(out.read_text())
    assert (report["mode"], report["rank"], report["optimizer"]) == ("bf16", 16, "adamw")
    assert any(line.startswith("blocks: ") for line in report["said"])
    for figures in report["resolutions"].values():
        assert figures["ms_per_step_median"] > 0
        assert figures["steps"] == 2
        assert figures["one_step"]["kernels"] == 0  # no GPU here
    assert "bf16 640:" in capsys.readouterr().out


def test_a_resolution_that_fails_is_written_down_and_the_next_goes_on(benchmark, tmp_path, monkeypatch):
    module = benchmark("step_profile")
    time = module.Profile._time
    failing = iter([True, False])

    def fails_at_first(self, job):
        if next(failing):
            raise RuntimeError("no such kernel")
        return time(self, job)

    monkeypatch.setattr(module.Profile, "_time", fails_at_first)
    out = tmp_path / "profile.json"
    options = ["--modes", "float8", "--resolutions", "512", "640", "--no-profile", "--out", str(out)]
    assert module.main([*OPTIONS, *options]) == 1
    (report,) = json.loads(out.read_text())
    assert report["resolutions"]["512"]["error"] == "RuntimeError: no such kernel"
    assert "error" not in report["resolutions"]["640"]


def kernel(name, start, duration, number=None, **more):
    arguments = more if number is None else {"External id": number, **more}
    return {"cat": "kernel", "name": name, "ts": start, "dur": duration, "args": arguments}


def operator(name, number, *shapes):
    return {"cat": "cpu_op", "name": name, "ts": 0, "dur": 1, "args": {"External id": number, "Input Dims": shapes}}


EVENTS = [
    operator("aten::mm", 1, [1152, 3920], [3920, 11520]),
    operator("aten::mm", 2, [1152, 3840], [3840, 80]),
    kernel("nvjet_tst_128x256", 0, 1000, 1, grid=[1, 2, 3]),
    kernel("nvjet_tst_64x8", 1000, 100, 2, grid=[4, 1, 1]),
    kernel("cudnn_generated_fort_native_sdpa_sm90_flash_bprop", 1100, 400),
    kernel("_join_backward", 1550, 200),
    kernel("nvjet_tst_64x8", 1760, 90, grid=[4, 1, 1]),  # replayed by a graph: known from before
    {"cat": "gpu_memcpy", "name": "Memcpy DtoD (Device -> Device)", "ts": 1850, "dur": 50, "args": {}},
    {"cat": "gpu_user_annotation", "name": "ProfilerStep#1", "ts": 0, "dur": 9999, "args": {}},
]


def test_kernels_are_sorted_by_kind_and_pauses_are_found(benchmark, tmp_path):
    module = benchmark("kernel_times")
    trace = tmp_path / "trace.json"
    trace.write_text(json.dumps({"traceEvents": EVENTS}))
    found = module.summary(trace, module.Kernels(own={"_join_backward": "row kernels"}))
    assert found["ms_by_kind"] == {
        "gemm": 1.0, "attention": 0.4, "row kernels": 0.2, "gemm, thin": 0.19, "copies": 0.05,
    }  # fmt: skip
    assert (found["span_ms"], found["busy_ms"], found["idle_ms"]) == (1.9, 1.84, 0.06)
    assert found["gaps"] == 1
    assert found["longest_gaps"][0]["before"] == "_join_backward"
    assert any("row kernels" in line for line in module.lines("bf16 512", found))


def test_kernels_of_this_package_are_known_by_name(benchmark):
    pytest.importorskip("triton")
    known = benchmark("kernel_times").own_kernels()
    assert "row kernels" in known.values()
