"""What a small run to push is made of."""

from __future__ import annotations

import json
from pathlib import Path

METADATA = {
    "modelspec.trigger_phrase": "felt", "training_adapter": "v2.safetensors", "rank": "16", "alpha": "16",
    "steps": "600", "slipstream_version": "0.1.0", "adapter_type": "lora", "config": "job:\n  name: my_style\n",
}  # fmt: skip
PLAIN = {"width": 64, "height": 64, "steps": 8, "guidance_scale": 0.0, "lora_scale": 1.0, "seed": 1}


def write_lora(path: Path, metadata: dict[str, str]) -> None:
    """A safetensors file without tensors."""
    head = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)
