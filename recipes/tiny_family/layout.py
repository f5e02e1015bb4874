"""Shapes of the tiny family and building its parts from scratch, in the classes and layout of Z-Image Turbo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImageTransformer2DModel
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

VOCAB = 3072
TEXT_DIM = 128
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)


def new_vae() -> AutoencoderKL:
    """A 1.3 M parameter KL autoencoder in the Flux layout (16 channels, /8, no quant convs)."""
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=16, norm_num_groups=4, layers_per_block=1, sample_size=128,
        block_out_channels=(32, 64, 80, 80), use_quant_conv=False, use_post_quant_conv=False, force_upcast=False,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        mid_block_add_attention=False, scaling_factor=1.0, shift_factor=0.0,
    )  # fmt: skip


def new_text_encoder() -> Qwen3Model:
    """A Qwen3 of 1.0 M parameters."""
    config = Qwen3Config(
        vocab_size=VOCAB, hidden_size=TEXT_DIM, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        head_dim=32, intermediate_size=384, max_position_embeddings=1024, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3Model(config)


def new_transformer() -> ZImageTransformer2DModel:
    """A 4.5 M parameter Z-Image transformer: width 192, 5 layers, 1 + 1 refiners, adaLN gates closed at the start."""
    model = ZImageTransformer2DModel(
        dim=192, n_layers=5, n_refiner_layers=1, n_heads=4, n_kv_heads=4, cap_feat_dim=TEXT_DIM,
        axes_dims=[12, 18, 18], axes_lens=[1024, 512, 512],
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "pad_token" not in name:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    for block in (*model.layers, *model.noise_refiner):
        nn.init.zeros_(block.adaLN_modulation[0].weight)
    final = model.all_final_layer["2-1"]
    nn.init.zeros_(final.linear.weight)
    nn.init.zeros_(final.adaLN_modulation[1].weight)
    nn.init.normal_(model.x_pad_token, std=0.02)
    nn.init.normal_(model.cap_pad_token, std=0.02)
    return model


def train_tokenizer(captions: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 3,072 tokens with Qwen's special tokens and chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([*captions, *["user", "assistant\n", "\n"] * 500], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>", model_max_length=512
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save in the real repository's class, Qwen2Tokenizer."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(path.read_text())
    config["tokenizer_class"] = "Qwen2Tokenizer"
    config["chat_template"] = CHAT_TEMPLATE
    path.write_text(json.dumps(config, indent=2) + "\n")


def save_pipeline_files(folder: Path) -> None:
    """`model_index.json` and the scheduler (static shift 3), as in Z-Image Turbo."""
    FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=False).save_pretrained(
        folder / "scheduler"
    )
    index = {
        "_class_name": "ZImagePipeline",
        "_diffusers_version": "0.36.0",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "ZImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def save_bf16(model: Any, folder: Path) -> None:
    """Save a diffusers or transformers model in bf16 safetensors."""
    model.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    model.to(torch.float32)
    path = folder / "config.json"
    config: dict[str, Any] = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2) + "\n")
