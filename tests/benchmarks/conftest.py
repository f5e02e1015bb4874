from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """A benchmark's module by name; `__main__` needs another one."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name, as_name=None):
        if as_name is None:
            return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(as_name, BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, as_name, module)
        spec.loader.exec_module(module)
        return module

    return load
