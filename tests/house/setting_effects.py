"""What every setting changes in a short training, as seen from outside. One entry a setting, by dotted path.

`changes` is exact: a facet that is not named must stay as it is, but for the log and the file's metadata, which repeat
settings in words. The sets below are consequences that belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

WEIGHTS = {"weights"}
LATER = {"later losses", "later gradients", *WEIGHTS}
"""What follows from another update."""
UPDATE = {"first gradient", *LATER}
"""What follows from another gradient at the same loss."""
LOSS = {"first loss", *UPDATE}
"""What follows from another loss at the same inputs."""
NOISE = {"noise levels", "inputs", *LOSS}
PICTURES = {"pictures", "inputs", *LOSS}
TEXTS = {"captions", "texts", *LOSS}
DRAWS = {"previews", "preview pixels"}
DRAWN = {"side forwards", *DRAWS}
FREE = {"log", "metadata"}


@dataclass(frozen=True)
class Effect:
    """One setting changed: its YAML value, what it changes, and one value that is refused.

    Attributes:
        value: another value than the default's (or than `given` says).
        changes: the facets that differ, exactly.
        given: overrides that both trainings have.
        beside: overrides that must go along with the new value.
        nonsense: a value that the config refuses; None where every value of the type makes sense.
    """

    value: str
    changes: set[str]
    given: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    nonsense: str | None = None


PREVIEW = ('sample.prompts=[{prompt: "a [trigger] emoji of fox"}]',)

JOB = {
    "job.name": Effect("other", {"checkpoints", "files"}, nonsense="a/b"),
    "job.trigger_word": Effect("plush", TEXTS, nonsense='"[trigger]"'),
    "job.device": Effect("cpu", set(), nonsense="gpu"),
    "job.seed": Effect("2", {"order", *PICTURES, *NOISE, *TEXTS}, nonsense="-1"),
    "job.output_dir": Effect("OTHER_FOLDER", set()),
}
MODEL = {
    "model.variant": Effect("de_turbo", LOSS, beside=("model.name_or_path=tiny/de-turbo",), nonsense="turbo2"),
    "model.name_or_path": Effect(
        "TINY/base",
        LOSS,
        nonsense="tiny/base",
        beside=("model.extras_from=tiny/turbo", "model.training_adapter=TINY/adapters/training_adapter_v2.safetensors"),
    ),
    "model.extras_from": Effect("TINY/turbo", set()),
    "model.training_adapter": Effect("v1", LOSS, nonsense="v3"),
}
SAVE = {
    "save.dtype": Effect("fp32", {"file format", *WEIGHTS}, nonsense="int8"),
    "save.every": Effect("1", {"checkpoints"}, given=("save.keep=0",), nonsense="-1"),
    "save.keep": Effect("1", {"checkpoints"}, nonsense="-1"),
    "save.push_to_hub.repo": Effect("me/lora", {"pushed"}, nonsense='"a/b/c"'),
    "save.push_to_hub.private": Effect("false", {"pushed"}, given=("save.push_to_hub={repo: me/lora}",), nonsense="1"),
    "save.keep_every": Effect("2", {"checkpoints"}, given=("save.keep=1",), nonsense="-1"),
}
SAMPLE = {
    "sample.every": Effect("1", {"side forwards", *DRAWS}, given=PREVIEW, nonsense="-1"),
    "sample.prompts.0.prompt": Effect('"a noto emoji of sun"', DRAWN, given=PREVIEW),
    "sample.prompts.0.width": Effect("80", DRAWN, given=PREVIEW, nonsense="100"),
    "sample.prompts.0.height": Effect("80", DRAWN, given=PREVIEW, nonsense="0"),
    "sample.prompts.0.seed": Effect("1", DRAWN, given=PREVIEW, nonsense="-1"),
    "sample.prompts.0.steps": Effect("2", DRAWN, given=PREVIEW, nonsense="0"),
    "sample.prompts.0.guidance_scale": Effect("3.0", DRAWN, given=PREVIEW, nonsense="-1.0"),
    "sample.prompts.0.negative_prompt": Effect("blue", DRAWN, given=(*PREVIEW, "sample.guidance_scale=3.0")),
    "sample.prompts.0.lora_scale": Effect("0.5", DRAWS, given=PREVIEW, nonsense="many"),
    "sample.prompts_file": Effect("PROMPTS", {"side forwards", "files", *DRAWS}, nonsense='""'),
    "sample.lora_scales": Effect("[0.5, 1.0]", DRAWN, given=PREVIEW, nonsense="[many]"),
    "sample.negative_prompt": Effect("blue", {"side forwards", *DRAWS}, given=(*PREVIEW, "sample.guidance_scale=3.0")),
    "sample.width": Effect("80", {"side forwards", *DRAWS}, given=PREVIEW, nonsense="100"),
    "sample.height": Effect("80", {"side forwards", *DRAWS}, given=PREVIEW, nonsense="0"),
    "sample.steps": Effect("2", {"side forwards", *DRAWS}, given=PREVIEW, nonsense="0"),
    "sample.guidance_scale": Effect("3.0", {"side forwards", *DRAWS}, given=PREVIEW, nonsense="-1.0"),
    "sample.seed": Effect("1", {"side forwards", *DRAWS}, given=PREVIEW, nonsense="-1"),
    "sample.walk_seed": Effect(
        "true", {"side forwards", *DRAWS}, given=("sample.prompts=[a fox, a cat]",), nonsense="1"
    ),
    "sample.at_start": Effect("true", {"side forwards", *DRAWS}, given=PREVIEW, nonsense="0"),
}
ADVANCED = {
    "advanced.differential_guidance.scale": Effect("3.0", LOSS, nonsense="0.0"),
    "advanced.log_every": Effect("1", set(), nonsense="-1"),
    "advanced.tensorboard": Effect("true", {"files"}, nonsense="1"),
    "advanced.cache_dir": Effect("OTHER_FOLDER", set()),
    "advanced.vram_limit": Effect("7.5", set(), nonsense="0"),
}
QUANTIZATION = {
    "quantization.transformer": Effect("bf16", {"texts", *PICTURES}, nonsense="fp16"),
    "quantization.compute_dtype": Effect("float8", LOSS, given=("quantization.transformer=float8",), nonsense="int8"),
    "quantization.layer_offloading": Effect(
        "50", set(), given=("quantization.transformer=float8", "quantization.compute_dtype=float8"), nonsense="150"
    ),
    "quantization.text_encoder": Effect("bf16", TEXTS, nonsense="fp16"),
}
RATES = {"rates", *LATER}
SHAPE = {"modules", "first gradient", *LATER}
"""What follows from another LoRA at the same base."""
TARGET = {
    "target.type": Effect("loha", SHAPE, nonsense="lora2"),
    "target.lokr_factor": Effect("4", SHAPE, given=("target.type=lokr",), nonsense="0"),
    "target.lokr_full_rank": Effect("true", SHAPE, given=("target.type=lokr",), nonsense="1"),
    "target.rank": Effect("4", SHAPE, nonsense="0"),
    "target.alpha": Effect("1.0", UPDATE, nonsense="0.0"),
    "target.dropout": Effect("0.5", UPDATE, nonsense="1.0"),
    "target.rank_dropout": Effect("0.5", UPDATE, nonsense="1.0"),
    "target.module_dropout": Effect("0.5", UPDATE, nonsense="1.0"),
    "target.target_modules": Effect("[attention.to_q]", SHAPE, nonsense="[]"),
    "target.exclude_modules": Effect("[feed_forward.w2]", SHAPE, nonsense='[""]'),
    "target.blocks": Effect("0-1", SHAPE, nonsense="3-1"),
    "target.init": Effect("pissa", SHAPE, nonsense="zeros"),
    "target.start_from": Effect("ADAPTER_V1", LOSS, given=("target.target_modules=ADAPTED",), nonsense='""'),
    "target.lora_plus_ratio": Effect("4.0", LATER, nonsense="0.0"),
    "target.parts": Effect("[layers, noise_refiner]", SHAPE, nonsense="[layer]"),
}
STEPS = {"order", "pictures", "captions", "weights of samples", "masks", "noise levels", "inputs", "texts", "rates"}
EXTRA = {"inputs", "noise levels", "texts", "side forwards", "metrics", *LATER}
"""What follows from further forward passes, which begin to matter once the LoRA has moved."""
PRESERVED = ("training.preservation={kind: class_word, class_word: noto}",)
HOT, BRAKED = ("training.learning_rate=0.3",), "training.drift={every: 1, limit: 0.5"
GUARDED = {"rates", "side forwards", "weights"}
"""A rate that falls before the last of three updates, which no loss shows any more."""
VALIDATED = {"files", "side forwards"}
HELD_OUT = ("training.validation={path: OTHER_PICTURES, every: 2}",)
TRAINING = {
    "training.steps": Effect("2", {"checkpoints", *STEPS, *LATER}, nonsense="0"),
    "training.batch_size": Effect("1", {*STEPS, *LOSS} - {"rates", "masks", "weights of samples"}, nonsense="0"),
    "training.gradient_accumulation": Effect("2", {*STEPS, *LOSS} - {"rates"}, nonsense="0"),
    "training.gradient_checkpointing": Effect("full", set(), nonsense="some"),
    "training.optimizer": Effect("lion", LATER, nonsense="adamx"),
    "training.optimizer_args": Effect("{amsgrad: true}", WEIGHTS),
    "training.learning_rate": Effect("5e-4", RATES, nonsense="0.0"),
    "training.module_learning_rates": Effect("{attention.to_q: 0.5}", LATER, nonsense="{attention.to_q: -1.0}"),
    "training.weight_decay": Effect("0.5", LATER, nonsense="-1.0"),
    "training.beta1": Effect("0.5", LATER, nonsense="1.0"),
    "training.beta2": Effect("0.5", LATER, nonsense="1.0"),
    "training.eps": Effect("1e-3", LATER, nonsense="0.0"),
    "training.max_grad_norm": Effect("1e-3", LATER, given=("training.eps=1e-3",), nonsense="-1.0"),
    "training.max_loss": Effect("1e-3", {"metrics", *LATER}, nonsense="0.0"),
    "training.lr_schedule": Effect("linear", RATES, nonsense="square"),
    "training.warmup_steps": Effect("2", RATES, nonsense="3"),
    "training.min_lr_fraction": Effect("0.5", RATES, given=("training.lr_schedule=linear",), nonsense="2.0"),
    "training.lr_restarts": Effect("1", RATES, given=("training.lr_schedule=cosine_restarts",), nonsense="-1"),
    "training.lr_power": Effect("1.0", RATES, given=("training.lr_schedule=polynomial",), nonsense="0.0"),
    "training.loss_type": Effect("mae", LOSS, nonsense="l3"),
    "training.huber_delta": Effect("0.5", LOSS, given=("training.loss_type=huber",), nonsense="0.0"),
    "training.timestep_type": Effect("sigmoid", NOISE, nonsense="cosine"),
    "training.timestep_bias": Effect("high_noise", NOISE, nonsense="content"),
    "training.shift": Effect("5.0", NOISE, given=("training.timestep_type=shift",), nonsense="0.0"),
    "training.logit_mean": Effect("1.0", NOISE, given=("training.timestep_type=logit_normal",)),
    "training.logit_scale": Effect("0.5", NOISE, given=("training.timestep_type=logit_normal",), nonsense="0.0"),
    "training.min_noise": Effect("0.5", NOISE, nonsense="1.0"),
    "training.max_noise": Effect("0.5", NOISE, nonsense="0.0"),
    "training.stratified": Effect("true", NOISE, nonsense="1"),
    "training.noise_offset": Effect("0.1", {"inputs", *LOSS}, nonsense="-0.1"),
    "training.ema.decay": Effect("0.5", WEIGHTS, given=("training.ema.decay=0.9",), nonsense="1.0"),
    "training.ema.warmup": Effect("true", WEIGHTS, given=("training.ema.decay=0.9",), nonsense="-1"),
    "training.preservation.kind": Effect("blank_prompt", EXTRA, nonsense="nothing"),
    "training.preservation.multiplier": Effect("3.0", LATER, given=PRESERVED, nonsense="-1.0"),
    "training.preservation.class_word": Effect(
        "flat", {"texts", "side forwards", *LATER}, given=PRESERVED, nonsense='""'
    ),
    "training.contrastive_guidance.scale": Effect(
        "2.0", LOSS, given=("training.contrastive_guidance={scale: 1.5}",), nonsense="0.0"
    ),
    "training.validation.path": Effect("OTHER_PICTURES", VALIDATED, nonsense='""'),
    "training.validation.fraction": Effect("0.5", {*VALIDATED, "order", *PICTURES, *TEXTS}, nonsense="1.0"),
    "training.validation.every": Effect("1", {"side forwards"}, given=HELD_OUT, nonsense="-1"),
    "training.validation.noise_levels": Effect("[0.4]", {"side forwards"}, given=HELD_OUT, nonsense="[1.5]"),
    "training.validation.num_seeds": Effect("1", {"side forwards"}, given=HELD_OUT, nonsense="0"),
    "training.validation.patience": Effect("1", set(), given=HELD_OUT, nonsense="0"),
    "training.drift.every": Effect("1", {"side forwards"}, given=("training.drift={every: 2}",), nonsense="-1"),
    "training.drift.prompts": Effect(
        "[a noto emoji of owl]", {"side forwards"}, given=("training.drift={every: 2}",), nonsense='[""]'
    ),
    "training.drift.guard": Effect(
        "lower_learning_rate", GUARDED, given=(*HOT, f"{BRAKED}, guard: warn}}"), nonsense="no"
    ),
    "training.drift.lowest_rate": Effect(
        "1.0", GUARDED, given=(*HOT, f"{BRAKED}, guard: lower_learning_rate}}"), nonsense="0.0"
    ),
    "training.drift.limit": Effect(
        "100.0", GUARDED, given=(*HOT, f"{BRAKED}, guard: lower_learning_rate}}"), nonsense="0.0"
    ),
    "training.text_encoder": Effect("unload", TEXTS, nonsense="drop"),
}
MASKED = ("datasets.0.mask.source=folder", "datasets.0.mask.path=MASKS")
DATASETS = {
    "datasets.0.path": Effect("OTHER_PICTURES", PICTURES, nonsense='""'),
    "datasets.0.resolutions": Effect("[64, 80]", {"order", *PICTURES, *TEXTS}, given=("job.seed=3",), nonsense="[32]"),
    "datasets.0.num_repeats": Effect("2", {"order", *PICTURES, *TEXTS}, given=("job.seed=3",), nonsense="0"),
    "datasets.0.default_caption": Effect("a noto emoji of cup", TEXTS),
    "datasets.0.caption_extension": Effect("caption", TEXTS, nonsense="a/b"),
    "datasets.0.captions_file": Effect("CAPTIONS", TEXTS, nonsense="captions.txt"),
    "datasets.0.caption_dropout": Effect("1.0", TEXTS, nonsense="1.5"),
    "datasets.0.caption_shuffle": Effect("true", TEXTS, nonsense="1"),
    "datasets.0.caption_token_dropout": Effect("0.5", TEXTS, nonsense="1.5"),
    "datasets.0.keep_tokens": Effect("2", TEXTS, given=("datasets.0.caption_shuffle=true",), nonsense="-1"),
    "datasets.0.caption_separator": Effect("o", TEXTS, given=("datasets.0.caption_shuffle=true",), nonsense='""'),
    "datasets.0.caption_variants": Effect(
        "16", TEXTS, given=("datasets.0.caption_shuffle=true", "job.seed=3"), nonsense="0"
    ),
    "datasets.0.trigger_word": Effect("plush", TEXTS, nonsense='"[trigger]"'),
    "datasets.0.random_triggers": Effect("[plush, wool]", TEXTS, nonsense='["[trigger]"]'),
    "datasets.0.lora_weight": Effect("0.5", {"weights of samples", *UPDATE}, nonsense="nothing"),
    "datasets.0.loss_multiplier": Effect("0.5", {"weights of samples", *LOSS}, nonsense="-1.0"),
    "datasets.0.regularization": Effect("pictures", TEXTS, nonsense="both"),
    "datasets.0.flip_horizontal": Effect("true", PICTURES, nonsense="1"),
    "datasets.0.flip_vertical": Effect("true", PICTURES, nonsense="1"),
    "datasets.0.square": Effect("true", {"order", *PICTURES, *TEXTS}, nonsense="1"),
    "datasets.0.bucket_step": Effect("64", {"order", *PICTURES, *TEXTS}, nonsense="24"),
    "datasets.0.crop": Effect("top", PICTURES, given=("datasets.0.square=true",), nonsense="left"),
    "datasets.0.num_crops": Effect(
        "4", PICTURES, given=("datasets.0.crop=random", "datasets.0.crop_scale=0.7"), nonsense="0"
    ),
    "datasets.0.crop_scale": Effect("0.7", PICTURES, given=("datasets.0.crop=random",), nonsense="0.0"),
    "datasets.0.cache_latents": Effect("false", set(), nonsense="0"),
    "datasets.0.mask.source": Effect("alpha", {"masks", *LOSS}, given=("datasets.0.path=SEE_THROUGH",), nonsense="red"),
    "datasets.0.mask.path": Effect("OTHER_MASKS", {"masks", *LOSS}, given=MASKED),
    "datasets.0.mask.invert": Effect("true", {"masks", *LOSS}, given=MASKED, nonsense="1"),
    "datasets.0.mask.minimum": Effect("0.5", {"masks", *LOSS}, given=MASKED, nonsense="2.0"),
    "datasets.0.mask.prior_weight": Effect(
        "1.0", {"masks", "side forwards", "metrics", *LATER}, given=MASKED, nonsense="-1.0"
    ),
}
EFFECTS = {**JOB, **MODEL, **TARGET, **SAVE, **QUANTIZATION, **TRAINING, **DATASETS, **SAMPLE, **ADVANCED}
