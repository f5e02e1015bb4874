"""The words on drift: what a LoRA needs, whether it is still Turbo, and what helps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slipstream.evaluation.drift_findings import Cell, Level, LoraDrift, Training
from slipstream.evaluation.drift_verdict import Need, advice_of, need_of, verdict_of

LORA = LoraDrift(
    name="a.safetensors", step=300, score=60.0, light="red", levels=(Level(0.95, 0.5, 0.4),),
    score_at={"0.8": 50.0, "0.6": 40.0}, distance=0.1, set_distance=2.0, few_to_many=0.01, sharpness=0.8,
    fine_detail=0.6, spectrum=(1.0,),
)  # fmt: skip


def cells(gains: dict[tuple[int, float], float], error: float = 0.02, distance: float = 0.1) -> tuple[Cell, ...]:
    every = {(8, 0.0): 0.0, **gains}
    return tuple(
        Cell(steps, cfg, distance * (1 - gain), gain, error if gain else 0.0, 1.0)
        for (steps, cfg), gain in sorted(every.items())
    )


def test_nothing_better_is_still_turbo():
    tried = cells({(4, 0.0): -0.05, (20, 0.0): -0.01, (8, 2.0): -0.3})
    assert need_of(tried) == Need(8, 0.0, 0.0)
    assert verdict_of(replace(LORA, cells=tried)) == (True, "draws best at 8 steps without guidance: still turbo")


def test_the_cheapest_of_the_best_is_named():
    """20 steps with CFG 2 cost 40 predictions; 30 steps alone 30, 30 with CFG 60 and are no surer."""
    tried = cells({(20, 0.0): 0.05, (20, 2.0): 0.30, (30, 2.0): 0.31, (30, 3.0): 0.25})
    assert need_of(tried) == Need(20, 2.0, 0.30)
    still, words = verdict_of(replace(LORA, cells=tried))
    assert (still, words) == (False, "needs 20 steps and CFG 2: no longer turbo")
    assert need_of(cells({(30, 0.0): 0.3, (20, 2.0): 0.3})).words == "30 steps"
    assert need_of(cells({(8, 2.0): 0.3, (8, 3.0): 0.3})).words == "CFG 2"


@pytest.mark.parametrize(
    "tried",
    [
        cells({(20, 2.0): 0.3}, error=0.2),  # not sure
        cells({(20, 2.0): 0.05}, error=0.001),  # sure, and nothing to speak of
        cells({(20, 2.0): 0.5}, distance=0.001),  # half of nothing
        cells({(4, 0.0): 0.4}),  # fewer steps are no need
    ],
)
def test_what_is_no_need(tried):
    assert need_of(tried) == Need(8, 0.0, 0.0)


def test_without_the_test_the_meter_speaks_and_other_bases_have_nothing_to_lose():
    assert verdict_of(LORA)[0] is False
    assert verdict_of(replace(LORA, light="green"))[0] is True
    assert verdict_of(replace(LORA, light="yellow"))[0] is None
    still, words = verdict_of(replace(LORA, light=None))
    assert still is None
    assert "no few steps to lose" in words


def test_advice_follows_the_evidence():
    naive = advice_of(LORA, (), Training("a/b", "none", 2e-4), is_tiny=False)
    assert "without the training adapter" in naive[0]
    assert "0.0002 is above 0.0001" in naive[1]
    assert "40 at 0.6" in naive[-1]
    with_v2 = advice_of(LORA, (), Training("a/b", "x/training_adapter_v2.safetensors", 1e-4), is_tiny=False)
    assert "`model.training_adapter: v1`" in with_v2[0]
    assert not any("learning" in line for line in with_v2)
    foreign = advice_of(LORA, (), Training(), is_tiny=False)
    assert foreign[0].startswith("if it was trained on Turbo without")
    assert "or below" in foreign[1]


def test_a_better_checkpoint_is_named_and_a_good_lora_is_left_alone():
    early = replace(LORA, step=100, score=20.0, light="green")
    later = replace(LORA, step=200, score=58.0)
    assert any("take step 100, which is green (score 20)" in line
               for line in advice_of(LORA, (early, later), Training(), is_tiny=True))  # fmt: skip
    assert any("no earlier checkpoint is better" in line
               for line in advice_of(LORA, (later, later), Training(), is_tiny=True))  # fmt: skip
    good = replace(LORA, light="green", cells=cells({(20, 0.0): -0.1}))
    assert advice_of(good, (), Training(), is_tiny=False) == ()


def test_a_little_better_is_said_and_is_turbo_still():
    still, words = verdict_of(replace(LORA, cells=cells({(8, 2.0): 0.13})))
    assert still is True
    assert words == "draws a little better with CFG 2 (13% nearer to Turbo's own pictures): still turbo, 8 steps do"
