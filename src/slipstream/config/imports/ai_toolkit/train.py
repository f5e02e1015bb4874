"""`train:` of a job file, apart from optimizer and schedule: steps, noise levels, loss, text, preservation."""

from __future__ import annotations

from slipstream.config.imports.ai_toolkit.optimizer import OPTIMIZER
from slipstream.config.imports.ai_toolkit.steps import in_updates
from slipstream.config.imports.reading import as_list, groups, number
from slipstream.config.imports.rules import Group, Rule, Spot, Table, decide, lacking, skip, take

_BIASES = {"balanced": "balanced", "content": "high_noise", "style": "low_noise"}
_LOSSES = {"mse": "mse", "mae": "mae", "huber": "huber", "pseudo_huber": "pseudo_huber"}
_TIMESTEPS = {
    "weighted": "weighted", "sigmoid": "sigmoid", "linear": "linear", "shift": "shift",
    "flux_shift": "resolution_shift", "lumina2_shift": "resolution_shift",
}  # fmt: skip
_NEAREST_TIMESTEPS = {
    "next_sample": ("shift", "the few levels of a preview there; shift draws around them"),
    "one_step": ("linear", "pure noise alone there"),
    "lognorm_blend": ("sigmoid", "a mixture there"),
}
_LAST_INDEX = 1000

_NOISE = lacking("the noise is plain Gaussian noise here, apart from training.noise_offset", 1.0, 1)
_PREDICTION = lacking("a change to predictions or targets that is not here", 1.0)
_OTHER_KIND = lacking("for another kind of training")
_SPEED = skip("a way of computing, with the same result")


@decide("training.gradient_accumulation")
def _accumulation(spot: Spot) -> None:
    count = number(spot.value)
    why = "averaged here and summed there; Adam and the clipping at max_grad_norm even that out" if count != 1 else ""
    spot.put("training.gradient_accumulation", count, why)


@decide("training.gradient_accumulation")
def _old_accumulation(spot: Spot) -> None:
    count = number(spot.value)
    if count in (1, None):
        return spot.ignore("1: an update after every batch, as it is by default")
    if not isinstance(count, int) or count < 1:
        why = "accumulating over a whole epoch is not here; set training.gradient_accumulation"
        return spot.ignore(why, matters=True)
    why = "with this key steps are counted in batches there, so steps, save and sample rhythm are divided by it"
    spot.put("training.gradient_accumulation", count, why)


@decide("training.timestep_bias")
def _bias(spot: Spot) -> None:
    found = _BIASES.get(str(spot.value))
    if found is None:
        return spot.ignore(f"{spot.value!r} is not here; noise levels are drawn balanced", matters=True)
    spot.put("training.timestep_bias", found, "" if found == spot.value else "the name that the guides give it")


@decide("training.timestep_type")
def _timesteps(spot: Spot) -> None:
    if spot.name.startswith("linear_timesteps"):
        if not spot.value:
            return spot.ignore("off")
        why = "all levels alike with a loss weight each; weighted is the nearest"
        return spot.put("training.timestep_type", "weighted", why, matters=True)
    if spot.group.get("linear_timesteps") or spot.group.get("linear_timesteps2"):
        return spot.ignore("linear_timesteps stands beside it and decides")
    found = _TIMESTEPS.get(str(spot.value))
    if found is None:
        unknown = ("sigmoid", f"{spot.value!r} is not here; sigmoid is the default there")
        nearest, why = _NEAREST_TIMESTEPS.get(str(spot.value), unknown)
        return spot.put("training.timestep_type", nearest, why, matters=True)
    spot.put("training.timestep_type", found, "" if found == spot.value else "a shift that depends on the resolution")


@decide("training.max_noise", "training.min_noise")
def _denoising_bound(spot: Spot) -> None:
    first = spot.name == "min_denoising_steps"
    index = number(spot.value)
    if not isinstance(index, int | float) or (index <= 0 if first else index >= _LAST_INDEX - 1):
        return spot.ignore("the whole range, as it is by default")
    target = "training.max_noise" if first else "training.min_noise"
    spot.put(target, round(1 - index / _LAST_INDEX, 4), "steps are counted from pure noise there; here it is the level")


