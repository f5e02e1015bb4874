"""The benchmark of quantized weights' errors finds the known order of the formats, and goes on after a failure."""

from __future__ import annotations

import json

import pytest
import torch


@pytest.fixture
def accuracy(benchmark):
    return benchmark("quantization_accuracy")


CPU = torch.device("cpu")


@pytest.fixture
def source(accuracy):
    return accuracy.random_weights_of("tiny", CPU, 512)


def test_rows_have_the_known_order_of_the_formats(accuracy, tmp_path, monkeypatch):
    plain = [accuracy.Case(weights, "fp32", "none") for weights in ("int8", "float8", "nf4")]
    more = accuracy.Case("float8", "float8", "none"), accuracy.Case("nf4", "bf16", "live")
    assert set(accuracy.cases(every=False)) >= {*plain, *more}
    monkeypatch.setattr(accuracy, "cases", lambda every: [*plain, *more, accuracy.Case(None, "bf16", "none")])
    out = tmp_path / "quantization_accuracy.json"
    options = ["--size", "tiny-random", "--device", "cpu", "--weights", "int8", "float8", "nf4"]
    assert accuracy.main([*options, "--out", str(out)]) == 0
    *rows, products, live = json.loads(out.read_text())
    assert [(row["weights"], row["products"], row["adapter"]) for row in (products, live)] == [
        ("float8", "float8", "none"), ("nf4", "bf16", "live"),
    ]  # fmt: skip
    for name in ("prediction", "lora_gradients"):
        found = [row[name] for row in rows]
        assert found == sorted(found)
        assert found[1] < products[name] < found[2]
        assert found[0] == pytest.approx(sum(row[name] for row in rows[0]["by_noise_level"].values()) / 2)
    cosines = [row["gradient_cosine"] for row in rows]
    assert 1 > cosines[0] > cosines[1] > cosines[2] > 0.8
    assert live["gradient_cosine"] == pytest.approx(cosines[2], abs=0.02)


def test_what_is_merged_is_the_model_with_its_adapter(accuracy, source):
    without, live = (accuracy.found_by(case, source, CPU) for case in accuracy.REFERENCES)
    merged = accuracy.found_by(accuracy.Case(None, "fp32", "merged"), source, CPU)
    levels = tuple(source.batches)
    assert accuracy.errors(merged, live, levels)["prediction"] < 1e-4
    assert accuracy.errors(without, live, levels)["prediction"] > 5e-3


def test_a_row_that_fails_is_written_down_and_the_others_go_on(accuracy, source, tmp_path, monkeypatch):
    chosen = [accuracy.Case("nf4", "fp32", "none"), accuracy.Case("int8", "fp32", "none")]
    measured = accuracy.found_by

    def fails_in_nf4(case, *rest):
        if case.weights == "nf4":
            raise RuntimeError("no such kernel")
        return measured(case, *rest)

    monkeypatch.setattr(accuracy, "found_by", fails_in_nf4)
    out = tmp_path / "quantization_accuracy.json"
    assert accuracy.measure(source, CPU, chosen, 60, out) == 1
    failed, well = json.loads(out.read_text())
    assert failed["error"] == "RuntimeError: no such kernel"
    assert "error" not in well
    assert accuracy.measure(source, CPU, chosen, -1, out) == 2
    assert all(row["error"].startswith("TimeoutError") for row in json.loads(out.read_text()))


def test_the_documentation_says_what_was_measured(benchmark):
    tables = benchmark("tables")
    text = tables.QUANTIZATION.read_text(encoding="utf-8")
    assert text == tables.with_tables(text, tables.tables()), "run `python benchmarks/tables.py`"


def test_the_table_has_errors_and_failures(benchmark):
    facts = {"model": "tiny", "device": "CPU", "weights": "nf4", "products": "bf16"}
    rows = [
        {**facts, "adapter": "none", "prediction": 0.1, "lora_gradients": 0.25, "gradient_cosine": 0.97},
        {**facts, "adapter": "merged", "error": "out of memory"},
    ]
    (line,) = benchmark("tables").accuracy_table(rows).rows
    assert line == ("tiny", "CPU", "nf4", "bf16", "10.0 %", "25.0 %", "0.9700", "failed / -", "failed / -")
