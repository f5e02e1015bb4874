"""The drift score of every checkpoint of tiny runs, with the meter's own probes and no pictures.

    python recipes/tiny_family/drift_of_checkpoints.py runs/none_0 runs/v2_0 --out drift_checkpoints.json

For runs that were trained without the meter, or with an earlier score. `slipstream drift RUN --all` says much more.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import torch

from slipstream.adapters.files import load_lora
from slipstream.adapters.inject import inject_weights
from slipstream.evaluation.drift import drift_score, lay_probes, velocity_change
from slipstream.evaluation.unrelated import unrelated_prompts
from slipstream.models.z_image.family import ZImage, predictor
from slipstream.models.z_image.resolve import resolve_parts

CPU = torch.device("cpu")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    family = ZImage(resolve_parts("tiny/turbo", "tiny/turbo"), CPU, torch.float32, torch.float32)
    unrelated = unrelated_prompts(is_tiny=True)
    encoder = family.load_text_encoder()
    texts = {prompt: encoder.encode([prompt])[0] for prompt in unrelated.prompts}
    shape = (16, unrelated.side // 8, unrelated.side // 8)
    base = predictor(family.load_transformer())
    probes = lay_probes(
        base, texts.__getitem__, family.load_shift().at, unrelated.prompts, shape, CPU, first_seed=unrelated.first_seed
    )
    scores: dict[str, dict[str, float]] = {}
    for run in arguments.runs:
        scores[run.name] = {}
        for path in sorted((run / "checkpoints").glob("*.safetensors")):
            found = re.search(r"_(\d{9})\.safetensors$", path.name)
            if found is None:
                continue
            model = family.load_transformer()
            inject_weights(model, load_lora(path).modules, role="lora", source=str(path))
            change = velocity_change(predictor(model), texts.__getitem__, probes)
            scores[run.name][str(int(found[1]))] = round(drift_score(change), 2)
        print(run.name, scores[run.name], flush=True)
    arguments.out.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
