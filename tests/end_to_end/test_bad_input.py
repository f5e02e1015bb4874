from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from product import EXAMPLES, Product

from slipstream.runs.exit_codes import FINISHED
from slipstream.worker import work


def refused(product: Product, *arguments: str) -> str:
    """The one message of a refused command."""
    result = product(*arguments)
    assert result.code != 0, result.out
    assert "Traceback" not in result.out + result.err
    return " ".join((result.out + result.err).split())


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.step=5", "did you mean"),
        ("training.steps=many", "training.steps"),
        ("model.training_adapter=null", '"none"'),
        ("datasets.0.path=nowhere", "nowhere"),
        ("model.variant=de_turbo", "training_adapter"),
    ],
)
def test_bad_settings(product: Product, override: str, expected: str) -> None:
    assert expected in refused(product, "train", str(product.write_config()), override)


def data_folder(product: Product, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    shutil.copytree(EXAMPLES / "foxy_style", folder)
    product.write_config(change=lambda text: text.replace(str(EXAMPLES / "foxy_style"), str(folder)))
    return folder


def test_an_empty_folder(product: Product, tmp_path: Path) -> None:
    folder = data_folder(product, tmp_path)
    for path in folder.glob("*.png"):
        path.unlink()
    assert str(folder) in refused(product, "train", "run.yaml")


@pytest.mark.usefixtures("in_this_process")
def test_a_broken_picture_is_skipped_and_listed(product: Product, tmp_path: Path) -> None:
    folder = data_folder(product, tmp_path)
    broken = sorted(folder.glob("*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:100])
    run = product.new_run(
        "training.steps=1", "sample.prompts=[]",
        change=lambda text: text.replace(str(EXAMPLES / "foxy_style"), str(folder)),
    )  # fmt: skip
    assert work(run) == FINISHED
    assert broken.name in run.manifest.read_text()
    assert broken.name in run.log.read_text()


def test_only_broken_pictures(product: Product, tmp_path: Path) -> None:
    for path in data_folder(product, tmp_path).glob("*.png"):
        path.write_bytes(b"no picture")
    assert "none" in refused(product, "train", "run.yaml").lower()


def test_a_caption_that_is_not_utf8(product: Product, tmp_path: Path) -> None:
    folder = data_folder(product, tmp_path)
    caption = sorted(folder.glob("*.txt"))[0]
    caption.write_bytes("ein Bär".encode("latin-1"))
    said = refused(product, "train", "run.yaml")
    assert caption.name in said
    assert "UTF-8" in said


def test_an_adapter_that_is_no_adapter(product: Product) -> None:
    vae = next(p for p in (Path(__file__).parents[2] / "src/slipstream/tiny/turbo/vae").glob("*.safetensors"))
    assert "LoRA" in refused(product, "train", str(product.write_config()), f"model.training_adapter={vae}")


@pytest.mark.usefixtures("in_this_process")
def test_two_runs_with_one_name_and_an_adapter_left_out_loudly(product: Product) -> None:
    assert work(product.new_run("training.steps=1", "sample.prompts=[]")) == FINISHED
    config = str(product.folder / "run.yaml")
    said = refused(product, "train", config)
    assert "already a run called 'small'" in said
    assert "slipstream resume" in said
    fresh = product("train", config, "training.steps=1", "sample.prompts=[]", "model.training_adapter=none", "--fresh")
    assert fresh.code == 0, fresh.err
    assert "TRAINING ADAPTER: NONE" in fresh.out
    assert (product.folder / "runs/small~1/small.safetensors").exists()
    log, page = ((product.folder / "runs/small" / name).read_text() for name in ("log.txt", "report.html"))
    assert "finding: " in log
    assert "Turbo was trained without a training adapter" in log
    assert "Turbo was trained without a training adapter" in page[page.index('id="findings"') :]


def test_a_run_that_is_no_run(product: Product) -> None:
    assert "no run folder" in refused(product, "resume", str(product.folder))


def test_a_missing_config_file(product: Product) -> None:
    assert "missing.yaml" in refused(product, "train", "missing.yaml")


def test_help_is_quick_and_loads_no_torch(product: Product) -> None:
    import subprocess
    import sys

    code = (
        "import sys; import slipstream.cli.app as a; sys.argv = ['slipstream', '--help']\n"
        "try: a.app()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'diffusers', 'transformers', 'pydantic'} & set(sys.modules), 'heavy import'"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=product.environment)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert time.monotonic() - started < 5, (
        "this bound only catches an import of torch; the real figure is in docs/LOG.md"
    )
