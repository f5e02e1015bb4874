"""What a vision-language model is asked for: presets, and what is put in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slipstream.core.errors import ConfigError

Form = Literal["sentences", "tags"]
CUSTOM = "custom"


@dataclass(frozen=True)
class PromptPreset:
    """A way of captioning.

    Attributes:
        name: what it is chosen by.
        text: the instruction; `{subject}` is the trigger word, where there is one, else "the main subject".
        form: of the answer: sentences, or a comma-separated list of tags.
    """

    name: str
    text: str
    form: Form = "sentences"


PRESETS = (
    PromptPreset(
        "sentence",
        "Describe this picture in two or three plain sentences, as a caption for training an image model. Say what is "
        "to be seen: the subject, pose, clothes, place, light and framing. Name nothing that is not visible, and do "
        'not begin with "The image shows".',
    ),
    PromptPreset(
        "tags",
        "List what is to be seen in this picture as 10 to 25 short tags in English, lower case, separated by commas, "
        "the most important first: subject, attributes, clothes, action, place, light, framing. Only the list.",
        "tags",
    ),
    PromptPreset(
        "style",
        "Describe only the content of this picture in two plain sentences: who or what is there, doing what, where. Do "
        "not mention how it was made: no words about style, medium, technique, brushwork, colours, mood or quality.",
    ),
    PromptPreset(
        "character",
        "Describe this picture in two plain sentences. Call the main figure {subject}. Say what changes from picture "
        "to picture: pose, expression, clothes, place, light and framing. Do not describe what always belongs to "
        "{subject}: face, hair, age, body, species.",
    ),
)  # fmt: skip


def preset_called(name: str) -> PromptPreset:
    """The preset.

    Raises:
        ConfigError: there is none of this name.
    """
    found = next((preset for preset in PRESETS if preset.name == name), None)
    if found is None:
        known = ", ".join((*(preset.name for preset in PRESETS), CUSTOM))
        raise ConfigError(f"there is no prompt preset {name!r}", where="prompt", fix=f"use one of {known}.")
    return found


def prompt_of(name: str, custom: str, trigger_word: str) -> PromptPreset:
    """The preset with its words filled in; `custom` is the instruction of the preset of that name.

    Raises:
        ConfigError: there is none of this name, or a custom one without text.
    """
    if name == CUSTOM:
        if not custom.strip():
            raise ConfigError("a custom prompt is empty", where="prompt_text", fix="say what captions should hold.")
        preset = PromptPreset(CUSTOM, custom.strip())
    else:
        preset = preset_called(name)
    subject = trigger_word.strip() or "the main subject"
    return PromptPreset(preset.name, preset.text.replace("{subject}", subject), preset.form)
