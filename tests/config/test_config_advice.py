"""Advice: silent on the guide's own settings, and a sentence for each known way to be disappointed."""

import pytest

from slipstream.config.advice import advise
from slipstream.config.run_config import parse_config

GOOD = {
    "job": {"name": "a", "trigger_word": "zfox"},
    "datasets": [{"path": "p"}],
    "sample": {"prompts": ["[trigger] in the snow", "a dog"]},
}
TINY = [
    "model.name_or_path=tiny/turbo",
    "datasets.0.resolutions=128",
    "sample.width=128",
    "sample.height=128",
]


def advice(*overrides: str, images: int | None = 20) -> list[str]:
    return advise(parse_config(GOOD, overrides), images)


def test_the_guides_settings_need_no_advice():
    assert advice() == []
    assert advice("training.steps=1800", images=8) == []
    assert advice("model.variant=de_turbo") == []
    assert advice("model.variant=base") == []
    assert advice(*TINY, "training.learning_rate=1e-3", "training.steps=300") == []


@pytest.mark.parametrize(
    ("overrides", "images", "part"),
    [
        (["model.training_adapter=none"], 20, "WITHOUT A TRAINING ADAPTER"),
        ([*TINY, "model.training_adapter=none"], 20, "WITHOUT A TRAINING ADAPTER"),
        (["training.learning_rate=2e-4"], 20, "too high for Turbo"),
        (["training.learning_rate=1.5e-4"], 20, "above the usual"),
        (["model.variant=de_turbo", "training.learning_rate=5e-4"], 20, "above the usual"),
        (["training.steps=2000"], 20, "short for 20 pictures (usual: 2500-3000"),
        (["training.steps=3500"], 30, "long for 30 pictures (usual: 2500-3000"),
        (["training.steps=2500"], 9, "long for 9 pictures (usual: 1500-2200"),
        (["training.steps=1000"], 9, "short for 9 pictures"),
        (["training.batch_size=4"], 20, "with 4 pictures a step is long"),
        ([], 51, "51 pictures"),
        (["training.steps=20001"], None, "de_turbo for trainings of this length"),
        (["sample.guidance_scale=3"], 20, "guidance is baked in"),
        (["sample.steps=20"], 20, "sample.steps 20 on Turbo"),
        (["sample.steps=4"], 20, "sample.steps 4 on Turbo"),
        ([*TINY, "sample.steps=20"], 20, "sample.steps 20 on Turbo"),
        (["model.variant=de_turbo", "sample.steps=8"], 20, "below 20 previews look unfinished"),
        (["model.variant=de_turbo", "sample.guidance_scale=1"], 20, "without CFG"),
        (["model.variant=base", "sample.steps=20"], 20, "below 28 previews look unfinished"),
        (["target.rank=128"], 20, "target.rank 128"),
        (["save.keep_every=300"], 20, "the first of them 1500"),
        (["sample.prompts=[]"], 20, "sample.prompts is empty"),
        (["sample.prompts=['[trigger] a', 'ZFOX b']"], 20, "without it, to see whether the LoRA leaks"),
        (["sample.prompts=[a, b]"], 20, "will not show what the LoRA learned"),
        (["job.trigger_word=''"], 20, "nothing takes its place"),
        (["datasets.0.caption_dropout=0.5"], 20, "datasets.0.caption_dropout 0.5"),
        (["datasets.0.caption_token_dropout=0.6"], 20, "datasets.0.caption_token_dropout 0.6"),
        (["datasets.0.caption_variants=4"], 20, "datasets.0.caption_variants 4 is not read"),
        (["datasets.0.caption_separator=;"], 20, "datasets.0.caption_separator ';' is not read"),
        (["datasets.0.loss_multiplier=2"], 20, "with a single set"),
        (["datasets.0.regularization=prior"], 20, "every dataset is a regularization set"),
        (["training.text_encoder=unload", "datasets.0.caption_shuffle=true"], 20, "none is learned"),
        (["training.text_encoder=unload", "job.trigger_word=''", "sample.prompts=[a]"], 20, "no words at all"),
        (
            ["datasets.1={path: p, regularization: pictures}", "training.preservation={class_word: person}"],
            20,
            "datasets.1.regularization pictures with training.preservation class_word",
        ),
        (["training.text_encoder=keep"], 20, "7.5 GiB"),
        (["quantization.transformer=fp32"], 20, "23 GiB"),
        (["training.ema.decay=0.9999"], 20, "lag far behind"),
        ([*TINY, "sample.width=1024"], 20, "tiny models draw 128 x 128"),
        ([*TINY, "datasets.0.resolutions=[128, 1024]"], 20, "tiny models were made for 128"),
        (["advanced.differential_guidance={}", "training.max_grad_norm=0"], 20, "only scales gradients"),
    ],
)
def test_a_doubtful_setting_gets_one_sentence(overrides, images, part):
    lines = advice(*overrides, images=images)
    assert len(lines) == 1, lines
    assert part in lines[0]


def test_a_training_too_short_for_ema_is_not_told_to_average_over_more():
    (line,) = [line for line in advice("training.ema.decay=0.9", "training.steps=6") if "ema" in line]
    assert "Leave EMA out" in line


def test_the_gravest_comes_first():
    lines = advice("target.rank=128", "training.learning_rate=1e-3", "model.training_adapter=none")
    assert lines[0].startswith("WARNING")
    assert len(lines) == 3
