from __future__ import annotations

from slipstream.adapters.inject import linears_of
from slipstream.models.z_image.names import block_linears
from slipstream.models.z_image.resolve import TINY_ROOT

LISTS = ("layers.", "noise_refiner.", "context_refiner.")


def test_names_from_the_config_are_the_model_s(tiny):
    model = [name for name in linears_of(tiny.transformer) if name.startswith(LISTS)]
    assert sorted(block_linears(TINY_ROOT / "turbo/transformer")) == sorted(model)
