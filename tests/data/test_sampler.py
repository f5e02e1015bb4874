"""The sampler: pure in (seed, micro step), full batches of one bucket, nothing lost, honest rates."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from slipstream.data.sampler import BucketSampler

SIZES = {(64, 64): 7, (96, 64): 4, (64, 96): 1}


@pytest.fixture
def examples(dataset):
    return dataset(SIZES, num_repeats=2)


def indices(batch):
    return [draw.example_index for draw in batch]


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_batches_are_full_and_of_one_bucket(examples, batch_size):
    sampler = BucketSampler(examples, batch_size, seed=1)
    for step in range(2 * sampler.batches_per_epoch):
        batch = sampler.draw(step)
        assert len(batch) == batch_size
        assert len({examples.examples[index].bucket for index in indices(batch)}) == 1


@pytest.mark.parametrize(("batch_size", "batches"), [(1, 24), (3, 5 + 3 + 1), (4, 4 + 2 + 1), (16, 3)])
def test_every_sample_is_seen_every_epoch(examples, batch_size, batches):
    sampler = BucketSampler(examples, batch_size, seed=1)
    assert sampler.batches_per_epoch == batches
    for epoch in range(3):
        steps = range(epoch * batches, (epoch + 1) * batches)
        seen = Counter(index for step in steps for index in indices(sampler.draw(step)))
        assert set(seen) == {example.index for example in examples.examples}
        assert all(count >= 2 for count in seen.values())
        # only what completes a batch comes on top
        assert seen.total() == batches * batch_size
        if batch_size == 1:
            assert set(seen.values()) == {2}


def test_a_batch_is_completed_with_other_examples_where_there_are_any(dataset):
    sampler = BucketSampler(dataset({(64, 64): 5}), batch_size=4, seed=3)
    for step in range(20):
        assert len(set(indices(sampler.draw(step)))) == 4


def test_jumping_equals_walking(examples):
    walked = BucketSampler(examples, 3, seed=5)
    walk = [walked.draw(step) for step in range(60)]
    for step in (59, 0, 31, 30, 8, 9, 59):
        assert BucketSampler(examples, 3, seed=5).draw(step) == walk[step]
        assert walked.draw(step) == walk[step]
    far = 1_000_000_007
    assert BucketSampler(examples, 3, seed=5).draw(far) == walked.draw(far)


def test_epochs_and_seeds_differ(examples):
    sampler = BucketSampler(examples, 3, seed=5)
    count = sampler.batches_per_epoch
    epochs = [[indices(sampler.draw(epoch * count + step)) for step in range(count)] for epoch in range(4)]
    assert len({str(epoch) for epoch in epochs}) == 4
    other = BucketSampler(examples, 3, seed=6)
    assert [indices(other.draw(step)) for step in range(count)] != epochs[0]


def test_buckets_are_mixed_within_an_epoch(dataset):
    examples = dataset({(64, 64): 20, (96, 64): 20})
    sampler = BucketSampler(examples, 1, seed=0)
    widths = [examples.examples[sampler.draw(step)[0].example_index].bucket.width for step in range(40)]
    changes = sum(a != b for a, b in pairwise(widths))
    assert changes > 8


def rate(sampler, steps, flag):
    draws = [draw for step in range(steps) for draw in sampler.draw(step)]
    return sum(getattr(draw, flag) for draw in draws) / len(draws)


def test_rates_of_flips_and_dropped_captions(dataset):
    sampler = BucketSampler(dataset({(64, 64): 3}, flip_horizontal=True, caption_dropout=0.2), 4, seed=11)
    # 4000 draws: standard deviations 0.008 and 0.006
    assert rate(sampler, 1000, "flipped") == pytest.approx(0.5, abs=0.035)
    assert rate(sampler, 1000, "dropped") == pytest.approx(0.2, abs=0.03)


def test_flips_and_drops_are_independent(dataset):
    sampler = BucketSampler(dataset({(64, 64): 3}, flip_horizontal=True, caption_dropout=0.5), 4, seed=11)
    draws = [draw for step in range(1000) for draw in sampler.draw(step)]
    assert sum(draw.flipped and draw.dropped for draw in draws) / 4000 == pytest.approx(0.25, abs=0.035)


def test_never_and_always(dataset):
    never = BucketSampler(dataset({(64, 64): 3}, caption_dropout=0.0), 4, seed=11)
    always = BucketSampler(dataset({(64, 64): 3}, caption_dropout=1.0), 4, seed=11)
    assert rate(never, 100, "dropped") == rate(never, 100, "flipped") == 0
    assert rate(always, 100, "dropped") == 1


def test_flips_do_not_change_what_is_dropped(dataset):
    plain = BucketSampler(dataset({(64, 64): 3}, caption_dropout=0.5), 2, seed=1)
    flips = BucketSampler(dataset({(64, 64): 3}, caption_dropout=0.5, flip_horizontal=True), 2, seed=1)
    for step in range(50):
        assert [draw.dropped for draw in plain.draw(step)] == [draw.dropped for draw in flips.draw(step)]


def test_a_batch_size_below_one_is_refused(examples):
    with pytest.raises(ValueError, match="batch_size"):
        BucketSampler(examples, 0, seed=1)
