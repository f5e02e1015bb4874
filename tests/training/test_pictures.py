"""From prompts to pictures: own settings first, then the panel's; trigger words filled in and marked."""

from __future__ import annotations

import pytest

from slipstream.config.run_config import parse_config
from slipstream.training.pictures import holds_trigger, preview_pictures


def pictures(*prompts, trigger="zfox", variant="turbo", **sample):
    values = {
        "job": {"name": "a", "trigger_word": trigger}, "model": {"variant": variant}, "datasets": [{"path": "p"}],
        "sample": {"prompts": list(prompts), **sample},
    }  # fmt: skip
    return preview_pictures(parse_config(values))


def test_what_a_prompt_leaves_out_comes_from_the_panel():
    own, plain = pictures(
        "a --w 64 --h 80 --d 3 --s 4 --l 2 --m 0.5 --n bad", "b",
        width=96, height=112, seed=5, steps=6, guidance_scale=1.5, negative_prompt="blurry",
    )  # fmt: skip
    assert (own.width, own.height, own.seed, own.steps, own.guidance_scale, own.lora_scale) == (64, 80, 3, 4, 2.0, 0.5)
    assert own.negative_prompt == "bad"
    assert (plain.width, plain.height, plain.seed, plain.steps, plain.guidance_scale) == (96, 112, 5, 6, 1.5)
    assert (plain.lora_scale, plain.negative_prompt) == (1.0, "blurry")


def test_nothing_and_zero_are_settings_too():
    (picture,) = pictures("a --l 0 --m 0 --d 0 --n", guidance_scale=3.0, seed=5, negative_prompt="blurry")
    assert (picture.guidance_scale, picture.lora_scale, picture.seed, picture.negative_prompt) == (0.0, 0.0, 0, "")


@pytest.mark.parametrize(
    ("variant", "steps", "guidance"), [("turbo", 8, 0.0), ("de_turbo", 25, 2.5), ("base", 40, 4.0)]
)
def test_steps_and_guidance_are_the_bases_where_nobody_says(variant, steps, guidance):
    (picture,) = pictures("a", variant=variant)
    assert (picture.steps, picture.guidance_scale) == (steps, guidance)


def test_walking_seeds_go_by_place_and_own_seeds_shift_nobody():
    assert [picture.seed for picture in pictures("a", "b", "c", seed=10, walk_seed=True)] == [10, 11, 12]
    assert [picture.seed for picture in pictures("a", "b --d 3", "c", seed=10, walk_seed=True)] == [10, 3, 12]
    assert [picture.seed for picture in pictures("a", "b", seed=10)] == [10, 10]
    assert [picture.seed for picture in pictures("a", "b", seed=2**32 - 1, walk_seed=True)] == [2**32 - 1, 0]


def test_the_trigger_is_filled_in_and_prompts_are_marked():
    marked = pictures("a [trigger]", "the Zfox runs", "zfoxes", "a dog", negative_prompt="not [trigger]")
    assert [picture.prompt for picture in marked] == ["a zfox", "the Zfox runs", "zfoxes", "a dog"]
    assert [picture.has_trigger for picture in marked] == [True, True, False, False]
    assert marked[0].negative_prompt == "not zfox"
    assert [picture.has_trigger for picture in pictures("a [trigger]", trigger="")] == [None]
    assert holds_trigger("a [TRIGGER]", "zfox") is True
