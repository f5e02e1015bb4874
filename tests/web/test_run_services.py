"""What the pages of runs compute: lists, cards, differences of configs, facts, looks."""

from __future__ import annotations

import math
from urllib.parse import unquote

import pytest
from example_runs import as_if, draw, make_run

from slipstream.config.differences import ABSENT, differences, flattened
from slipstream.runs.lock import worker_lock
from slipstream.web.parts.run_state import pace_text, share_done, spark_points
from slipstream.web.services.comparison import MOST, Item, address_of, existing, figures, read_items
from slipstream.web.services.config_differences import from_defaults, several
from slipstream.web.services.metric_rows import MetricFiles
from slipstream.web.services.run_cards import Pages, RunCards, chosen_runs, page_of, spark
from slipstream.web.services.run_facts import run_facts
from slipstream.web.services.run_look import look_at_run
from slipstream.web.services.runs import list_runs, summarize


def test_runs_are_chosen_by_state_and_by_words_of_the_name(tmp_path):
    for name, state in (("anna_style", "finished"), ("anna_face", "failed"), ("robot", "finished")):
        make_run(tmp_path, name, state=state)
    runs = list_runs(tmp_path)
    assert {one.name for one in chosen_runs(runs)} == {"anna_style", "anna_face", "robot"}
    assert {one.name for one in chosen_runs(runs, text=" ANNA ")} == {"anna_style", "anna_face"}
    assert [one.name for one in chosen_runs(runs, ("failed",), "anna face")] == ["anna_face"]
    assert chosen_runs(runs, ("stopped",)) == []


@pytest.mark.parametrize(
    ("total", "wanted", "expected"),
    [
        (0, 1, Pages(1, 1, 0, 20)),
        (20, 2, Pages(1, 1, 0, 20)),
        (21, 2, Pages(2, 2, 20, 20)),
        (100, 0, Pages(1, 5, 0, 20)),
    ],
)
def test_pages_of_a_list(total, wanted, expected):
    found = page_of(total, wanted, 20)
    assert found == expected
    assert len(range(total)[found.span]) == min(20, total - found.first)


def test_a_card_has_the_loss_and_the_newest_picture_and_follows_the_files(tmp_path):
    run, cards = make_run(tmp_path), RunCards()
    (card,) = cards.of(tmp_path, [summarize(run)])
    assert len(card.spark) == 48
    assert card.spark[0] > card.spark[-1]
    assert (card.preview.step, card.preview.prompt) == (100, 0)
    draw(run, 150, 1)
    with run.metrics.open("a") as handle:
        handle.write('{"step": 101, "loss": 9.0}\n')
    (later,) = cards.of(tmp_path, [summarize(run)])
    assert (later.preview.step, later.preview.prompt) == (150, 1)
    assert later.spark != card.spark
    bare = make_run(tmp_path, "bare", prompts=(), done=0)
    assert cards.of(tmp_path, [summarize(bare)])[0].preview is None


def test_a_spark_is_made_of_finite_losses():
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 1.0}, {"step": 4}]
    assert spark(rows) == (2.0, 1.0)
    assert spark([]) == ()
    assert spark_points([3.0], 100, 40) == ""
    assert spark_points([2.0, 1.0], 100, 40) == "2.0,2.0 98.0,38.0"
    assert spark_points([1.0, 1.0], 100, 40) == "2.0,38.0 98.0,38.0"


def test_figures_of_a_row(tmp_path):
    assert [pace_text(value) for value in (None, 0.5, 2.345)] == ["–", "500 ms/it", "2.35 s/it"]
    assert share_done(summarize(make_run(tmp_path, steps=100, done=25))) == 0.25


def test_flat_settings_and_their_differences():
    config = {
        "a": {"b": 1.0, "c": None},
        "list": [{"path": "x"}, {"path": "y"}],
        "plain": [1, True],
        "none": {},
        "e": "",
    }
    assert flattened(config) == {
        "a.b": "1", "a.c": "null", "list[0].path": "x", "list[1].path": "y", "plain": "[1, true]", "none": "{}",
        "e": '""',
    }  # fmt: skip
    found = differences([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}])
    assert [(one.setting, one.values) for one in found] == [("b", ("2", "3")), ("c", (ABSENT, "4"))]
    assert differences([config, config]) == ()


