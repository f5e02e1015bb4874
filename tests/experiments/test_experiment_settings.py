"""What a user compares: arguments, grids, arms, and mistakes that teach."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import make_experiment, write_config

from slipstream.core.errors import ConfigError, RunError
from slipstream.experiments.arms import arms_of_files, arms_of_settings, differing
from slipstream.experiments.experiment import list_experiments, plan_experiment, read_experiment, settle
from slipstream.experiments.settings import read_wanted, split_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("v1,v2", ("v1", "v2")),
        (" 8 , 16 ", ("8", "16")),
        ("[512,768],[1024]", ("[512,768]", "[1024]")),
        ("{decay: 0.9, start: 0},null", ("{decay: 0.9, start: 0}", "null")),
        ('"a photo, blurred",it\'s', ('"a photo, blurred"', "it's")),
        ("v1", ("v1",)),
    ],
)
def test_values_are_split_at_commas_outside_of_quotes_and_brackets(text, values):
    assert split_values(text) == values


def test_several_settings_make_a_grid_and_one_value_holds_for_all():
    wanted = read_wanted(["target.rank=8,16", "training.steps=4", "training.learning_rate=1e-4,2e-4"])
    assert wanted.fixed == ("training.steps=4",)
    assert [[value for _, value in arm] for arm in wanted.grid()] == [
        ["8", "1e-4"], ["8", "2e-4"], ["16", "1e-4"], ["16", "2e-4"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ([], "no setting to compare"),
        (["target.rank=16"], "one value for target.rank"),
        (["target.rank"], "expected panel.setting=value"),
        (["target.rank=8,"], "empty value"),
        (["target.rank=8,8"], "'8' twice"),
        (["target.rank=8,16", "target.rank=4"], "given twice"),
        (["training.learning_rate=1e-4,0.0001"], "are the same settings"),
        (["target.rnak=8,16"], "did you mean target.rank"),
        (["training.lr_schedule=cosine,cosin"], "did you mean 'cosine'"),
        (["job.seed=1,2"], "--seeds 3"),
        (["job.name=a,b"], "the experiment's"),
    ],
)
def test_mistakes_are_told_with_their_remedy(tmp_path, settings, says):
    with pytest.raises(ConfigError, match=says) as caught:
        arms_of_settings(write_config(tmp_path), read_wanted(settings))
    assert caught.value.fix


def test_arms_have_short_names_and_differ_in_what_was_named_alone(tmp_path):
    one = make_experiment(tmp_path, "model.training_adapter=none,v2", "training.steps=2")
    assert [arm.label for arm in one.arms] == ["training_adapter none", "v2"]
    assert [found.setting for found in differing(one.arms)] == ["model.training_adapter"]
    grid = make_experiment(tmp_path, "target.rank=8,16", "training.learning_rate=1e-4,2e-4")
    assert grid.arms[1].label == "rank 8, learning_rate 2e-4"
    assert len({run.name for run in grid.runs}) == 12
    files = make_experiment(tmp_path, "model.training_adapter=/a/b/one.safetensors,/a/c/one.safetensors")
    assert [arm.label for arm in files.arms] == ["one 1", "one 2"]


def test_a_pair_has_one_seed_and_one_preview_seed(tmp_path):
    one = make_experiment(tmp_path, "target.rank=8,16", "job.seed=7", seeds=2)
    configs = [one.config(run) for run in one.runs]
    assert [(config.job.seed, config.target.rank) for config in configs] == [(7, 8), (7, 16), (8, 8), (8, 16)]
    assert {config.sample.seed for config in configs} == {42}
    assert {config.job.output_dir for config in configs} == {tmp_path / "runs"}


def test_configs_are_compared_whole(tmp_path):
    paths = [write_config(tmp_path, "plain"), write_config(tmp_path, "small", target={"rank": 4})]
    arms = arms_of_files(paths)
    assert (arms.name, [arm.label for arm in arms.arms]) == ("plain_vs_small", ["plain", "small"])
    assert [(one.setting, one.values) for one in differing(arms.arms)] == [("target.rank", ("16", "4"))]
    with pytest.raises(ConfigError, match="expected two or more"):
        arms_of_files(paths[:1])
    with pytest.raises(ConfigError, match="are the same settings"):
        arms_of_files([paths[0], write_config(tmp_path, "again")])


def test_an_experiment_is_found_again_and_grows_by_seeds(tmp_path):
    first = settle(make_experiment(tmp_path, "target.rank=8,16", seeds=2))
    assert first.folder == tmp_path / "experiments" / first.name
    assert read_experiment(first.folder) == first
    assert settle(make_experiment(tmp_path, "target.rank=8,16", seeds=1)).seeds == (42, 43)
    assert settle(make_experiment(tmp_path, "target.rank=8,16", seeds=3)).seeds == (42, 43, 44)
    assert [one.name for one in list_experiments(tmp_path / "experiments")] == [first.name]
    assert not list(first.folder.glob("*.part"))


def test_other_settings_under_its_name_are_refused(tmp_path):
    settle(make_experiment(tmp_path, "target.rank=8,16"))
    with pytest.raises(ConfigError, match=r"training.steps was 4, now 9") as caught:
        settle(make_experiment(tmp_path, "target.rank=8,16", "training.steps=9"))
    assert "--name" in (caught.value.fix or "")
    other = arms_of_settings(tmp_path / "foxy.yaml", read_wanted(["target.rank=8,32"]))
    with pytest.raises(ConfigError, match="compares rank 8, rank 16, not rank 8, rank 32"):
        settle(plan_experiment(other, 3, command="", name="foxy_rank_8_vs_rank_16"))


def test_sizes_and_names_have_bounds(tmp_path):
    with pytest.raises(ConfigError, match="30 trainings, more than 24") as caught:
        make_experiment(tmp_path, "target.rank=2,4,8,16,32", seeds=6)
    assert "--max-runs 30" in (caught.value.fix or "")
    arms = arms_of_settings(write_config(tmp_path), read_wanted(["target.rank=8,16"]))
    with pytest.raises(ConfigError, match="can be a folder"):
        plan_experiment(arms, 1, command="", name="../out")
    with pytest.raises(ConfigError, match="characters"):
        plan_experiment(arms, 1, command="", name="x" * 95)
    many = make_experiment(tmp_path, "training.learning_rate=1e-4,2e-4,3e-4,4e-4,5e-4,6e-4", seeds=1)
    assert len(many.name) < 60


def test_a_damaged_record_is_told_and_left_out_of_the_list(tmp_path):
    one = settle(make_experiment(tmp_path, "target.rank=8,16"))
    for text in ("{", "[]", '{"format": 2}', '{"format": 1, "arms": [], "name": "x"}', '{"format": 1, "arms": [1, 2]}'):
        one.file.write_text(text)
        with pytest.raises(RunError, match="cannot be read"):
            read_experiment(one.folder)
    assert list_experiments(Path(tmp_path / "experiments")) == []
    with pytest.raises(RunError, match="no experiment"):
        read_experiment(tmp_path)
