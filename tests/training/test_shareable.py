"""What is passed on names no folders of its maker, and is otherwise the config."""

from __future__ import annotations

from pathlib import Path

from slipstream.config.run_config import dump_yaml, parse_config
from slipstream.training.shareable import shareable, shared_name


def test_every_path_of_a_config_becomes_a_name(tmp_path: Path) -> None:
    home = tmp_path / "anna"
    for name in ("base", "pictures"):
        (home / name).mkdir(parents=True)
    (home / "adapter.safetensors").touch()
    config = parse_config({
        "job": {"name": "a", "output_dir": str(home / "runs")},
        "model": {"variant": "turbo", "name_or_path": str(home / "base"), "extras_from": str(home / "base"),
                  "training_adapter": str(home / "adapter.safetensors")},
        "datasets": [{"path": str(home / "pictures")}],
        "sample": {"prompts": ["/imagine a fox", "~ a cat ~" * 2000]},
        "advanced": {"cache_dir": str(home / "cache")},
    })  # fmt: skip
    shared = shareable(config)
    assert "anna" not in dump_yaml(shared)
    assert (shared.model.name_or_path, str(shared.datasets[0].path), str(shared.job.output_dir)) == (
        "base", "pictures", "runs",
    )  # fmt: skip
    assert shared.sample == config.sample
    assert shared.training == config.training


def test_names_that_are_no_paths_stay(tmp_path: Path) -> None:
    assert shared_name("Tongyi-MAI/Z-Image-Turbo@main") == "Tongyi-MAI/Z-Image-Turbo@main"
    assert shared_name("tiny/turbo") == "tiny/turbo"
    assert shared_name(str(tmp_path)) == tmp_path.name