def test_what_a_run_has_unlike_the_defaults(tmp_path):
    run = make_run(tmp_path, "foxy", steps=120)
    found = {one.setting: one.values for one in from_defaults(run)}
    assert found["training.steps"] == ("120", "2500")
    assert found["sample.width"] == ("128", "1024")
    assert not any(name.startswith(("model.", "datasets", "target")) for name in found)
    other = make_run(tmp_path, "other", steps=60)
    assert {one.setting: one.values for one in several([run, other])} == {
        "job.name": ("foxy", "other"), "training.steps": ("120", "60"),
    }  # fmt: skip
    other.config.write_text("job: [")
    assert all(one.values[1] == ABSENT for one in several([run, other]))


def test_an_address_names_runs_and_checkpoints():
    items = read_items("anna, bo@200,anna,c@x,@5,,bo@200")
    assert items == (Item("anna"), Item("bo", 200), Item("c@x"), Item("@5"))
    assert address_of(items[:2]) == "/compare?runs=anna,bo@200"
    assert read_items(unquote(address_of(items).partition("=")[2])) == items
    assert len(read_items(",".join("abcdefghijk"))) == MOST


def test_figures_of_a_comparison(tmp_path):
    run = make_run(tmp_path, "foxy")
    found = figures(run, MetricFiles())
    assert (found.state, found.step, found.seconds_per_step, found.memory_gib) == ("finished", 100, 0.5, 3.2)
    assert found.total_seconds == pytest.approx(55)
    assert 0.2 < found.loss < 0.6
    assert found.best_validation == pytest.approx(0.5 + math.exp(-100 / 30))
    assert existing(tmp_path, read_items("foxy@50,gone")) == ((Item("foxy", 50),), ("gone",))
    empty = figures(make_run(tmp_path, "empty", done=0, prompts=()), MetricFiles())
    assert empty.loss is None


def test_facts_of_a_manifest_in_groups():
    manifest = {
        "device": "CPU", "created": "today", "choices": ["a", "b"], "plan": None,
        "lora": {"rank": 16, "parameters": 368640, "alpha": 8.0},
        "dataset": {"buckets": [{"width": 512, "height": 768}], "skipped": [], "by": {"name": "x" * 900}},
    }  # fmt: skip
    facts = run_facts(manifest)
    assert (facts.device, facts.choices) == ("CPU", ("a", "b"))
    groups = {group.name: {fact.name: fact.value for fact in group.facts} for group in facts.groups}
    assert groups["lora"] == {"rank": "16", "parameters": "368,640", "alpha": "8"}
    assert groups["dataset"]["buckets"] == "512 768"
    assert len(groups["dataset"]["by.name"]) == 400
    assert "plan" not in groups
    assert run_facts({}).groups == ()
    assert run_facts({"choices": "x", "lora": [1]}).choices == ()


def test_a_look_changes_when_something_happened_and_not_otherwise(tmp_path):
    run = make_run(tmp_path, state="running", done=60)
    with worker_lock(run):
        first = look_at_run(run)
        assert first.running
        assert look_at_run(run, first) == first
        as_if(run, step=61)
        draw(run, 200, 2)
        later = look_at_run(run, first)
    assert later.curves_version > first.curves_version
    assert (first.newest.step, later.newest.step) == (50, 200)
    assert [number for number, _ in later.newest.prompts] == [2]
    ended = look_at_run(run, later)
    assert not ended.running
    assert ended.detail.summary.state == "killed"


def test_the_report_is_a_page_that_reaches_nothing(client, settings):
    run = make_run(settings.runs_dir)
    assert client.get("/api/runs/foxy/report").status_code == 404
    run.report.write_text("<!doctype html><title>foxy</title>")
    answer = client.get("/api/runs/foxy/report")
    assert answer.text.endswith("<title>foxy</title>")
    policy = answer.headers["content-security-policy"]
    assert "sandbox allow-scripts;" in policy
    assert "default-src 'none'" in policy
    assert "allow-same-origin" not in policy
    run.report.unlink()
    run.report.symlink_to(run.config)
    assert client.get("/api/runs/foxy/report").status_code == 404
