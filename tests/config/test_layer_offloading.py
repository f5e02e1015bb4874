"""`quantization.layer_offloading`: what it takes, and what habits from elsewhere are told."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from slipstream.config.layer_offloading import percent_of
from slipstream.config.quantization import QuantizationPanel


@pytest.mark.parametrize(
    ("given", "value", "percent"),
    [("auto", "auto", 0), (0, 0, 0), (50, 50, 50), (100.0, 100, 100), ("75 %", 75, 75), ("100%", 100, 100)],
)
def test_a_percentage_or_auto(given, value, percent):
    found = QuantizationPanel(layer_offloading=given).layer_offloading
    assert found == value
    assert percent_of(found) == percent


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (True, "say how much: 100 offloads every block"),
        (False, "write 0"),
        (0.7, "write 70"),
        (33.3, "a whole number"),
        (150, "from 0 to 100"),
        (-1, "from 0 to 100"),
        ("all", "from 0 to 100"),
        (None, "from 0 to 100"),
    ],
)
def test_anything_else_gets_an_answer(given, answer):
    with pytest.raises(ValidationError, match=answer):
        QuantizationPanel(layer_offloading=given)
