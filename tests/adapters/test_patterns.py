"""Which linears are trained: ends of names, globs, block ranges, parts, exclusions, and refusals that teach."""

from __future__ import annotations

import pytest
import torch

from slipstream.adapters.inject import inject_lora, linears_of, select_targets
from slipstream.adapters.patterns import Selection, matches, places, select
from slipstream.core.errors import AdapterError
from slipstream.models.z_image.family import predictor

ENDINGS = ("attention.to_q", "attention.to_out.0", "feed_forward.w1", "feed_forward.w2")
NAMES = [
    "cap_embedder.1",
    "all_final_layer.2-1.linear",
    *(f"context_refiner.0.{ending}" for ending in ENDINGS),
    *(f"noise_refiner.0.{ending}" for ending in (*ENDINGS, "adaLN_modulation.0")),
    *(f"layers.{block}.{ending}" for block in range(12) for ending in (*ENDINGS, "adaLN_modulation.0")),
]


def chosen(*targets: str, parts=("layers",), exclude=(), blocks=None) -> list[str]:
    return select(NAMES, Selection(parts, targets, exclude, blocks))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("to_q", "layers.0.attention.to_q", True),
        ("attention.to_q", "layers.0.attention.to_q", True),
        ("layers.0.attention.to_q", "layers.0.attention.to_q", True),
        ("o_q", "layers.0.attention.to_q", False),
        ("to_q.0", "layers.0.attention.to_q", False),
        ("attention.*", "layers.0.attention.to_out.0", True),
        ("to_?", "layers.0.attention.to_q", True),
        ("w[13]", "layers.0.feed_forward.w1", True),
        ("w[13]", "layers.0.feed_forward.w2", False),
        ("layers.1*.to_q", "layers.11.attention.to_q", True),
        ("layers.1.*", "layers.11.attention.to_q", False),
        ("layers.*.attention.to_q", "noise_refiner.0.attention.to_q", False),
        ("TO_Q", "layers.0.attention.to_q", False),
    ],
)
def test_a_pattern_means_the_end_of_a_name(pattern, name, expected):
    assert matches(pattern, name) is expected


def test_targets_blocks_parts_and_exclusions():
    assert chosen("to_q", blocks=frozenset({0, 11})) == ["layers.0.attention.to_q", "layers.11.attention.to_q"]
    assert len(chosen("attention.*")) == 24
    assert len(chosen("*")) == 12 * 5
    assert not any("adaLN" in name for name in chosen("*", exclude=("adaLN_modulation.0",)))
    refiners = chosen("to_q", parts=("noise_refiner", "context_refiner"))
    assert refiners == ["context_refiner.0.attention.to_q", "noise_refiner.0.attention.to_q"]
    both = chosen("to_q", parts=("layers", "noise_refiner"), blocks=frozenset({3}))
    assert both == ["noise_refiner.0.attention.to_q", "layers.3.attention.to_q"], "blocks count in layers only"
    assert chosen("adaLN_modulation.0", "to_q", parts=("context_refiner",)) == ["context_refiner.0.attention.to_q"]
    assert places(chosen("to_q", parts=("layers", "noise_refiner"))) == "1 block of noise_refiner, 12 blocks of layers"


@pytest.mark.parametrize(
    ("wanted", "parts_of_message"),
    [
        ({"targets": ("to_qq",)}, ["target.target_modules", "'to_qq'", "did you mean 'to_q'?"]),
        ({"targets": ("feed_forward.w9",)}, ["'feed_forward.w9'", "did you mean 'feed_forward.w"]),
        ({"targets": ("zzz",)}, ["choose from: adaLN_modulation.0, attention.to_out.0"]),
        ({"targets": ("to_q",), "exclude": ("adaLN",)}, ["target.exclude_modules", "'adaLN'", "adaLN_modulation"]),
        ({"targets": ("to_q",), "blocks": frozenset({3, 30})}, ["target.blocks", "no block 30", "12 blocks are 0-11"]),
        ({"targets": ("to_q",), "parts": ("siglip",)}, ["target.parts", "'siglip'", "noise_refiner, layers"]),
        ({"targets": ("to_q",), "exclude": ("attention.*",)}, ["nothing is left to train"]),
        ({"targets": ("adaLN_modulation.0",), "parts": ("context_refiner",)}, ["nothing is left", "context_refiner"]),
    ],
)
def test_what_means_nothing_is_refused(wanted, parts_of_message):
    with pytest.raises(AdapterError) as caught:
        chosen(*wanted.pop("targets"), **wanted)
    text = str(caught.value)
    assert not [part for part in parts_of_message if part not in text], text


def test_refiners_learn_too(tiny, fresh_transformer):
    """Gradients reach a LoRA in the caption branch and in the noise refiner, and one there changes the picture."""
    names = select_targets(fresh_transformer, ("noise_refiner", "context_refiner"), ("attention.to_q", "w2"))
    assert sorted(names) == sorted(f"{p}_refiner.0.{end}" for p in ("noise", "context") for end in ("attention.to_q", "feed_forward.w2"))  # fmt: skip # noqa: E501
    noisy = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    arguments = (noisy, torch.tensor([0.6]), [tiny.features("a noto emoji of cat")])
    with torch.no_grad():
        bare = predictor(fresh_transformer)(*arguments)
    lora = inject_lora(fresh_transformer, names, rank=2, alpha=2.0, seed=0)
    predicted = predictor(fresh_transformer)(*arguments)
    assert torch.equal(predicted, bare)
    predicted.square().mean().backward()
    for name, parameter in lora.named_parameters():
        assert parameter.grad is not None, name
        assert name.endswith(".a") or parameter.grad.abs().max() > 0, name


def test_a_quantized_linear_is_a_linear():
    class Packed(torch.nn.Module):
        in_features, out_features = 4, 6

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("codes", torch.ones(6, 4, dtype=torch.int8))

        def dense_weight(self) -> torch.Tensor:
            return self.codes.float()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.dense_weight().T

    model = torch.nn.ModuleDict({"layers": torch.nn.ModuleList([torch.nn.ModuleDict({"to_q": Packed()})])})
    names = select_targets(model, "layers", ("to_q",))
    assert list(linears_of(model)) == names == ["layers.0.to_q"]
    lora = inject_lora(model, names, rank=2, alpha=2.0, seed=0)
    x = torch.randn(3, 4)
    torch.testing.assert_close(model["layers"][0]["to_q"](x), x @ torch.ones(4, 6))
    assert lora.branches["layers.0.to_q"].a.shape == (2, 4)
    assert list(linears_of(model)) == names
