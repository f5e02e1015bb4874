"""Settings that make sense alone and none together: refused, with the panels in view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from slipstream.config.datasets import DatasetPanel
    from slipstream.config.run_config import RunConfig


_WORDLESS = (
    "every picture is trained on the blank prompt (training.text_encoder is unload and there is no trigger word)"
)


def refuse_nonsense(config: RunConfig) -> RunConfig:
    """The config as it is.

    Raises:
        PydanticCustomError: two settings contradict each other.
    """
    training, preservation = config.training, config.training.preservation
    taught = [trigger_words(config, panel) for panel in config.datasets if panel.regularization is None]
    wordless = training.text_encoder == "unload" and not all(taught)
    if preservation is not None and preservation.kind == "class_word":
        if not all(taught):
            _refuse(
                "training.preservation",
                "the class word takes the place of the trigger word, but a set to learn has none (job.trigger_word is "
                "empty, or datasets.trigger_word); give a trigger word, or set kind to blank_prompt",
            )
        if preservation.class_word.lower() in {word.lower() for words in taught for word in words}:
            _refuse(
                "training.preservation.class_word",
                f"got {preservation.class_word!r}, which is the trigger word itself, expected what it is a kind of, "
                "such as `person`: the same caption would have to change and to stay",
            )
    if preservation is not None and preservation.kind == "blank_prompt" and wordless:
        _refuse(
            "training.preservation",
            f"{_WORDLESS}, so the blank prompt cannot stay as it was; give a trigger word",
        )
    if training.contrastive_guidance is not None and wordless:
        _refuse(
            "training.contrastive_guidance",
            f"{_WORDLESS}, so no caption adds anything to it; give a trigger word",
        )
    return config


def trigger_words(config: RunConfig, panel: DatasetPanel) -> tuple[str, ...]:
    """The words of which each caption of a set gets one; none where it has no trigger word."""
    word = config.job.trigger_word if panel.trigger_word is None else panel.trigger_word
    return panel.random_triggers or ((word,) if word else ())


def _refuse(path: str, message: str) -> None:
    raise PydanticCustomError("refused_setting", "{reason}", {"key": path, "reason": message})
