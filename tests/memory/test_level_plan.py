"""Which block keeps how much: as little again as fits, the same for the same numbers."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from slipstream.memory.blocks import BlockBytes, BlockWidths, fused_block_bytes, module_block_bytes
from slipstream.memory.levels import LEVELS
from slipstream.memory.plan import GIB, levels_of, peak_bytes, plan_levels, planner

REAL = BlockWidths(stream=3840, feed_forward=10240, heads=30)
SMALL = BlockBytes({"everything": 100, "lean": 80, "outputs": 30, "input": 10}, working=50)
COST = {"everything": 0.0, "lean": 1.0, "outputs": 16.0, "input": 30.0}
"""Time to make again what a level lacks: more for every byte from one level to the next."""


def test_everything_is_kept_where_it_fits_and_nothing_but_inputs_where_little_does():
    assert plan_levels(10**9, 1, 30, SMALL).keeps_everything
    least = plan_levels(0, 1, 30, SMALL)
    assert least.levels == ("input",) * 29 + ("everything",)
    assert least.describe() == "1 of 30 blocks keep everything, 29 their input: 0.0 GiB"
    short = plan_levels(439, 1, 30, SMALL)
    assert short.levels == least.levels
    assert not short.fits
    assert short.describe().endswith("of 0.0 GiB, MORE THAN THERE IS")


@pytest.mark.parametrize("tokens", [1, 7])
def test_a_plan_fits_and_a_byte_less_makes_it_another(tokens):
    for budget in range(tokens * 250, tokens * 800, tokens * 11):
        plan = plan_levels(budget, tokens, 6, SMALL)
        assert plan.fits
        assert plan.peak_bytes <= budget
        if not plan.keeps_everything:
            roomier = plan_levels(plan.peak_bytes, tokens, 6, SMALL)
            assert roomier.levels == plan.levels
            assert plan_levels(plan.peak_bytes - 1, tokens, 6, SMALL).peak_bytes < plan.peak_bytes


def test_no_other_choice_of_levels_takes_much_less_time():
    """Against every choice for four blocks: at most one block's step down the list away from the best."""
    dearest_step = max(COST[lower] - COST[upper] for upper, lower in pairwise(LEVELS))
    for budget in range(190, 460, 7):
        plan = plan_levels(budget, 1, 4, SMALL)
        fitting = [levels for levels in product(LEVELS, repeat=4) if peak_bytes(levels, 1, SMALL) <= budget]
        best = min(sum(COST[level] for level in levels) for levels in fitting)
        assert sum(COST[level] for level in plan.levels) <= best + dearest_step


def test_all_go_one_level_down_before_any_goes_two_and_the_last_stays_whole():
    for budget in range(150, 800, 10):
        levels = plan_levels(budget, 1, 6, SMALL).levels
        places = [LEVELS.index(level) for level in levels[:-1]]
        assert max(places) - min(places) <= 1
        assert places == sorted(places, reverse=True)
        assert levels[-1] == "everything"


def test_blocks_run_by_modules_know_two_levels():
    levels = {
        level for budget in range(20) for level in plan_levels(budget * GIB, 4224, 30, module_block_bytes(REAL)).levels
    }
    assert levels == {"everything", "input"}


def test_a_small_picture_keeps_more_than_a_large_one():
    plan = planner(8 * GIB, 30, fused_block_bytes(REAL, rank=16))
    assert plan(1152).keeps_everything
    assert not plan(4224).keeps_everything
    assert plan(4224) is plan(4224)
    assert levels_of(plan)(2, 2112) == plan(4224).levels


def test_the_line_says_what_is_kept_and_how_much_room_there_was():
    lines = {
        budget: plan_levels(budget * GIB, 4224, 30, fused_block_bytes(REAL, rank=16)).describe()
        for budget in (20, 14, 3)
    }
    assert lines == {
        20: "all 30 blocks keep everything: 14.7 of 20.0 GiB",
        14: "22 of 30 blocks keep everything, 8 all but what is cheap to make again: 14.0 of 14.0 GiB",
        3: "1 of 30 blocks keep everything, 10 their sublayers' outputs, 19 their input: 3.0 of 3.0 GiB",
    }


@pytest.mark.parametrize("tokens", [1152, 2432, 4224])
def test_activations_of_the_real_size(tokens):
    """10 D + 2 F numbers a token and block between the passes of fused blocks, 28 D + 4 F of modules."""
    assert fused_block_bytes(REAL, rank=0).everything == (10 * 3840 + 2 * 10240) * 2 + 32 * 4
    assert module_block_bytes(REAL).everything == (28 * 3840 + 4 * 10240) * 2 + 90 * 4
    plan = plan_levels(10**15, tokens, 30, fused_block_bytes(REAL, rank=16))
    assert plan.peak_bytes == pytest.approx(tokens * 30 * 118_000, rel=0.06)