@decide("training.loss_type")
def _loss(spot: Spot) -> None:
    if spot.value == "wavelet":
        return spot.put(
            "training.loss_type", "mse", "equal to mse there; our wavelet weighs scales and is another loss"
        )
    found = _LOSSES.get(str(spot.value))
    if found is None:
        return spot.put("training.loss_type", "mse", f"{spot.value!r} is not here", matters=True)
    spot.put("training.loss_type", found)


@decide("training.ema.decay")
def _use_ema(spot: Spot) -> None:
    if not spot.value:
        return spot.ignore("off, as it is by default")
    decay = number(spot.group.get("ema_decay", 0.999))
    spot.put("training.ema.decay", decay, "with ema_decay" if "ema_decay" in spot.group else "the default there")


@decide("training.ema.decay")
def _ema_decay(spot: Spot) -> None:
    if not spot.group.get("use_ema"):
        return spot.ignore("use_ema is off")
    spot.put("training.ema.decay", number(spot.value))


@decide("training.text_encoder")
def _text_encoder(spot: Spot) -> None:
    unload, cache = spot.group.get("unload_text_encoder"), spot.group.get("cache_text_embeddings")
    if spot.name == "unload_text_encoder":
        if not spot.value:
            return spot.ignore("off, as it is by default")
        why = "every caption becomes the trigger word or empty, as there"
        return spot.put("training.text_encoder", "unload", why, matters=True)
    if unload:
        return spot.ignore("unload_text_encoder decides")
    why = "" if cache else "cached all the same: equal results (caption dropout works with it), less memory, faster"
    spot.put("training.text_encoder", "cache", why or "captions are encoded once")


def _preservation(switch: str, kind: str) -> tuple[Rule, Rule]:
    """Rules for a preservation's switch and for its multiplier."""
    multiplier = f"{switch}_multiplier"
    base = "training.preservation"

    def turn_on(spot: Spot) -> None:
        if not spot.value:
            return spot.ignore("off, as it is by default")
        spot.put(f"{base}.kind", kind, f"with {multiplier}")
        spot.also(f"{base}.multiplier", number(spot.group.get(multiplier, 1.0)))

    def set_multiplier(spot: Spot) -> None:
        if not spot.group.get(switch):
            return spot.ignore(f"{switch} is off")
        spot.put(f"{base}.multiplier", number(spot.value))

    return decide(f"{base}.kind", f"{base}.multiplier")(turn_on), decide(f"{base}.multiplier")(set_multiplier)


_DOP, _DOP_MULTIPLIER = _preservation("diff_output_preservation", "class_word")
_BPP, _BPP_MULTIPLIER = _preservation("blank_prompt_preservation", "blank_prompt")


@decide("training.preservation.class_word")
def _class_word(spot: Spot) -> None:
    if not spot.group.get("diff_output_preservation"):
        return spot.ignore("diff_output_preservation is off")
    spot.put("training.preservation.class_word", spot.value)


@decide("training.contrastive_guidance.scale")
def _guidance_loss(spot: Spot) -> None:
    if not spot.group.get("do_guidance_loss"):
        return spot.ignore("off, as it is by default")
    scales = [number(value) for value in as_list(spot.group.get("guidance_loss_target", 3.0))]
    scale = sum(scales) / len(scales)
    why = "the middle of the range, which is drawn from there" if len(scales) > 1 else "with guidance_loss_target"
    spot.put("training.contrastive_guidance.scale", scale, "" if scale == spot.value else why, matters=len(scales) > 1)


@decide("advanced.differential_guidance.scale")
def _differential_guidance(spot: Spot) -> None:
    if not spot.group.get("do_differential_guidance"):
        return spot.ignore("off, as it is by default")
    scale = number(spot.group.get("differential_guidance_scale", 3.0))
    why = "there it acts only beside another loss; here it does what it says" if spot.value is True else ""
    spot.put("advanced.differential_guidance.scale", scale, why, matters=spot.value is True)


@decide("sample.at_start")
def _first_sample(spot: Spot) -> None:
    if spot.name == "force_first_sample":
        return spot.put("sample.at_start", True) if spot.value else spot.ignore("skip_first_sample decides")
    if spot.group.get("force_first_sample"):
        return spot.ignore("force_first_sample stands beside it and decides")
    spot.put("sample.at_start", not spot.value, "the other way round: whether previews are drawn before the first step")


def _disable_sampling(spot: Spot) -> None:
    spot.ignore("no prompts are written, so no previews are drawn" if spot.value else "off, as it is by default")


