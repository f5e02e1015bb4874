"""Keys that users bring along: names from other trainers, and features that are not here yet."""

from __future__ import annotations

RENAMED = {
    "lr": "training.learning_rate",
    "batch": "training.batch_size",
    "max_train_steps": "training.steps",
    "gradient_accumulation_steps": "training.gradient_accumulation",
    "gradient_checkpointing": "training.gradient_checkpointing",
    "lr_scheduler": "training.lr_schedule",
    "lr_warmup_steps": "training.warmup_steps",
    "lr_scheduler_num_cycles": "training.lr_restarts",
    "lr_scheduler_power": "training.lr_power",
    "optimizer_type": "training.optimizer",
    "optimizer_params": "training.optimizer_args",
    "optimizer_kwargs": "training.optimizer_args",
    "ema_decay": "training.ema.decay",
    "max_norm": "training.max_grad_norm",
    "content_or_style": "training.timestep_bias",
    "ema_config": "training.ema",
    "noise_scheduler": "training.timestep_type",
    "discrete_flow_shift": "training.shift",
    "logit_std": "training.logit_scale",
    "network": "target",
    "linear": "target.rank",
    "network_dim": "target.rank",
    "linear_rank": "target.rank",
    "linear_alpha": "target.alpha",
    "network_alpha": "target.alpha",
    "network_module": "target.type",
    "network_type": "target.type",
    "network_dropout": "target.dropout",
    "only_if_contains": "target.target_modules",
    "ignore_if_contains": "target.exclude_modules",
    "save_every": "save.every",
    "max_step_saves_to_keep": "save.keep",
    "sample_every": "sample.every",
    "sample_steps": "sample.steps",
    "samples": "sample.prompts",
    "neg": "sample.negative_prompt",
    "cfg": "sample.guidance_scale",
    "folder_path": "datasets.0.path",
    "resolution": "datasets.0.resolutions",
    "caption_ext": "datasets.0.caption_extension",
    "shuffle_tokens": "datasets.0.caption_shuffle",
    "shuffle_caption": "datasets.0.caption_shuffle",
    "token_dropout_rate": "datasets.0.caption_token_dropout",
    "caption_tag_dropout_rate": "datasets.0.caption_token_dropout",
    "caption_dropout_rate": "datasets.0.caption_dropout",
    "cache_latents_to_disk": "datasets.0.cache_latents",
    "is_reg": "datasets.0.regularization",
    "network_weight": "datasets.0.lora_weight",
    "flip_x": "datasets.0.flip_horizontal",
    "flip_y": "datasets.0.flip_vertical",
    "mask_path": "datasets.0.mask.path",
    "alpha_mask": "datasets.0.mask.source",
    "invert_mask": "datasets.0.mask.invert",
    "mask_min_value": "datasets.0.mask.minimum",
    "inverted_mask_prior": "datasets.0.mask.prior_weight",
    "inverted_mask_prior_multiplier": "datasets.0.mask.prior_weight",
    "random_crop": "datasets.0.crop",
    "square_crop": "datasets.0.square",
    "bucket_reso_steps": "datasets.0.bucket_step",
    "bucket_tolerance": "datasets.0.bucket_step",
    "training_folder": "job.output_dir",
    "arch": "model.variant",
    "assistant_lora_path": "model.training_adapter",
    "training_adapter_path": "model.training_adapter",
    "quantize": "quantization.transformer",
    "qtype": "quantization.transformer",
    "cache_text_embeddings": "training.text_encoder",
    "unload_text_encoder": "training.text_encoder",
    "unload_te": "training.text_encoder",
    "quantize_te": "quantization.text_encoder",
    "do_differential_guidance": "advanced.differential_guidance",
    "differential_guidance_scale": "advanced.differential_guidance.scale",
}

ABSENT = {
    "low_vram": "there is no low-VRAM mode in this version",
    "layer_offloading": "layer offloading is not in this version",
    "diff_output_preservation": "output preservation (DOP) is not in this version",
    "output_preservation": "output preservation (DOP) is not in this version",
    "dop": "output preservation (DOP) is not in this version",
    "compile": "compilation is not in this version",
    "epochs": "the length is given in training.steps; `slipstream plan` shows how many epochs they are",
}


def hint_for(key: str) -> str | None:
    """One clause for a key known from elsewhere, or None."""
    name = key.lower()
    if name in RENAMED:
        return f"here it is called {RENAMED[name]}"
    if name in ABSENT:
        return f"{ABSENT[name]}; remove this line"
    return None
