"""A vision-language model of a few thousand random weights, in the layout and of the classes of a real one."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

import slipstream

TOKENIZER = Path(slipstream.__file__).parent / "tiny/turbo/tokenizer"
SPECIAL = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")
CHAT = (
    "{% for message in messages %}{{ message['role'] | capitalize }}:{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
SIDE, PATCH = 32, 8


def save_tiny_vlm(folder: Path, seed: int = 0) -> Path:
    """Write the model and its processor as `from_pretrained` reads them."""
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": SIDE}, max_image_size={"longest_edge": SIDE}, do_image_splitting=False
    )
    tokens = (SIDE // PATCH) ** 2 // 4
    processor = Idefics3Processor(images, tokenizer, image_seq_len=tokens, chat_template=CHAT)
    torch.manual_seed(seed)
    config = Idefics3Config(
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": SIDE, "patch_size": PATCH,
        },
        text_config={
            "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
        },
        scale_factor=2, image_token_id=tokenizer.convert_tokens_to_ids("<image>"), tie_word_embeddings=False,
    )  # fmt: skip
    model = Idefics3ForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 3)  # else every answer is the same token over and over
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