@decide("datasets.0.mask.prior_weight")
def _mask_prior(spot: Spot) -> None:
    datasets = groups(spot.root, "datasets")
    masked = [place for place, data in datasets if data.get("mask_path") or data.get("alpha_mask")]
    if not spot.group.get("inverted_mask_prior") or not masked:
        return spot.ignore("off in the file too" if not spot.value else "there is no mask, or it is off")
    weight = number(spot.group.get("inverted_mask_prior_multiplier", 0.5))
    for place in masked:
        spot.draft.set(f"datasets.{place}.mask.prior_weight", weight, spot.path)
    spot.merged("datasets.0.mask.prior_weight", weight, "for every dataset with a mask")


@decide("datasets.0.loss_multiplier")
def _reg_weight(spot: Spot) -> None:
    regular = {place: data for place, data in groups(spot.root, "datasets") if data.get("is_reg")}
    weight = number(spot.value)
    if weight == 1 or not regular:
        return spot.ignore("1, or there is no regularization set")
    for place, data in regular.items():
        own = number(data.get("loss_multiplier", 1.0))
        spot.draft.set(f"datasets.{place}.loss_multiplier", own * weight, spot.path)
    spot.merged("datasets.0.loss_multiplier", weight, "for every regularization set")


@decide("training.max_loss")
def _max_loss(spot: Spot) -> None:
    if not spot.value:
        return spot.ignore("off, as it is by default")
    spot.put("training.max_loss", number(spot.value), "a loss above it has no gradient there; here its step is skipped")


def _dtype(spot: Spot) -> None:
    if str(spot.value) in ("fp16", "float16"):
        return spot.ignore("fp16 overflows in Z-Image; the base is kept in bf16 and the LoRA in fp32", matters=True)
    spot.ignore("the LoRA is always trained in fp32; quantization.transformer decides how the base is kept")


