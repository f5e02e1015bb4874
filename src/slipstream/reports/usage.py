"""How to draw with the LoRA of a run: the settings that its previews used, for ComfyUI and diffusers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CLASSES = {
    "transformer": ("diffusers", "ZImageTransformer2DModel"),
    "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
    "vae": ("diffusers", "AutoencoderKL"),
    "tokenizer": ("transformers", "AutoTokenizer"),
}
_PIPELINE_PART = "text_encoder"
_TINY = "tiny/"


@dataclass(frozen=True)
class Usage:
    """`cfg` is ComfyUI's scale (1 = off); diffusers' Z-Image argument is one less.

    `packaged` says that the base is of the tiny family, which ComfyUI does not know.
    """

    file: str
    shell_prompt: str
    steps: int
    cfg: float
    code: str
    packaged: bool


def usage(lora_file: str, manifest: Mapping[str, Any], drawn: Mapping[str, str]) -> Usage | None:
    """Settings and code, or None where the manifest does not tell them.

    Args:
        lora_file: the LoRA file's path from the run folder.
        manifest: the run's manifest.
        drawn: the metadata of the first prompt's last preview; the code draws that picture again.
    """
    model, sample = manifest.get("model") or {}, manifest.get("sample") or {}
    if not model.get("name") or not sample.get("steps"):
        return None
    cfg = max(1.0, float(sample.get("guidance_scale") or 0.0))
    prompts = sample.get("prompts") or ["a prompt with your trigger word"]
    prompt = str(drawn.get("prompt") or prompts[0])
    call = {
        "prompt": _text(prompt),
        "num_inference_steps": f"{sample['steps']}",
        "guidance_scale": f"{cfg - 1:g}.0" if cfg.is_integer() else f"{cfg - 1:.6g}",
        "width": drawn.get("width") or f"{sample.get('width', 1024)}",
        "height": drawn.get("height") or f"{sample.get('height', 1024)}",
        "generator": f'torch.Generator("cpu").manual_seed({drawn.get("seed") or 42})',
    }
    if cfg > 1 and drawn.get("negative_prompt"):
        call["negative_prompt"] = _text(drawn["negative_prompt"])
    arguments = "".join(f"    {name}={value},\n" for name, value in call.items())
    code = (
        f"{_loading(model)}pipe.load_lora_weights({_text(lora_file)})\n\n"
        f'image = pipe(\n{arguments}).images[0]\nimage.save("picture.png")\n'
    )
    return Usage(
        lora_file, shlex.quote(prompt), int(sample["steps"]), cfg, code, packaged=model["name"].startswith(_TINY)
    )


def _loading(model: Mapping[str, Any]) -> str:
    """Imports and `pipe = ...`: parts from elsewhere than the text encoder are loaded one by one."""
    origins = model.get("origins") or {}
    home = origins.get(_PIPELINE_PART, model["name"])
    parts = {part: origin for part, origin in origins.items() if part in _CLASSES and origin != home}
    is_tiny = model["name"].startswith(_TINY)
    dtype = "torch.float32" if is_tiny else "torch.bfloat16"
    imports = ["import torch\n", *_imports(parts)]
    if is_tiny:
        imports.insert(0, "from importlib.resources import files\n\n")
    lines = ["".join(imports) + "\n"]
    if is_tiny:
        lines.append('tiny = files("slipstream") / "tiny"\n')
    for part, origin in parts.items():
        cast = ", dtype=" + dtype if part in ("transformer", "vae") else ""
        lines.append(f"{part} = {_CLASSES[part][1]}.{_call(part, origin, home)}{cast})\n")
    handed = "".join(f", {part}={part}" for part in parts)
    lines.append(f"pipe = ZImagePipeline.from_pretrained({_place(home)}{handed}, dtype={dtype})\n")
    lines.append("" if is_tiny else 'pipe.to("cuda")\n')
    return "".join(lines)


def _call(part: str, origin: str, home: str) -> str:
    """`from_pretrained(...` of a folder or repository, `from_single_file(...` of a transformer in one file."""
    name, _, revision = origin.partition("@")
    if part != "transformer" or not name.endswith(".safetensors"):
        return f'from_pretrained({_place(origin)}, subfolder="{part}"'
    pieces = name.split("/")
    if len(pieces) > 2 and all(pieces) and not name.startswith((".", "~")):  # a file of the hub
        name = f"https://huggingface.co/{'/'.join(pieces[:2])}/blob/{revision or 'main'}/{'/'.join(pieces[2:])}"
    return f'from_single_file({_text(name)}, config={_place(home).partition(",")[0]}, subfolder="transformer"'


def _imports(parts: Mapping[str, str]) -> list[str]:
    names: dict[str, list[str]] = {"diffusers": ["ZImagePipeline"], "transformers": []}
    for part in parts:
        library, name = _CLASSES[part]
        names[library].append(name)
    return [f"from {library} import {', '.join(sorted(found))}\n" for library, found in names.items() if found]


def _place(origin: str) -> str:
    """The first argument (and revision) of `from_pretrained` for a model name."""
    if origin.startswith(_TINY):
        return f'str(tiny / "{origin.removeprefix(_TINY).replace("-", "_")}")'
    name, _, revision = origin.partition("@")
    return f"{_text(name)}, revision={_text(revision)}" if revision else _text(name)


def _text(value: str) -> str:
    """A Python string literal in double quotes."""
    return json.dumps(value, ensure_ascii=False)
