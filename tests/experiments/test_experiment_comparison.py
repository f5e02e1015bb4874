"""What is said about arms: notes on pairs, verdicts, sentences and the report."""

from __future__ import annotations

import json
import re

import pytest
from made import finish, make_experiment

from slipstream.experiments.comparison import Verdict, compare, contrasts
from slipstream.experiments.experiment import Experiment, settle
from slipstream.experiments.page import write_report
from slipstream.experiments.pairing import pairing
from slipstream.experiments.sentences import findings, limits, note_text, number, plus_minus
from slipstream.experiments.standing import standings
from slipstream.experiments.student import paired

DRIFT = {0: (8.0, 9.0, 8.5), 1: (3.9, 5.2, 4.1)}


def drifting(folder, *, seeds: int = 3, pictures: bool = False) -> Experiment:
    """An experiment on adapters whose runs drift as in `DRIFT`."""
    one = settle(make_experiment(folder, "model.training_adapter=none,v2", seeds=seeds))
    for planned in one.runs:
        at = planned.seed - 42
        finish(one, planned, drift=DRIFT[planned.arm][at], losses=(0.5, 0.4 + 0.01 * planned.arm), pictures=pictures,
               held_out=0.3)  # fmt: skip
    return one


@pytest.mark.parametrize(
    ("settings", "kinds", "same_order", "loss", "held_out"),
    [
        (("target.rank=8,16",), [], True, True, True),
        (("training.learning_rate=1e-4,2e-4",), [], True, True, True),
        (("training.timestep_bias=balanced,low_noise",), ["loss"], True, False, True),
        (("model.training_adapter=v1,v2",), ["model"], True, False, False),
        (("training.batch_size=1,2",), ["batches"], False, True, True),
        (("training.steps=4,8",), ["length"], True, True, True),
        (("datasets.0.resolutions=[128],[64,128]",), ["order"], False, False, False),
        (("sample.seed=1,2",), ["previews"], True, True, True),
        (("training.validation={fraction: 0.1},null",), ["order"], False, False, False),
        (("training.validation.every=5,9", "training.validation.fraction=0.1"), [], True, True, True),
        (("training.ema={},null",), [], True, True, True),
    ],
)
def test_what_breaks_pairs_is_told(tmp_path, settings, kinds, same_order, loss, held_out):
    found = pairing(make_experiment(tmp_path, *settings))
    assert [note.kind for note in found.notes] == kinds
    assert (found.same_order, found.loss_comparable, found.held_out_comparable) == (same_order, loss, held_out)
    assert all(settings[0].partition("=")[0].split(".")[0] in note_text(note) for note in found.notes)


@pytest.mark.parametrize(
    ("first", "other", "verdict"),
    [
        ((1, 2, 3), (0.9, 1.88, 2.91), "lower"),
        ((1, 2, 3), (1.1, 2.12, 3.09), "higher"),
        ((1, 2, 3), (0.9, 1, 2.95), "leans_lower"),
        ((1, 2, 3), (1.1, 3, 3.05), "leans_higher"),
        ((1, 2, 3), (0.9, 2.1, 3.05), "undecided"),
        ((1, 2, 3), (1, 2, 3), "same"),
        ((1, None, None), (2, 3, None), "one"),
        ((1, None, None), (None, 3, None), "none"),
    ],
)
def test_verdicts_say_what_pairs_allow(first, other, verdict: Verdict):
    (found,) = contrasts([first, other])
    assert found.verdict == verdict
    assert contrasts([first, other], comparable=False)[0].verdict == "different_scale"


def test_a_difference_too_small_to_matter_is_called_that():
    values = [(2.0, 2.001, 2.002), (2.01, 2.011, 2.012)]
    assert contrasts(values)[0].verdict == "higher"
    assert contrasts(values, negligible=0.01)[0].verdict == "alike"


def test_more_arms_must_stand_out_more():
    values = [(1.0, 2.0, 3.0), (0.9, 1.85, 2.92), (1.05, 1.9, 3.1), (0.98, 2.06, 2.99)]
    alone = contrasts(values[:2])[0]
    among = contrasts(values)[0]
    assert alone.pairs == among.pairs
    assert alone.verdict == "lower"
    assert (among.verdict, among.p_corrected) == ("leans_lower", pytest.approx(3 * alone.p_corrected))