TRAIN: Table = {
    **OPTIMIZER,
    "steps": in_updates("training.steps"),
    "batch_size": take("training.batch_size", number),
    "gradient_accumulation": _accumulation,
    "gradient_accumulation_steps": _old_accumulation,
    "timestep_type": _timesteps,
    "linear_timesteps": _timesteps,
    "linear_timesteps2": _timesteps,
    "content_or_style": _bias,
    "content_or_style_reg": lacking("regularization sets draw their noise levels like the others", "balanced"),
    "min_denoising_steps": _denoising_bound,
    "max_denoising_steps": _denoising_bound,
    "num_train_timesteps": lacking("noise levels are continuous here", 1000),
    "next_sample_timesteps": skip("belongs to a timestep type that is not here"),
    "loss_type": _loss,
    "noise_offset": take("training.noise_offset", number),
    "max_loss": _max_loss,
    "max_loss_debug": skip("printing only"),
    "max_grad_norm": take("training.max_grad_norm", number),
    "ema_config": Group(
        {
            "use_ema": _use_ema,
            "ema_decay": _ema_decay,
            "use_feedback": lacking("the average does not act back on the training here"),
            "param_multiplier": lacking("the weights are not scaled", 1.0, 1),
        }
    ),
    "cache_text_embeddings": _text_encoder,
    "unload_text_encoder": _text_encoder,
    "gradient_checkpointing": take(
        "training.gradient_checkpointing",
        lambda on: "auto" if on else "none",
        "the same result; auto keeps what fits into memory and makes the rest again",
    ),
    "diff_output_preservation": _DOP,
    "diff_output_preservation_multiplier": _DOP_MULTIPLIER,
    "diff_output_preservation_class": _class_word,
    "blank_prompt_preservation": _BPP,
    "blank_prompt_preservation_multiplier": _BPP_MULTIPLIER,
    "do_guidance_loss": _guidance_loss,
    "guidance_loss_target": _guidance_loss,
    "do_guidance_loss_cfg_zero": lacking("the guided target is used as it is"),
    "unconditional_prompt": lacking("the prompt to move away from is the empty one"),
    "do_differential_guidance": _differential_guidance,
    "differential_guidance_scale": _differential_guidance,
    "inverted_mask_prior": _mask_prior,
    "inverted_mask_prior_multiplier": _mask_prior,
    "reg_weight": _reg_weight,
    "skip_first_sample": _first_sample,
    "force_first_sample": _first_sample,
    "disable_sampling": Rule(_disable_sampling),
    "dtype": Rule(_dtype),
    "train_unet": lacking("the transformer is what is trained here", True),
    "train_text_encoder": lacking("the text encoder is never trained here"),
    "train_refiner": skip("for another model family"),
    "train_turbo": _OTHER_KIND,
    "show_turbo_outputs": _OTHER_KIND,
    "noise_scheduler": lacking("Z-Image is a flow model: flowmatch", "flowmatch"),
    "auto_scale_batch_size": lacking("the batch size is what training.batch_size says"),
    "bypass_guidance_embedding": skip("for models with a guidance embedding; Z-Image has none"),
    "switch_boundary_every": skip("for models of two stages"),
    "snr_gamma": lacking("a loss weight of other noise schedules"),
    "min_snr_gamma": lacking("a loss weight of other noise schedules"),
    "learnable_snr_gos": lacking("a loss weight of other noise schedules"),
    "prompt_dropout_prob": lacking("datasets.0.caption_dropout drops captions"),
    "prompt_saturation_chance": lacking("captions are not repeated"),
    "short_and_long_captions": lacking("one caption per picture"),
    "short_and_long_captions_encoder_split": lacking("one caption per picture"),
    "single_item_batching": skip("a way of computing, with the same result"),
    "start_step": lacking("a run goes on where it stopped; `slipstream resume`"),
    "negative_prompt": _OTHER_KIND,
    "max_negative_prompts": skip("belongs to another kind of training"),
    "do_cfg": _OTHER_KIND,
    "do_random_cfg": _OTHER_KIND,
    "cfg_scale": skip("belongs to do_cfg"),
    "max_cfg_scale": skip("belongs to do_cfg"),
    "cfg_rescale": skip("belongs to do_cfg"),
    "do_prior_divergence": lacking("the opposite of preservation"),
    "do_blank_stabilization": lacking("training.preservation of kind blank_prompt is the nearest"),
    "merge_network_on_save": lacking("the LoRA is saved by itself"),
    "merge_network_on_save_strength": skip("belongs to merge_network_on_save"),
    "audio_loss_multiplier": skip("for models with sound"),
    "free_u": lacking("previews are drawn as the LoRA's user will draw them"),
    "xformers": _SPEED,
    "sdp": _SPEED,
    "attention_backend": _SPEED,
    "do_paramiter_swapping": lacking("all of the LoRA is trained at every step"),
    "paramiter_swapping_factor": skip("belongs to do_paramiter_swapping"),
    "weight_jitter": lacking("weights are not disturbed"),
    **dict.fromkeys(
        (
            "noise_multiplier", "target_noise_multiplier", "random_noise_multiplier", "random_noise_shift",
            "do_signal_correction_noise", "do_batch_noise_correction", "do_signal_amplification",
            "dynamic_noise_offset", "match_noise_norm", "force_consistent_noise", "blended_blur_noise",
            "optimal_noise_pairing_samples",
        ),
        _NOISE,
    ),
    "signal_correction_noise_scale": skip("belongs to do_signal_correction_noise"),
    "batch_noise_correction_scale": skip("belongs to do_batch_noise_correction"),
    "signal_amplification_strength": skip("belongs to do_signal_amplification"),
    **dict.fromkeys(
        (
            "img_multiplier", "noisy_latent_multiplier", "latent_multiplier", "adaptive_scaling_factor",
            "standardize_images", "standardize_latents", "correct_pred_norm", "pred_scaler", "target_norm_std",
            "t0_loss_target", "t0_velocity_equiv_weight", "do_fft_loss", "do_fft_velocity_equiv_weight",
        ),
        _PREDICTION,
    ),
    "loss_target": lacking("the target is the velocity", "noise"),
    "correct_pred_norm_multiplier": skip("belongs to correct_pred_norm"),
    "target_norm_std_value": skip("belongs to target_norm_std"),
    "latent_feature_extractor_path": lacking("a loss from another network's features"),
    "latent_feature_loss_weight": skip("belongs to latent_feature_extractor_path"),
    "diffusion_feature_extractor_path": lacking("a loss from another network's features"),
    "diffusion_feature_extractor_weight": skip("belongs to diffusion_feature_extractor_path"),
    "adapter_assist_name_or_path": _OTHER_KIND,
    "adapter_assist_type": skip("belongs to adapter_assist_name_or_path"),
    "match_adapter_assist": _OTHER_KIND,
    "match_adapter_chance": _OTHER_KIND,
}  # fmt: skip
