"""The methods that `turbo_preserving_table.py` compares, by name; none of them saw the prompts that it judges by."""

from __future__ import annotations

from turbo_preserving_trial import Method

SLOW = (40, 100, 240, 400)
"""Updates at which methods that learn slower are judged."""

METHODS = {
    "v2": Method(after=((1.0, 1.0), (10.0, 1.0))),
    "v2, projected": Method(after=((1.0, 1.0), (1.0, 1.5), (1.0, 2.0), (3.0, 2.0), (0.3, 1.3), (3.0, 3.0))),
    "pull 1": Method(pull=1.0),
    "pull 3": Method(pull=3.0, checkpoints=SLOW),
    "DOP": Method(dop=1.0, checkpoints=SLOW),
    "residual": Method(residual=True),
    "naive": Method(adapter="none"),
    "pull 1, no adapter": Method(adapter="none", pull=1.0),
    "pull 1, adapter on": Method(pull=1.0, pull_with_adapter=True),
    "pull 3, adapter on": Method(pull=3.0, pull_with_adapter=True, checkpoints=SLOW),
    "pull 1, residual": Method(residual=True, pull=1.0),
    "pull 1, every 4": Method(pull=1.0, pull_every=4),
    "pull 3, every 4": Method(pull=3.0, pull_every=4, checkpoints=SLOW),
    "null 10": Method(null=10.0),
    "null 1": Method(null=1.0),
    "no adaLN": Method(excluded=("adaLN",)),
    "off adapter": Method(off_adapter=True),
    "fade": Method(strength="fade"),
    "v1": Method(adapter="v1"),
    "rise": Method(strength="rise"),
    "random": Method(strength="random"),
    "strength 1.5": Method(strength=1.5),
    "skip 0.9": Method(max_sigma=0.9),
    "tail": Method(pull=1.0, tail=0.1),
    "pull 10": Method(pull=10.0, checkpoints=SLOW),
    "pull 0.3": Method(pull=0.3),
    "pull 1, 12 prompts": Method(pull=1.0, pull_prompts=12),
    "pull 1, first 3 steps": Method(pull=1.0, pull_steps=3),
    "pull 1, noised": Method(pull=1.0, pull_noised=True),
    "pull 3, no adapter": Method(adapter="none", pull=3.0, checkpoints=SLOW),
    "pull 1, no adaLN": Method(pull=1.0, excluded=("adaLN",)),
    "pull 1, DOP": Method(pull=1.0, dop=1.0, checkpoints=SLOW),
    "pull 1, every 8": Method(pull=1.0, pull_every=8),
    "pull 1, null 1": Method(pull=1.0, null=1.0),
    "attention only": Method(excluded=("adaLN", "feed_forward")),
    "feed forward only": Method(excluded=("adaLN", "attention")),
    "late blocks": Method(excluded=("layers.0.", "layers.1.")),
    "early blocks": Method(excluded=("layers.3.", "layers.4.")),
    "decay 1": Method(weight_decay=1.0),
    "rank 4": Method(rank=4),
    "rate 3e-4": Method(learning_rate=3e-4, checkpoints=SLOW),
}
MAIN = ("v2", "pull 1", "pull 3", "DOP", "pull 3, every 4")

PLANS = {
    "search": (
        (tuple(METHODS), ("foxy",), (0,)),
        (MAIN, ("blueprint", "robot"), (0,)),
        (MAIN, ("foxy",), (1, 2)),
        (MAIN, ("blueprint", "robot"), (1, 2)),
    ),
    "project": ((("v2, projected",), ("foxy", "blueprint", "robot"), (0, 1, 2)),),
}
"""Name -> (methods, tasks, seeds) in the order in which they are run."""
