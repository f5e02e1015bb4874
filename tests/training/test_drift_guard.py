"""What the guard does about drift, from the scores alone."""

from __future__ import annotations

import pytest

from slipstream.training.drift_guard import GuardSettings, decide

LIGHTS = {20.0: "green", 40.0: "yellow", 36.0: "yellow", 41.0: "yellow", 60.0: "red", 58.0: "red"}


def rows(*scores: float) -> list[dict]:
    return [{"step": 10 * number, "score": score, "light": LIGHTS[score]} for number, score in enumerate(scores)]


def after(kind: str, *scores: float, factor: float = 1.0, lowest: float = 0.1, limit: float | None = None):
    *before, now = rows(*scores)
    return decide(GuardSettings(kind, lowest, limit), before, now, factor)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["off", "warn", "lower_learning_rate", "stop"])
def test_green_is_left_alone(kind):
    verdict = after(kind, 60.0, 20.0, factor=0.5)
    assert (verdict.rate_factor, verdict.ends, verdict.line) == (0.5, False, None)


def test_a_warning_comes_where_the_light_gets_worse():
    assert "begin to wear off" in (after("warn", 20.0, 40.0).line or "")
    assert "worn off" in (after("warn", 40.0, 60.0).line or "")
    assert after("warn", 40.0, 41.0).line is None
    assert after("warn", 60.0, 40.0).line is None
    assert after("off", 20.0, 60.0).line is None


def test_the_learning_rate_halves_down_to_its_bound_unless_drift_falls():
    assert after("lower_learning_rate", 20.0, 40.0).rate_factor == 0.5
    assert after("lower_learning_rate", 40.0, 41.0, factor=0.5).rate_factor == 0.25
    assert after("lower_learning_rate", 60.0, factor=0.15).rate_factor == 0.1
    falling = after("lower_learning_rate", 60.0, 41.0, factor=0.5)
    assert (falling.rate_factor, falling.line) == (0.5, "drift falls (60 to 41): nothing done")
    bound = after("lower_learning_rate", 60.0, 58.0, factor=0.1)
    assert bound.rate_factor == 0.1
    assert "bound" in (bound.line or "")


def test_two_red_measurements_in_a_row_end_a_training_that_is_to_stop():
    assert not after("stop", 20.0, 60.0).ends
    assert not after("stop", 60.0, 40.0, 60.0).ends
    ended = after("stop", 20.0, 60.0, 58.0)
    assert ended.ends
    assert "2 measurements in a row over the limit (60, 58)" in (ended.line or "")
    assert not after("lower_learning_rate", 60.0, 58.0).ends


def test_a_limit_of_ones_own_takes_the_place_of_the_light():
    assert after("lower_learning_rate", 20.0, limit=15.0).rate_factor == 0.5
    assert after("lower_learning_rate", 40.0, limit=50.0).rate_factor == 1.0
    assert after("stop", 40.0, 41.0, limit=39.0).ends
    assert not after("stop", 60.0, 58.0, limit=59.0).ends
    assert "the limit is passed" in (after("warn", 20.0, limit=15.0).line or "")
    assert after("warn", 20.0, 20.0, limit=15.0).line is None
