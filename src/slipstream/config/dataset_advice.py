"""Soft warnings about datasets: captions that teach little, weights without an effect, nothing left to learn."""

from __future__ import annotations

from collections.abc import Iterator

from slipstream.config.datasets import DatasetPanel
from slipstream.config.run_config import RunConfig

HIGH_DROPOUT = 0.3
HIGH_TOKEN_DROPOUT = 0.5


def dataset_advice(config: RunConfig) -> Iterator[str]:
    """What is doubtful about the datasets as a whole and about each."""
    panels = config.datasets
    if all(panel.regularization for panel in panels):
        yield (
            "every dataset is a regularization set: nothing new is learned. Leave regularization out of the one that "
            "shows what to learn."
        )
    if len(panels) == 1 and panels[0].loss_multiplier != 1:
        yield (
            f"datasets.0.loss_multiplier {panels[0].loss_multiplier:g} with a single set changes little: it weighs "
            "sets against each other."
        )
    if config.training.text_encoder == "unload":
        yield from _unloaded(config)
    yield from _learned_and_held(config)
    for number, panel in enumerate(panels):
        yield from _captions(f"datasets.{number}", panel, config.training.text_encoder == "unload")


def _learned_and_held(config: RunConfig) -> Iterator[str]:
    """Captions without a trigger word are their own preserved ones."""
    preservation = config.training.preservation
    if preservation is None or preservation.kind != "class_word":
        return
    for number, panel in enumerate(config.datasets):
        if panel.regularization == "pictures":
            yield (
                f"datasets.{number}.regularization pictures with training.preservation class_word: its captions hold "
                "no trigger word, so the same captions are learned and held back. Use prior, or leave preservation out."
            )


def _unloaded(config: RunConfig) -> Iterator[str]:
    words = (config.job.trigger_word, *(panel.trigger_word for panel in config.datasets))
    if not any(words) and not any(panel.random_triggers for panel in config.datasets):
        yield (
            "training.text_encoder unload without a trigger word trains on no words at all: the LoRA then acts on "
            "every prompt. Set job.trigger_word, unless that is meant."
        )


def _captions(name: str, panel: DatasetPanel, unloaded: bool) -> Iterator[str]:
    varied = panel.caption_shuffle or panel.caption_token_dropout > 0
    if unloaded and varied:
        yield f"{name}: captions are not shuffled with training.text_encoder unload, since none is learned."
    if panel.caption_dropout > HIGH_DROPOUT:
        yield (
            f"{name}.caption_dropout {panel.caption_dropout:g} drops many captions: the LoRA "
            "then acts without being asked for. 0.05 is usual."
        )
    if panel.caption_token_dropout > HIGH_TOKEN_DROPOUT:
        yield (
            f"{name}.caption_token_dropout {panel.caption_token_dropout:g} leaves little of the captions. 0.1-0.2 "
            "is usual."
        )
    fields = DatasetPanel.model_fields
    unread = [
        f"{name}.{field} {getattr(panel, field)!r}"
        for field in ("caption_variants", "caption_separator")
        if not varied and getattr(panel, field) != fields[field].default
    ]
    for setting in unread:
        yield f"{setting} is not read: only with caption_shuffle or caption_token_dropout."
