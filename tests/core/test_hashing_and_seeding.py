"""Hashes and seeds: stable across processes, and sensitive to what matters."""

from __future__ import annotations

import hashlib
import logging
import sys
import warnings

import pytest

from slipstream.core.hashing import hash_bytes, hash_file, hash_text
from slipstream.core.quiet import quiet_imports
from slipstream.core.seeding import derive_seed


def test_a_file_hashes_like_its_bytes(tmp_path):
    data = bytes(range(256)) * 8192 + b"tail"
    (tmp_path / "f").write_bytes(data)
    assert hash_file(tmp_path / "f") == hash_bytes(data)
    assert hash_bytes(b"abc") == hashlib.new("blake2b", b"abc", digest_size=20).hexdigest()


def test_the_split_between_strings_matters():
    assert hash_text("ab", "c") != hash_text("a", "bc")
    assert hash_text("abc") != hash_text("abc", "")
    assert hash_text("a", "b") != hash_text("b", "a")
    assert hash_text("1:a") != hash_text("a")


def test_seeds_are_frozen():
    """A changed value would change every run: a resumed run would no longer be the run it resumes.

    The literals are `printf int:42/str:draw/int:7/int:0 | b2sum -l 64`, halved.
    """
    assert derive_seed(42, "draw", 7, 0) == 9096311493264490768
    assert derive_seed("training") == 8476937630987989163


def test_seeds_fit_a_generator_and_differ_in_every_part():
    seeds = {derive_seed(seed, "draw", step, sample) for seed in range(4) for step in range(50) for sample in range(5)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1) != derive_seed("1")
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_quiet_imports_is_quiet_and_gives_everything_back(capsys):
    before = logging.root.manager.disable
    with quiet_imports():
        warnings.warn("chatter", UserWarning, stacklevel=1)
        logging.getLogger("library").warning("chatter")
        print("chatter", file=sys.stderr)
    assert capsys.readouterr().err == ""
    assert logging.root.manager.disable == before
    with pytest.raises(ZeroDivisionError), quiet_imports():
        raise ZeroDivisionError
    assert logging.root.manager.disable == before
