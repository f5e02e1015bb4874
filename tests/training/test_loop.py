"""The loop: N updates for a label N, side activities when they are due, and a stop that loses nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from slipstream.training.checkpoint import TrainingState
from slipstream.training.loop import TrainingJob, train


@dataclass
class Script:
    """Requests that come true at given steps; `None` never."""

    state: TrainingState
    stop_at: int | None = None
    save_at: int | None = None
    preview_at: int | None = None
    stop_in_preview_at: int | None = None
    stop_in_sweep: bool = False
    stop_in_validation_at: int | None = None
    stop_in_drift_at: int | None = None
    end_at: int | None = None

    def stop(self) -> bool:
        return self.state.step == self.stop_at

    def save(self) -> bool:
        return self.state.step == self.save_at

    def preview(self) -> bool:
        return self.state.step == self.preview_at


@dataclass
class Diary:
    """What the loop did, as (what, step)."""

    entries: list[tuple[str, int]] = field(default_factory=list)

    def steps(self, what: str) -> list[int]:
        return [step for name, step in self.entries if name == what]


def run(
    small,
    *,
    start: int = 0,
    every: tuple[int, int] = (4, 3),
    at_start: bool = True,
    validate: int | None = None,
    drift: int | None = None,
    **requests,
) -> tuple[bool, Diary]:
    state = TrainingState(small().lora, None, None, step=start)  # type: ignore[arg-type]
    diary = Diary()
    note = lambda what: diary.entries.append((what, state.step))  # noqa: E731

    script = Script(state, **requests)

    def preview() -> bool:
        note("preview")
        return state.step != script.stop_in_preview_at

    def measure() -> bool:
        note("validate")
        return state.step != script.stop_in_validation_at

    def measure_drift() -> bool:
        note("drift")
        state.ended_early = state.step == script.end_at
        return state.step != script.stop_in_drift_at

    def update() -> None:
        note("update")
        state.step += 1

    def sweep() -> bool:
        note("sweep")
        return not script.stop_in_sweep

    job = TrainingJob(
        state=state, steps=10, save_every=every[0], preview_every=every[1], preview_at_start=at_start, update=update,
        settle=lambda: note("settle"), save=lambda: note("save"),
        preview=preview, sweep=sweep, finish=lambda: note("finish"), requests=script,
        **({} if validate is None else {"validate_every": validate, "validate": measure}),
        **({} if drift is None else {"drift_every": drift, "measure_drift": measure_drift}),
    )  # fmt: skip
    return train(job), diary


def test_a_whole_run(small):
    finished, diary = run(small)
    assert finished
    assert diary.steps("update") == list(range(10))
    assert diary.steps("save") == [4, 8, 10]
    assert diary.steps("preview") == [0, 3, 6, 9, 10]
    assert diary.steps("settle") == [3, 4, 6, 8, 9, 10], "nothing is saved or drawn before all figures are in"
    assert diary.entries[-2:] == [("sweep", 10), ("finish", 10)]


def test_zero_means_only_at_the_end(small):
    _, diary = run(small, every=(0, 0), at_start=False)
    assert diary.steps("save") == diary.steps("preview") == [10]


def test_a_stop_saves_and_does_not_finish(small):
    finished, diary = run(small, stop_at=5)
    assert not finished
    assert diary.entries[-1] == ("save", 5)
    assert "finish" not in dict(diary.entries)


def test_a_stop_at_the_last_update_still_finishes(small):
    finished, diary = run(small, stop_at=10)
    assert finished
    assert diary.steps("finish") == [10]


@pytest.mark.parametrize("start", [5, 6])
def test_a_resumed_run_does_the_updates_that_are_left(small, start):
    """Pictures due at the restored step are asked for again: the kill may have come before them."""
    finished, diary = run(small, start=start)
    assert finished
    assert diary.steps("update") == list(range(start, 10))
    assert diary.steps("preview") == {5: [6, 9, 10], 6: [6, 9, 10]}[start]


def test_a_run_that_was_done_finishes_again_without_an_update(small):
    finished, diary = run(small, start=10)
    assert finished
    assert diary.entries == [("preview", 10), ("sweep", 10), ("finish", 10)], (
        "the kill may have come before the last previews"
    )


@pytest.mark.parametrize("step", [3, 10])
def test_a_stop_while_previews_are_drawn_saves_first(small, step):
    """Updates 9 and 10 differ from step 3: there the last regular save is older than the previews."""
    finished, diary = run(small, stop_in_preview_at=step)
    assert not finished
    assert diary.entries[-2:] == [("preview", step), ("save", step)]
    assert "finish" not in dict(diary.entries)


def test_a_stop_while_the_sweep_is_drawn_leaves_it_to_the_resumed_run(small):
    finished, diary = run(small, stop_in_sweep=True)
    assert not finished
    assert diary.entries[-1] == ("sweep", 10)
    assert diary.steps("save")[-1] == 10


def test_a_stop_in_the_opening_previews_has_nothing_to_save(small):
    finished, diary = run(small, stop_in_preview_at=0)
    assert not finished
    assert diary.entries == [("preview", 0)]


def test_a_stop_before_the_first_update_changes_nothing(small):
    finished, diary = run(small, start=5, stop_at=5)
    assert not finished
    assert diary.entries == []


def test_requests_are_served_at_once(small):
    _, diary = run(small, every=(0, 0), at_start=False, save_at=2, preview_at=7)
    assert diary.steps("save") == [2, 10]
    assert diary.steps("preview") == [7, 10]


@pytest.mark.parametrize(("every", "expected"), [(4, [0, 4, 8, 10]), (5, [0, 5, 10]), (0, [0, 10])])
def test_held_out_pictures_are_measured_at_the_start_in_rhythm_and_at_the_end(small, every, expected):
    _, diary = run(small, validate=every)
    assert diary.steps("validate") == expected
    assert diary.entries.index(("save", 4)) < diary.entries.index(("preview", 6))


@pytest.mark.parametrize(("start", "expected"), [(4, [4, 8, 10]), (5, [8, 10]), (10, [10])])
def test_a_resumed_run_asks_again_for_what_was_due(small, start, expected):
    _, diary = run(small, start=start, validate=4)
    assert diary.steps("validate") == expected


def test_a_stop_while_measuring_saves_first(small):
    finished, diary = run(small, validate=3, every=(0, 0), stop_in_validation_at=3)
    assert not finished
    assert diary.entries[-2:] == [("validate", 3), ("save", 3)]


def test_drift_is_measured_before_whatever_else_is_due(small):
    finished, diary = run(small, drift=4, validate=4)
    assert finished
    assert diary.steps("drift") == [4, 8, 10]
    at_four = [what for what, step in diary.entries if step == 4]
    assert at_four[:4] == ["settle", "drift", "save", "validate"], "what the guard decides is saved with the step"
    assert run(small, drift=0)[1].steps("drift") == [10]
    assert run(small, drift=4, start=8)[1].steps("drift") == [8, 10], "the kill may have come before it"


def test_a_training_that_the_guard_ends_is_finished_early_and_whole(small):
    finished, diary = run(small, drift=2, end_at=6, every=(0, 0), validate=0)
    assert finished
    assert diary.steps("update") == list(range(6))
    assert diary.entries[-5:] == [("save", 6), ("validate", 6), ("preview", 6), ("sweep", 6), ("finish", 6)]
    finished, diary = run(small, drift=2, end_at=6, start=6, validate=0)
    assert finished
    assert diary.entries == [("drift", 6), ("validate", 6), ("preview", 6), ("sweep", 6), ("finish", 6)]


def test_a_stop_in_the_drift_meter_saves_the_step(small):
    finished, diary = run(small, drift=5, stop_in_drift_at=5)
    assert not finished
    assert diary.entries[-2:] == [("drift", 5), ("save", 5)]
