"""What the control plane says of the GPUs against what torch says."""

from __future__ import annotations

import os

import pytest
import torch

from slipstream.jobs.devices import find_gpus, queue_names

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


def test_gpus_are_the_ones_that_torch_sees():
    gpus = find_gpus()
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        assert len(gpus) == torch.cuda.device_count()
    assert queue_names(gpus)[0].startswith("gpu:")
    properties = torch.cuda.get_device_properties(0)
    same = [gpu for gpu in gpus if gpu.name == properties.name]
    assert same
    assert all(gpu.memory_gib == pytest.approx(properties.total_memory / 2**30, rel=0.05) for gpu in same)
    assert all(0 < gpu.used_gib < gpu.memory_gib for gpu in same)
