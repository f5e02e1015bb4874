"""Each finding comes with its evidence, and not without."""

from __future__ import annotations

import pytest
from example_facts import drifted, facts, measured, rows

from slipstream.config.run_config import parse_config
from slipstream.findings.facts import RunFacts
from slipstream.findings.finding import Finding
from slipstream.findings.log_lines import LogFacts
from slipstream.findings.look import look_at
from slipstream.findings.picture_changes import PictureChanges
from slipstream.findings.tell import tell
from slipstream.runs.progress import Progress

NO_ADAPTER, HOT = "model.training_adapter=none", "training.learning_rate=2e-4"
OVERFIT = measured([0.5, 0.4, 0.42, 0.44, 0.46])
FLAT = measured([0.5, 0.4, 0.401, 0.402, 0.401])
ROUGH = measured([0.5, 0.45, 0.44, 0.43], s01=[0.3, 0.31, 0.32, 0.33], s09=[0.8, 0.6, 0.5, 0.5])
NAN = Progress(state="failed", step=400, message="the loss became nan in update 401: the last updates blew the LoRA up")
FULL = Progress(state="failed", step=400, message="the device is out of memory\n  fix: ...")
TIGHT = {"device_gib": 80.0, "dataset": {"num_images": 20}}
SHORT = Progress(state="finished", step=100, steps=100)
SKIPPED = [row | ({"skipped": 1, "loss": 3.0} if row["step"] % 20 == 0 else {}) for row in rows()]

LOWERED = [{**row, "rate_factor": 0.5 if row["step"] > 100 else 1.0} for row in drifted("red", "yellow", "green")]
ENDED = [{**row, "rate_factor": 1.0, "ended_early": row["step"] == 200} for row in drifted("red", "green")]
RANKED = {
    "recommended": {"step": 500, "weight": 0.8},
    "checkpoints": [
        {"step": step, "score": score, "strength": 0.6, "drift": 30.0, "memorised": memorised}
        for step, score, memorised in ((500, 0.5, 0.0), (1000, 0.3, 0.2))
    ],
}

CASES: dict[str, tuple[str, RunFacts]] = {
    "drift without adapter": ("drift", facts(NO_ADAPTER, drift=drifted("green", "yellow", "red"))),
    "drift by a high rate": ("drift", facts(HOT, drift=drifted("green", "yellow", "yellow"))),
    "drift with an adapter": ("drift", facts(drift=drifted("green", "green", "red"))),
    "drift and prodigy": (
        "drift",
        facts("training.optimizer=prodigy", "training.learning_rate=1", drift=drifted("red")),
    ),
    "lowered by the guard": ("guard", facts(HOT, drift=LOWERED)),
    "ended by the guard": ("guard", facts(drift=ENDED)),
    "better before": ("earlier_is_better", facts(ranking=RANKED)),
    "copies": ("copies", facts(ranking=RANKED)),
    "no adapter": ("no_adapter", facts(NO_ADAPTER)),
    "no adapter, still green": ("no_adapter", facts(NO_ADAPTER, drift=drifted("green"))),
    "nan": ("not_finite", facts(HOT, progress=NAN)),
    "nan without clipping": ("not_finite", facts("training.max_grad_norm=0", progress=NAN)),
    "rising loss": ("loss_rose", facts(HOT, rows=rows(loss=lambda step: 0.4 + step / 2500))),
    "skipped, limit low": ("skipped", facts("training.max_loss=0.9", rows=SKIPPED)),
    "skipped, loss high": ("skipped", facts(HOT, "training.max_loss=2.0", rows=SKIPPED)),
    "clipped": ("clipped", facts(rows=rows(norm=lambda step: 2.5))),
    "overfitting": ("overfitting", facts("target.rank=128", images=6, validation=OVERFIT)),
    "overfitting, nothing saved": ("overfitting", facts(validation=OVERFIT, checkpoints=(1000,))),
    "plateau": ("plateau", facts(validation=FLAT)),
    "nothing learned": ("learns_nothing", facts(HOT, validation=measured([0.4, 0.41, 0.42, 0.43]))),
    "few pictures": ("seen_often", facts("training.batch_size=4", images=12)),
    "weak": ("too_weak", facts(validation=measured([0.5, 0.4995, 0.499]))),
    "weak for good reasons": (
        "too_weak",
        facts("training.learning_rate=1e-5", "target.rank=2", "target.blocks=0-3", step=100, progress=SHORT,
              pictures=PictureChanges(100, 0.004, None)),
    ),
    "rough details": ("messy_details", facts("training.timestep_bias=high_noise", validation=ROUGH)),
    "foreign previews": ("preview_settings", facts("sample.steps=25", "sample.guidance_scale=3")),
    "too strong": ("too_strong", facts(pictures=PictureChanges(1000, 0.08, 0.07))),
    "too strong with DOP": (
        "too_strong",
        facts("training.preservation.class_word=drawing", pictures=PictureChanges(1000, 0.08, 0.07)),
    ),
    "cut captions": ("captions_cut", facts(log=LogFacts(cut_captions=3, most_tokens=512))),
    "out of memory, mended": (
        "out_of_memory",
        facts("training.gradient_checkpointing=none", log=LogFacts(out_of_memory=2, remedy="less is kept")),
    ),
    "out of memory": (
        "out_of_memory",
        facts("datasets.0.resolutions=[1024, 1536]", "training.batch_size=2", progress=FULL),
    ),
    "out of memory with everything on": ("out_of_memory", facts(progress=FULL)),
    "slow": ("slower", facts(manifest={"plan": {"seconds_per_step": 0.1}})),
    "wasted": (
        "wasted",
        facts("training.gradient_checkpointing=full", "quantization.transformer=nf4", "datasets.0.cache_latents=false",
              "training.text_encoder=keep", manifest=TIGHT),
    ),
    "previews": ("previews_cost", facts(seconds={"training": 600.0, "previews": 500.0})),
}  # fmt: skip


