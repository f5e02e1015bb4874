"""Every term of the loss against its closed form, on a network that is a number or two."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from slipstream.data.loader import TrainingBatch
from slipstream.flow.weights import weighted_table
from slipstream.objectives.objective import Model, objective_terms
from slipstream.objectives.settings import ObjectiveSettings
from slipstream.objectives.velocity import velocity_loss

LOSSES = ("mse", "mae", "huber", "pseudo_huber", "wavelet")
SIGMA = torch.tensor([0.2, 0.5, 0.9])
BLANK = torch.zeros(2, 4)


@dataclass
class Toy:
    """velocity = noisy * (0.5 + lora) + mean of the caption; counts what is asked of it."""

    lora: Tensor = field(default_factory=lambda: torch.tensor(0.3, requires_grad=True))
    calls: list[str] = field(default_factory=list)

    def with_lora(self, noisy: Tensor, sigma: Tensor, texts: list[Tensor]) -> Tensor:
        self.calls.append("with")
        return noisy * (0.5 + self.lora) + captions(texts) * (1 + self.lora)

    def without_lora(self, noisy: Tensor, sigma: Tensor, texts: list[Tensor]) -> Tensor:
        self.calls.append("without")
        with torch.no_grad():
            return noisy * 0.5 + captions(texts)

    def model(self, blank: Tensor | None = BLANK) -> Model:
        return Model(self.with_lora, self.without_lora, blank)


def captions(texts: list[Tensor]) -> Tensor:
    return torch.stack([text.mean() for text in texts]).view(-1, 1, 1, 1)


def tensors(count: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    clean, noise = torch.randn(2, 3, 2, 4, 4, generator=generator)
    texts = [torch.randn(tokens, 4, generator=generator) for tokens in (2, 3, 5)]
    return clean[:count], noise[:count], texts[:count]


def batch_of(count: int = 3, **changes) -> TrainingBatch:
    clean, _, texts = tensors(count)
    return replace(TrainingBatch(clean, texts, tuple(range(count))), **changes)


def terms_of(
    batch: TrainingBatch, toy: Toy | None = None, timestep_type: str = "linear", **settings
) -> dict[str, Tensor]:
    rows = list(batch.entry_indices)
    noise = tensors(3)[1][rows]
    chosen = ObjectiveSettings(**settings)
    model = (toy or Toy()).model()
    return {
        k: v
        for part in objective_terms(batch, model, noise, SIGMA[rows], timestep_type, chosen)
        for k, v in part.items()
    }


def loss_of(batch: TrainingBatch, toy: Toy | None = None, timestep_type: str = "linear", **settings) -> Tensor:
    return torch.stack([term.mean() for term in terms_of(batch, toy, timestep_type, **settings).values()]).sum()


def gradient_of(batch: TrainingBatch, **settings) -> float:
    toy = Toy()
    return torch.autograd.grad(loss_of(batch, toy, **settings), toy.lora)[0].item()


def noisy_of(count: int = 3) -> Tensor:
    clean, noise, _ = tensors(count)
    s = SIGMA[:count].view(-1, 1, 1, 1)
    return (1 - s) * clean + s * noise


@pytest.mark.parametrize("timestep_type", ["linear", "weighted"])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_a_plain_batch_has_the_velocity_loss_alone(loss_type, timestep_type):
    clean, noise, texts = tensors(3)
    toy = Toy()
    terms = terms_of(batch_of(), toy, timestep_type, loss_type=loss_type)
    alone = velocity_loss(
        lambda noisy, sigma: Toy().with_lora(noisy, sigma, texts), clean, noise, SIGMA, loss_type=loss_type,
        timestep_type=timestep_type,
    )  # fmt: skip
    assert list(terms) == ["velocity"]
    assert torch.equal(terms["velocity"], alone.per_sample_B)
    assert toy.calls == ["with"]


def test_loss_weights_multiply_a_sample_with_all_its_terms():
    preserved = [torch.ones(2, 4)] * 3
    plain = terms_of(batch_of(preserved_texts=preserved), preservation_multiplier=2.0)
    weighted = terms_of(batch_of(preserved_texts=preserved, loss_weights=(0.5, 1.0, 3.0)), preservation_multiplier=2.0)
    assert set(plain) == {"velocity", "preservation"}
    for name, term in plain.items():
        torch.testing.assert_close(weighted[name], term * torch.tensor([0.5, 1.0, 3.0]))


def test_the_levels_weight_counts_pictures_and_not_preservation():
    batch = batch_of(preserved_texts=[torch.ones(2, 4)] * 3)
    plain = terms_of(batch, preservation_multiplier=1.0)
    weighted = terms_of(batch, timestep_type="weighted", preservation_multiplier=1.0)
    torch.testing.assert_close(weighted["velocity"], plain["velocity"] * weighted_table()[[800, 500, 100]])
    assert torch.equal(weighted["preservation"], plain["preservation"])


def test_a_prior_sample_is_drawn_to_the_model_without_lora():
    toy = Toy()
    terms = terms_of(batch_of(prior=(False, True, False)), toy)
    plain = terms_of(batch_of())["velocity"]
    noisy, texts = noisy_of(), tensors(3)[2]
    difference = toy.with_lora(noisy, SIGMA, texts) - toy.without_lora(noisy, SIGMA, texts)
    expected = difference.square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(terms["velocity"], torch.stack([plain[0], expected[1], plain[2]]))


def test_a_prior_sample_has_no_gradient_at_a_lora_of_zero():
    toy = Toy(torch.tensor(0.0, requires_grad=True))
    loss = loss_of(batch_of(prior=(True, True, True)), toy)
    assert loss == 0
    assert torch.autograd.grad(loss, toy.lora)[0] == 0


def test_a_mask_counts_its_cells_at_the_scale_of_the_whole():
    mask = torch.zeros(3, 4, 4)
    mask[:, :2] = 1
    noisy, (clean, noise, texts) = noisy_of(), tensors(3)
    elements = (Toy().with_lora(noisy, SIGMA, texts) - (noise - clean)).square()
    got = terms_of(batch_of(masks_BHW=mask))["velocity"]
    torch.testing.assert_close(got, elements[:, :, :2].mean(dim=(1, 2, 3)))
    torch.testing.assert_close(terms_of(batch_of(masks_BHW=mask * 0.3))["velocity"], got)


@pytest.mark.parametrize("loss_type", LOSSES)
def test_a_constant_mask_changes_nothing_and_an_empty_one_gives_zero(loss_type):
    plain = terms_of(batch_of(), loss_type=loss_type)["velocity"]
    even = terms_of(batch_of(masks_BHW=torch.full((3, 4, 4), 0.4)), loss_type=loss_type)["velocity"]
    torch.testing.assert_close(even, plain)
    assert terms_of(batch_of(masks_BHW=torch.zeros(3, 4, 4)), loss_type=loss_type)["velocity"].abs().max() == 0


def test_grey_cells_count_in_proportion():
    mask = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(2))
    noisy, (clean, noise, texts) = noisy_of(), tensors(3)
    elements = (Toy().with_lora(noisy, SIGMA, texts) - (noise - clean)).square().mean(dim=1)
    expected = (elements * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2))
    torch.testing.assert_close(terms_of(batch_of(masks_BHW=mask))["velocity"], expected)


def test_outside_of_the_mask_the_model_without_lora_is_the_target_where_a_weight_asks_for_it():
    mask = torch.zeros(3, 4, 4)
    mask[:, :, :3] = 1
    toy = Toy()
    terms = terms_of(batch_of(masks_BHW=mask, mask_prior_weights=(0.0, 1.0, 0.5)), toy)
    noisy, texts = noisy_of(), tensors(3)[2]
    difference = toy.with_lora(noisy, SIGMA, texts) - toy.without_lora(noisy, SIGMA, texts)
    outside = difference.square()[..., 3:].mean(dim=(1, 2, 3))
    torch.testing.assert_close(terms["mask_prior"], outside * torch.tensor([0.0, 1.0, 0.5]))
    assert torch.equal(terms["velocity"], terms_of(batch_of(masks_BHW=mask))["velocity"])


def test_preservation_is_the_multiplier_times_mse_to_the_model_without_lora():
    preserved = [torch.full((2, 4), value) for value in (0.1, 0.5, -0.3)]
    toy = Toy()
    terms = terms_of(batch_of(preserved_texts=preserved), toy, preservation_multiplier=2.5, loss_type="mae")
    assert toy.calls == ["with", "with", "without"]
    noisy = noisy_of()
    difference = toy.with_lora(noisy, SIGMA, preserved) - toy.without_lora(noisy, SIGMA, preserved)
    torch.testing.assert_close(terms["preservation"], 2.5 * difference.square().mean(dim=(1, 2, 3)))
    assert torch.equal(terms["velocity"], terms_of(batch_of(), loss_type="mae")["velocity"])


def test_preservation_has_no_gradient_at_a_lora_of_zero_and_pulls_back_elsewhere():
    batch = batch_of(preserved_texts=[torch.ones(2, 4)] * 3)
    for value, sign in ((0.0, 0), (0.3, 1), (-0.3, -1)):
        toy = Toy(torch.tensor(value, requires_grad=True))
        term = terms_of(batch, toy, preservation_multiplier=1.0)["preservation"].mean()
        gradient = torch.autograd.grad(term, toy.lora)[0]
        assert torch.sign(gradient) == sign


def test_preserved_captions_must_be_there():
    with pytest.raises(ValueError, match="preserved captions"):
        terms_of(batch_of(), preservation_multiplier=1.0)
    settings = ObjectiveSettings(contrastive_guidance_scale=2.0)
    with pytest.raises(ValueError, match="the blank prompt"):
        next(objective_terms(batch_of(), Toy().model(None), tensors(3)[1], SIGMA, "linear", settings))


def test_contrastive_guidance_pushes_the_target_from_the_blank_prediction_without_lora():
    toy = Toy()
    got = terms_of(batch_of(), toy, contrastive_guidance_scale=3.0)["velocity"]
    noisy, (clean, noise, texts) = noisy_of(), tensors(3)
    blank = toy.without_lora(noisy, SIGMA, [BLANK] * 3)
    target = blank + 3 * ((noise - clean) - blank)
    expected = (toy.with_lora(noisy, SIGMA, texts) - target).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("loss_type", LOSSES)
@pytest.mark.parametrize("name", ["contrastive_guidance_scale", "differential_guidance_scale"])
def test_a_guidance_of_one_is_none(name, loss_type):
    plain, guided = ({"loss_type": loss_type}, {"loss_type": loss_type, name: 1.0})
    torch.testing.assert_close(loss_of(batch_of(), **guided), loss_of(batch_of(), **plain))
    assert gradient_of(batch_of(), **guided) == pytest.approx(gradient_of(batch_of(), **plain), rel=1e-4)


@pytest.mark.parametrize(("loss_type", "factor"), [("mse", 3.0), ("wavelet", 3.0), ("mae", 1.0)])
def test_differential_guidance_multiplies_gradients_by_its_scale_and_those_of_mae_by_nothing(loss_type, factor):
    guided = gradient_of(batch_of(), loss_type=loss_type, differential_guidance_scale=3.0)
    assert guided == pytest.approx(factor * gradient_of(batch_of(), loss_type=loss_type), rel=1e-5)


def test_differential_guidance_leaves_preservation_alone():
    batch = batch_of(preserved_texts=[torch.ones(2, 4)] * 3)
    terms = terms_of(batch, preservation_multiplier=1.0, differential_guidance_scale=3.0)
    assert torch.equal(terms["preservation"], terms_of(batch, preservation_multiplier=1.0)["preservation"])


def test_contrastive_guidance_leaves_prior_samples_alone():
    batch = batch_of(prior=(True, False, False))
    pushed, plain = terms_of(batch, contrastive_guidance_scale=3.0), terms_of(batch)
    assert pushed["velocity"][0] == plain["velocity"][0]
    assert pushed["velocity"][1] != plain["velocity"][1]


def test_what_several_terms_ask_of_the_model_without_lora_is_predicted_once():
    toy = Toy()
    mask = torch.ones(3, 4, 4)
    everything = batch_of(
        prior=(True, False, False),
        masks_BHW=mask,
        mask_prior_weights=(1.0, 1.0, 1.0),
        preserved_texts=[BLANK.clone()] * 3,
    )
    terms_of(everything, toy, preservation_multiplier=1.0, contrastive_guidance_scale=2.0)
    # captions for prior and mask; blank for contrast and preservation
    assert sorted(toy.calls) == ["with", "with", "without", "without"]


ALL = {
    "prior": ({"prior": (True, False, True)}, {}),
    "mask": ({"masks_BHW": torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(3))}, {}),
    "weights": ({"loss_weights": (0.5, 1.0, 2.0)}, {}),
    "preservation": (
        {"preserved_texts": [torch.full((2, 4), v) for v in (0.1, 0.5, 1.0)]},
        {"preservation_multiplier": 2.0},
    ),
    "contrastive": ({}, {"contrastive_guidance_scale": 2.0}),
    "differential": ({}, {"differential_guidance_scale": 3.0}),
}
ALL["mask prior"] = ({**ALL["mask"][0], "mask_prior_weights": (0.3, 0.0, 1.0)}, {})
ALL["everything"] = (
    {name: value for batch, _ in ALL.values() for name, value in batch.items()},
    {name: value for _, settings in ALL.values() for name, value in settings.items()},
)


def single(batch: TrainingBatch, row: int) -> TrainingBatch:
    def part(value):
        return value[row : row + 1] if value is not None else None

    names = ("latents_BCHW", "texts", "entry_indices", "loss_weights", "prior", "masks_BHW", "mask_prior_weights")
    return replace(batch, **{name: part(getattr(batch, name)) for name in (*names, "preserved_texts")})


@pytest.mark.parametrize("loss_type", LOSSES)
@pytest.mark.parametrize("name", list(ALL))
def test_a_batch_is_the_mean_of_its_samples(name, loss_type):
    fields, settings = ALL[name]
    batch = batch_of(**fields)
    toys = [Toy() for _ in range(4)]
    whole = loss_of(batch, toys[3], "weighted", loss_type=loss_type, **settings)
    singles = [loss_of(single(batch, row), toys[row], "weighted", loss_type=loss_type, **settings) for row in range(3)]
    torch.testing.assert_close(whole, torch.stack(singles).mean())
    gradients = [torch.autograd.grad(loss, toy.lora)[0] for loss, toy in zip(singles, toys, strict=False)]
    torch.testing.assert_close(torch.autograd.grad(whole, toys[3].lora)[0], torch.stack(gradients).mean())
