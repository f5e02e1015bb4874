"""A file is taken for what it is, whatever its first bytes happen to look like."""

from __future__ import annotations

import json

import pytest

from slipstream.core.errors import ModelError
from slipstream.core.tensor_file import read_header


@pytest.mark.parametrize("length", [0x0280, 0x0480, 0x4B50])
def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path, length):
    """640 = 0x0280 is stored as the bytes 80 02, with which pickles begin, and 0x4B50 as the PK of archives."""
    text = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(length)
    path = tmp_path / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + text + bytes(4))
    assert list(read_header(path).tensors) == ["w"]


@pytest.mark.parametrize("start", [b"\x80\x02}q\x00X\x05\x00\x00", b"PK\x03\x04\x00\x00\x08\x08\x00"])
def test_a_pickle_is_refused_whatever_it_is_called(tmp_path, start):
    path = tmp_path / "model.safetensors"
    path.write_bytes(start + bytes(100))
    with pytest.raises(ModelError, match="a pickle"):
        read_header(path)
