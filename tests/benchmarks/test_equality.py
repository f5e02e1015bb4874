"""The equality benchmark finds the forward equal in fp32, and rounding where there is some."""

from __future__ import annotations

import json


def test_fp32_is_equal_and_lower_precision_is_near(benchmark, tmp_path):
    assert benchmark("equality").main(["--size", "tiny", "--device", "cpu", "--out", str(tmp_path / "out.json")]) == 0
    rows = {row["variant"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    exact = rows["slipstream, fp32, module by module"]
    assert exact["prediction"] < 1e-4
    assert exact["lora_gradients"] < 1e-3
    ours, theirs = rows["slipstream, bf16, module by module"], rows["diffusers, bf16"]
    assert ours["lora_gradients"] < 1.1 * theirs["lora_gradients"]
    assert rows["slipstream, float8, fused"]["gradient_cosine"] > 0.98
