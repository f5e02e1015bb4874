"""The part of TRAINING that keeps a LoRA to its trigger word, or pushes it: preservation and contrastive guidance."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, Field, StrictFloat, StringConstraints, Tag

from slipstream.config.panel import PANEL

PRESERVATION_KINDS = ("class_word", "blank_prompt")
Multiplier = Annotated[StrictFloat, Field(gt=0, le=100)]


def _a_word(word: str) -> str:
    if not word:
        raise ValueError("got no word, expected what the trigger word stands for, such as `person` or `drawing`")
    if "[trigger]" in word.lower():
        raise ValueError("got the placeholder `[trigger]`, expected the word that takes its place, such as `person`")
    return word


class ClassWordPreservation(BaseModel):
    """Differential output preservation (DOP): captions with a class word in the trigger's place stay as they were."""

    model_config = PANEL

    kind: Literal["class_word"] = "class_word"
    """What must not change: `class_word` (captions with the class word in place of the trigger word) or `blank_prompt`
    (pictures without any prompt).

    Change it when: there is no trigger word: `blank_prompt` needs none.
    """

    class_word: Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_a_word)]
    """What the trigger word is a kind of, such as `person`, `dog` or `drawing`. It takes the trigger word's place in
    the captions that must stay as they were.

    Change it when: the LoRA still changes other things of the same kind: name that kind.
    Careful: a word that has nothing to do with the pictures preserves only itself.
    """

    multiplier: Multiplier = 1.0
    """Weight of the preservation against learning.

    Formula: loss + multiplier * mean (v_lora(class caption) - v_original(class caption))^2.
    Change it when: pictures without the trigger word still change (raise it), or the LoRA stays too weak (lower it).
    Careful: a step takes about two and a half times as long: three predictions, two backward passes.
    """


class BlankPromptPreservation(BaseModel):
    """Blank prompt preservation: what the model draws without a prompt stays as it was."""

    model_config = PANEL

    kind: Literal["blank_prompt"]
    """What must not change: `blank_prompt` (pictures without any prompt) or `class_word`."""

    multiplier: Multiplier = 1.0
    """Weight of the preservation against learning.

    Formula: loss + multiplier * mean (v_lora("") - v_original(""))^2.
    Change it when: pictures without the trigger word still change (raise it), or the LoRA stays too weak (lower it).
    Careful: a step takes about two and a half times as long: three predictions, two backward passes.
    """


def _kind_of(value: Any) -> str:
    """The tag that chooses the panel; without `kind` it is the class word."""
    kind = value.get("kind", "class_word") if isinstance(value, dict) else getattr(value, "kind", "class_word")
    return kind if isinstance(kind, str) else repr(kind)


PreservationPanel = Annotated[
    Annotated[ClassWordPreservation, Tag("class_word")] | Annotated[BlankPromptPreservation, Tag("blank_prompt")],
    Discriminator(_kind_of),
]


class ContrastiveGuidancePanel(BaseModel):
    """Contrastive guidance: the LoRA learns what captions add, overdrawn as CFG would draw it."""

    model_config = PANEL

    scale: Annotated[StrictFloat, Field(gt=0, le=20)] = 1.5
    """How far the target is pushed away from the blank prompt's prediction. 1 changes nothing.

    Formula: target = blank + scale * (velocity - blank), blank predicted without the LoRA and without gradient.
    Change it when: pictures stay pale or follow the prompt too little: 1.2-2.
    Careful: colours and contrast burn out with the scale; a step takes about half longer.
    """
