"""Atomic files: a reader sees the old content or the new, never half."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from slipstream.core.atomic import atomic_path, write_bytes, write_json, write_text
from slipstream.core.errors import DiskFullError, RunError, SlipstreamError


def test_what_is_written_is_read(tmp_path):
    write_bytes(tmp_path / "a.bin", b"\x00\xff")
    write_text(tmp_path / "a.txt", "Größe 火")
    write_json(tmp_path / "a.json", {"prompt": "火", "n": [1, 2]})
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "Größe 火"
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"prompt": "火", "n": [1, 2]}
    assert "火" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.json", "a.txt"]


def test_the_old_content_is_visible_until_the_block_ends(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"


def write_half(path: Path, failure: Exception) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise failure


def test_a_failing_block_leaves_the_old_content_and_no_litter(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_half(path, ZeroDivisionError())
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "full"),
        OSError(errno.EDQUOT, "over quota"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
    ids=["full", "quota", "wrapped by a library"],
)
def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path, failure):
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(DiskFullError) as caught:
        write_half(path, failure)
    assert caught.value.where == str(path)
    assert caught.value.fix
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_full_disk_at_the_flush_leaves_the_old_file(tmp_path, full_disk):
    path = tmp_path / "f"
    path.write_text("old")
    with full_disk(), pytest.raises(DiskFullError):
        write_text(path, "new")
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"


def test_a_missing_folder_is_a_run_error_that_names_the_file(tmp_path):
    with pytest.raises(RunError, match="nowhere") as caught:
        write_text(tmp_path / "nowhere" / "f", "x")
    assert not isinstance(caught.value, DiskFullError)


def test_errors_read_place_then_message_then_fix():
    assert (
        str(SlipstreamError("got 3, expected 2", where="a.b", fix="set a.b=2."))
        == "a.b: got 3, expected 2\n  fix: set a.b=2."
    )
    assert str(SlipstreamError("got 3")) == "got 3"


def test_every_error_is_caught_by_its_root():
    from slipstream.core import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) == 15
    assert all(issubclass(value, SlipstreamError) for value in classes)
    assert issubclass(DiskFullError, RunError)


def test_core_loads_no_torch():
    code = (
        "import sys, slipstream.core.atomic, slipstream.core.errors, slipstream.core.hashing, slipstream.core.seeding, "
        "slipstream.core.quiet; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