def found(run: RunFacts, name: str) -> Finding:
    return next(finding for finding in look_at(run) if finding.id == name)


@pytest.mark.parametrize("case", CASES)
def test_a_finding_comes_with_its_evidence_in_both_languages_and_with_settings_that_are_some(case):
    name, run = CASES[case]
    finding = found(run, name)
    for language in ("en", "es"):
        told = tell(finding, language)
        assert told.seen
        assert told.change
        assert told.title
        assert told.means
    plain = dict(run.config.model_dump(mode="json").items())
    parse_config(plain, tell(finding).settings)


def test_a_good_run_has_no_findings():
    good = facts(
        drift=drifted("green", "yellow", "green"),
        validation=measured([0.5, 0.44, 0.42, 0.41, 0.405], s01=[0.3] * 5, s09=[0.8, 0.7, 0.6, 0.6, 0.6]),
        pictures=PictureChanges(1000, 0.08, 0.02),
        manifest={"plan": {"seconds_per_step": 0.19}, "device_gib": 24.0, "dataset": {"num_images": 20}},
        seconds={"training": 900.0, "previews": 100.0},
    )
    assert look_at(good) == ()


def test_a_run_that_has_just_begun_has_no_findings_but_of_its_settings():
    begun = facts(HOT, rows=(), progress=Progress(state="running"), checkpoints=(), manifest={})
    assert look_at(begun) == ()


@pytest.mark.parametrize(
    "run",
    [
        facts(rows=rows(loss=lambda step: 0.6 - step / 5000)),
        facts(rows=rows(norm=lambda step: 5.0 if step < 90 else 0.4)),
        facts(rows=rows(150, loss=lambda step: 0.1 + step / 100)),
        facts("training.max_loss=2.0", rows=[{**row, "skipped": 1} if row["step"] == 7 else row for row in rows()]),
        facts(validation=OVERFIT[:3]),
        facts(log=LogFacts(), progress=Progress(state="failed", step=4, message="no such folder")),
        facts("model.name_or_path=tiny/turbo", "training.batch_size=4", images=4),
    ],
    ids=["falling", "clipped early", "short", "one skipped", "not long enough", "failed otherwise", "tiny"],
)
def test_what_looks_alike_is_no_finding(run):
    assert look_at(run) == ()


def test_drift_by_a_high_rate_names_the_steps_the_rate_and_the_checkpoint_from_before():
    run = facts(HOT, drift=drifted("green", "green", "yellow", "red", every=250), checkpoints=(250, 500, 750))
    finding = found(run, "drift")
    told = tell(finding)
    assert finding.severity == "problem"
    assert "green at step 750 and was red at step 1,000" in told.seen[0]
    assert "2e-04 is above 1e-04" in " ".join(told.seen) or "0.0002 is above 0.0001" in " ".join(told.seen)
    assert told.change[0] == "Use the checkpoint of step 500."
    assert finding.settings == {"training.learning_rate": 8e-5, "training.drift.guard": "lower_learning_rate"}
    assert any("train to step 500 only" in line for line in told.change)


def test_drift_at_the_guides_rate_advises_a_calmer_one_and_the_other_adapter():
    guarded = "training.drift.guard=lower_learning_rate"
    told = tell(found(facts(guarded, drift=drifted("red")), "drift"))
    assert told.settings == ("training.learning_rate=8e-05",)
    assert told.seen[0].startswith("The drift meter was red at step 100 and has not been green since")
    assert any("v1" in line for line in told.change)
    calmer = tell(found(facts(guarded, "training.learning_rate=8e-5", drift=drifted("red")), "drift"))
    assert calmer.settings == ("training.learning_rate=5e-05",)


def test_drift_tells_what_the_guard_did():
    run = facts(HOT, drift=[{**row, "rate_factor": 0.25} for row in drifted("yellow", "red")])
    assert "From step 100 on the guard lowered the learning rate, to 25%" in " ".join(tell(found(run, "drift")).seen)
    assert all(finding.id != "guard" for finding in look_at(run))


def test_drift_without_an_adapter_is_told_once():
    run = facts(NO_ADAPTER, drift=drifted("red"))
    assert [finding.id for finding in look_at(run)] == ["drift"]
    assert found(run, "drift").settings == {"model.training_adapter": "v2"}


def test_the_gravest_comes_first():
    run = facts(NO_ADAPTER, "sample.steps=30", rows=rows(norm=lambda step: 2.5))
    assert [finding.severity for finding in look_at(run)] == ["problem", "warning", "hint"]


def test_overfitting_leads_to_the_best_checkpoint_and_its_length():
    finding = found(facts(validation=OVERFIT), "overfitting")
    assert tell(finding).change[0] == "Use the checkpoint of step 250."
    assert finding.settings["training.steps"] == 250