def test_sentences_do_not_claim_more_than_the_pairs(tmp_path):
    one = drifting(tmp_path)
    found = compare(one, standings(None, one))
    said = findings(found)
    assert said[0].startswith("v2 drifts less than training_adapter none in 3 of 3 seeds: −4.1 ± 0.173 (−48 %)")
    assert "more than chance explains" in said[0]
    assert len(said) == 3  # losses are not compared between adapters
    assert said[1] == "The times per update of training_adapter none and v2 are the same in every seed."
    text = " ".join(limits(found))
    assert "With 3 pairs the 95 % interval reaches 4.3 standard errors" in text
    assert "25 % of such comparisons" in text
    assert "not that it matters" in text
    assert found.finished_pairs == 3


def test_one_pair_and_none_say_so(tmp_path):
    one = drifting(tmp_path, seeds=1)
    found = compare(one, standings(None, one))
    assert "says nothing about the next" in findings(found)[0]
    assert "One pair shows what happened once" in limits(found)[0]
    (tmp_path / "new").mkdir()
    fresh = make_experiment(tmp_path / "new", "target.rank=8,16")
    nothing = compare(fresh, standings(None, fresh))
    assert (nothing.measures, nothing.finished_pairs) == ((), 0)
    assert "No seed has every arm finished" in limits(nothing)[0]


def test_arms_that_found_nothing_share_a_sentence(tmp_path):
    one = settle(make_experiment(tmp_path, "target.rank=4,8,16"))
    for planned in one.runs:
        finish(one, planned, losses=(0.5, 0.4 + 0.1 * planned.arm * (planned.seed == 43)))
    said = findings(compare(one, standings(None, one)))
    assert said == [
        "The training losses of rank 4 and each of rank 8, rank 16 do not differ beyond chance.",
        "The times per update of rank 4 and each of rank 8, rank 16 are the same in every seed.",
        "The memory peaks of rank 4 and each of rank 8, rank 16 are the same in every seed.",
    ]


def test_runs_that_did_not_finish_are_left_out(tmp_path):
    one = settle(make_experiment(tmp_path, "target.rank=8,16"))
    for planned in one.runs:
        finish(one, planned, state="failed" if planned.seed == 44 else "finished")
    found = compare(one, standings(None, one))
    assert found.finished_pairs == 2
    assert found.measures[0].values[0][2] is None


def test_figures_are_short_and_have_true_minus_signs():
    assert [number(value) for value in (0.0, 0.00012, -4.1, 1234.56, 12_345.6, 0.04567)] == [
        "0", "1.20e−04", "−4.1", "1235", "12,346", "0.0457",
    ]  # fmt: skip
    assert plus_minus(paired([1.0, 2.0], [1.5, 2.6]), "GiB") == "+0.55 ± 0.05 GiB"
    assert plus_minus(paired([], [])) == "–"


def test_the_report_stands_alone(tmp_path):
    one = drifting(tmp_path, pictures=True)
    found = standings(None, one)
    text = write_report(one, compare(one, found), found).read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "6 of 6 runs finished" in text
    assert "v2 drifts less than" in text
    assert text.count("<img data-cell") == 2 * 3 * 2
    held = re.search(r'<script type="application/json" id="cells">(.*?)</script>', text, re.DOTALL)
    assert held is not None
    cells = json.loads(held[1])
    assert (cells["steps"], len(cells["cells"]), len(cells["cells"][0][0])) == ([0, 2], 2, 3)
    assert all(uri.startswith("data:image/webp") for step in cells["cells"] for prompt in step for seed in prompt
               for uri in seed)  # fmt: skip
    for title in ("Training loss", "Held-out loss", "Drift score"):
        assert title in text
    assert "Loss of v2 minus" not in text  # between adapters it means nothing


def test_where_losses_mean_the_same_they_are_subtracted_step_by_step(tmp_path):
    one = settle(make_experiment(tmp_path, "target.rank=8,16", seeds=2))
    for planned in one.runs:
        luck = [0.5, 0.3, 0.7, 0.2][:: 1 if planned.seed == 42 else -1]
        finish(one, planned, losses=[loss - 0.1 * planned.arm for loss in luck])
    found = standings(None, one)
    text = write_report(one, compare(one, found), found).read_text()
    assert "Loss of rank 16 minus rank 8" in text
    assert "mean of the seeds: -0.1 at step 4" in text


def test_a_report_of_what_has_only_begun(tmp_path):
    one = settle(make_experiment(tmp_path, "training.batch_size=1,2", seeds=1))
    finish(one, one.runs[0], state="running", pictures=True)
    found = standings(None, one)
    text = write_report(one, compare(one, found), found).read_text()
    assert "0 of 2 runs finished" in text
    assert "minus" not in text.partition("<main>")[2].partition('id="figures"')[0]
    assert "other batches" in text
