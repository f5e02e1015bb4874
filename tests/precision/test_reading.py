"""Reading ahead: the same tensors as the library reads, in order, in bounded memory, and no thread left behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from slipstream.core.tensor_file import read_header
from slipstream.precision import reading
from slipstream.precision.reading import pieces_of, read_ahead, read_piece


@pytest.fixture
def path(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    tensors = {f"t{n}": torch.randn(n + 1, 7, generator=generator) for n in range(12)}
    tensors |= {
        "scalar": torch.tensor(0.5), "none": torch.zeros(0, 3), "half": torch.ones(5, dtype=torch.bfloat16),
        "eighth": torch.arange(-8.0, 8.0).to(torch.float8_e4m3fn), "marker": torch.zeros(2, dtype=torch.float8_e5m2),
        "bytes": torch.arange(9, dtype=torch.uint8),
    }  # fmt: skip
    save_file(tensors, tmp_path / "x.safetensors", metadata={"a": "b"})
    return tmp_path / "x.safetensors"


def test_tensors_are_what_the_library_reads(path):
    file = read_header(path)
    wanted = load_file(path)
    assert file.metadata == {"a": "b"}
    got = dict(zip((piece.key for piece in pieces_of([file])), read_ahead(pieces_of([file])), strict=True))
    assert got.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert (got[key].dtype, got[key].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(got[key].float(), tensor.float())


def test_progress_is_told_in_bytes(path):
    file, told = read_header(path), []
    list(read_ahead(pieces_of([file]), tick=lambda done, total: told.append((done, total))))
    total = sum(stored.num_bytes for stored in file.tensors.values())
    assert len(told) == len(file.tensors)
    assert told[-1] == (total, total)


def test_what_is_read_ahead_is_bounded(path, monkeypatch):
    pieces = pieces_of([read_header(path)])
    begun: list[str] = []

    def note(piece, *, pinned):
        begun.append(piece.key)
        return read_piece(piece, pinned=pinned)

    monkeypatch.setattr(reading, "read_piece", note)
    monkeypatch.setattr(reading, "AHEAD_BYTES", 1)
    for number, _ in enumerate(read_ahead(pieces)):
        assert len(begun) == number + 1


def test_leaving_early_leaves_no_thread(path):
    before = threading.active_count()
    tensors = read_ahead(pieces_of([read_header(path)]))
    next(tensors)
    tensors.close()
    assert threading.active_count() == before


def test_a_file_that_shrinks_while_it_is_read_is_an_error(path):
    pieces = pieces_of([read_header(path)])
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(OSError, match="ends within"):
        list(read_ahead(pieces))
