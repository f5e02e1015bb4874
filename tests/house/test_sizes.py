"""Sizes that keep the house readable and the checkout small. They look at the working tree and need no history."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE_FOLDERS = ("src", "recipes", "examples", "tests", "benchmarks")
SHIPPED_FOLDERS = (*CODE_FOLDERS, "docs", ".ci")
NOT_SHIPPED = ("__pycache__", ".egg-info", "build")
"""Endings of folders that tools and recipes leave in a checkout; `.gitignore` keeps them out of commits."""

TINY = ROOT / "src/slipstream/tiny"
MIB = 1024**2


def files_in(folder: Path) -> list[Path]:
    """Files of a checkout below a folder; what tools leave behind does not count."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.endswith(NOT_SHIPPED) for part in path.relative_to(ROOT).parts)
    ]


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in files_in(ROOT / folder) if path.suffix == ".py"]


def num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(text: str) -> dict[str, int]:
    """Lines of every function from `def` to its end, by `name:line`; methods and inner functions too."""
    return {
        f"{node.name}:{node.lineno}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def all_functions(*folders: str) -> dict[str, int]:
    return {
        f"{path.relative_to(ROOT)}:{name}": length
        for path in python_files(*folders)
        for name, length in functions(path.read_text(encoding="utf-8")).items()
    }


def test_the_measure_counts_from_def_to_the_last_line():
    text = "class A:\n    def one(self):\n        def two():\n            pass\n        return two\n\nx = 1\n"
    assert functions(text) == {"one:2": 4, "two:3": 2}


def test_no_python_file_has_more_than_600_lines():
    lengths = {str(path.relative_to(ROOT)): num_lines(path) for path in python_files(*CODE_FOLDERS)}
    assert len(lengths) > 100
    assert {name: length for name, length in lengths.items() if length > 600} == {}


def test_no_function_has_more_than_120_lines():
    assert {name: n for name, n in all_functions(*CODE_FOLDERS).items() if n > 120} == {}


def test_almost_all_functions_of_the_product_are_under_60_lines():
    lengths = all_functions("src")
    long = sorted(name for name, length in lengths.items() if length >= 60)
    assert len(long) <= 0.05 * len(lengths), long


def test_nothing_is_called_utils():
    names = {path.stem for path in python_files("src")} | {path.parent.name for path in python_files("src")}
    assert names.isdisjoint({"utils", "util", "helpers", "misc", "common"})


def test_the_bare_twin_fits_200_lines():
    assert num_lines(ROOT / "examples/minimal_loop.py") <= 200


def test_a_checkout_is_small():
    files = [path for folder in SHIPPED_FOLDERS for path in files_in(ROOT / folder)]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 45 * MIB


@pytest.mark.parametrize("path", files_in(TINY), ids=lambda path: str(path.relative_to(TINY)))
def test_no_file_of_the_tiny_family_is_over_15_mb(path):
    assert 0 < path.stat().st_size <= 15_000_000


def test_the_tiny_family_is_under_40_mb():
    files = files_in(TINY)
    assert len([path for path in files if path.suffix == ".safetensors"]) == 8
    assert sum(path.stat().st_size for path in files) <= 40_000_000


def test_every_module_of_tests_has_a_name_of_its_own():
    """pytest imports them by name alone: of two that share one the second is refused, in a run of the whole suite."""
    tests = ROOT / "tests"
    names = Counter(path.name for path in tests.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []
