"""DATASETS: folders of pictures with captions. A config has one or more of these panels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationInfo,
    model_validator,
)

from slipstream.config.job import a_trigger_word
from slipstream.config.panel import PANEL, GivenPath


def _a_captions_file(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("got an empty path, expected a JSON or JSONL file; leave the line out to have none")
    if isinstance(value, str | Path) and Path(value).suffix.lower() not in (".json", ".jsonl"):
        raise ValueError(f"got {str(value)!r}, expected a file that ends in .json or .jsonl")
    return value


def _as_list(value: Any) -> Any:
    """One resolution may be written without brackets."""
    return (value,) if isinstance(value, int) else value


def _each_once(resolutions: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(resolutions)) < len(resolutions):
        raise ValueError(
            f"got {list(resolutions)}, expected every resolution once; num_repeats shows pictures more often"
        )
    return resolutions


def _extension(value: str) -> str:
    extension = value.strip().removeprefix(".")
    if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", extension):
        raise ValueError(f"got {value!r}, expected a file extension such as `txt`")
    return extension


def _separator(value: str) -> str:
    if not value.strip():
        raise ValueError(f"got {value!r}, expected what stands between tokens, such as a comma")
    return value


def _tokens_to_keep(keep_tokens: int, info: ValidationInfo) -> int:
    if keep_tokens and info.data.get("caption_shuffle") is False and info.data.get("caption_token_dropout") == 0:
        raise ValueError(
            f"got {keep_tokens}, expected 0 where tokens are neither shuffled (caption_shuffle) nor left out "
            "(caption_token_dropout): all of them stay anyway"
        )
    return keep_tokens


def _own_trigger(word: str | None) -> str | None:
    return None if word is None else a_trigger_word(word.strip())


def _trigger_words(words: tuple[str, ...]) -> tuple[str, ...]:
    stripped = tuple(a_trigger_word(word.strip()) for word in words)
    if "" in stripped:
        raise ValueError("got an empty word, expected words; caption_dropout trains without any")
    if len({word.lower() for word in stripped}) < len(stripped):
        raise ValueError(f"got {list(stripped)}, expected every word once")
    return stripped


def _without_triggers(kind: Any, info: ValidationInfo) -> Any:
    if kind is not None and info.data.get("random_triggers"):
        raise ValueError(
            f"got {kind!r} in a set with random_triggers, expected one or the other: regularization sets get no "
            "trigger word"
        )
    return kind


def _some_strength(value: float) -> float:
    if not value:
        raise ValueError("got 0, expected a strength at which something is learned; 1 is usual")
    return value


Regularization = Literal["pictures", "prior"]
Resolution = Annotated[StrictInt, Field(ge=64, le=4096)]

Crop = Literal["center", "top", "random"]
BucketStep = Literal[16, 32, 64]


class MaskPanel(BaseModel):
    """Which parts of the pictures count: white in full, black not at all, grey in between."""

    model_config = PANEL

    source: Literal["alpha", "folder"]
    """Where masks come from: `alpha` is each picture's own transparency, `folder` a folder of grey pictures with the
    same names.

    Change it when: cut-outs carry their mask already (alpha), or a segmentation tool wrote black-and-white files.
    Careful: with `alpha` the transparent parts are still white in the picture that the model sees.
    """

    path: GivenPath | None = None
    """The folder of masks, for source `folder`: `fox.png` (or jpg, webp) is the mask of `fox.jpg`. A relative path
    starts at the folder of the YAML file.

    Careful: a picture without a mask counts all over; the run and `slipstream dataset check` name those pictures.
    """

    invert: StrictBool = False
    """Black counts instead of white: for tools that paint over what is to be left out.

    Change it when: the dataset page shows the subject dark and the background light.
    """

    minimum: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.0
    """Weight of the masked-out parts. 0 leaves them out, 1 is as good as no mask.

    Formula: weight of a latent cell = minimum + (1 - minimum) * mean of the mask over its 8 x 8 pixels; a sample's loss
    is the weighted mean over its cells.
    Unit: share of a full weight.
    Change it when: backgrounds of previews fall apart; 0.1 keeps them in view.
    Careful: at 0 the LoRA may draw anything where the mask is black.
    """

    prior_weight: Annotated[StrictFloat, Field(ge=0, le=10)] = 0.0
    """Holds the masked-out parts to what the model draws there without the LoRA. 0 is off.

    Formula: loss + prior_weight * mean of (velocity with LoRA - velocity without)^2, each cell counted by 1 - weight.
    Change it when: the subject is learned, but backgrounds change with it; 0.5 is a good start.
    Careful: every step predicts once more without the LoRA, which takes about a third longer.
    """

    @model_validator(mode="after")
    def _path_fits_source(self) -> Self:
        if self.source == "folder" and self.path is None:
            raise ValueError("got source `folder` without a path, expected `path`: the folder that holds the masks")
        if self.source == "alpha" and self.path is not None:
            raise ValueError("got source `alpha` with a path, expected one of them: a folder needs source `folder`")
        return self


class DatasetPanel(BaseModel):
    """DATASETS: one folder of pictures (jpg, jpeg, png, webp), each with `<name>.txt` beside it."""

    model_config = PANEL

    path: GivenPath
    """Folder with the pictures; a relative path starts at the folder of the YAML file. 10-30 pictures suit
    most LoRAs.

    Careful: few varied pictures teach more than many alike; `slipstream dataset check` finds near-duplicates, blur and
    broken files.
    """

    resolutions: Annotated[
        tuple[Resolution, ...], Field(min_length=1), BeforeValidator(_as_list), AfterValidator(_each_once)
    ] = (512, 768, 1024)
    """Sizes to train at, in pixels: 768 means an area of 768 x 768 in any aspect ratio. Pictures are never
    enlarged.

    Unit: pixels; each entry is one more copy of the set at that size.
    Change it when: memory is short (leave 1024 out), or the LoRA is only used at one size.
    Careful: time per step grows with the area: 1024 costs about four times 512.
    """

    num_repeats: Annotated[StrictInt, Field(ge=1)] = 1
    """How often each picture comes up per epoch; use it to balance several datasets.

    Change it when: a small set drowns beside a large one.
    Careful: it does not lengthen the training: training.steps does.
    """

    default_caption: str = ""
    """Caption of pictures that have none. It may hold `[trigger]`.

    Change it when: captions are missing or all alike, such as `a photo of [trigger]`.
    Careful: what every picture shows and no caption says is learned as part of the trigger word.
    """

    captions_file: Annotated[Path | None, BeforeValidator(_a_captions_file)] = None
    """One file with the captions of all pictures, JSON or JSONL: `{"photo.jpg": "caption"}`, or entries with
    `file_name` and `text`. A relative path starts at the dataset's folder or at the YAML file's. Left out, files beside
    the pictures count, and after them a `metadata.jsonl` in the folder.

    Change it when: a set comes from the hub or from another trainer with its captions in one file.
    Careful: it counts before the files beside the pictures; entries that match no picture are listed by `plan`.
    """

    caption_extension: Annotated[str, AfterValidator(_extension)] = "txt"
    """Extension of the caption files: `txt` means `photo.txt` beside `photo.jpg`; `json` files hold
    `{"caption": "..."}`.

    Change it when: captions were written as `photo.caption` or `photo.json`.
    Careful: other endings are not looked for; `plan` counts the pictures without a caption.
    """

    caption_dropout: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.05
    """Share of draws in which the caption is dropped, so that it also learns without words; 0 is off.

    Formula: with this probability the caption becomes the trigger word, or nothing where there is none.
    Change it when: the LoRA is weak with short prompts (0.1), or acts without being asked for (0).
    Careful: it is exact with cached captions too. Far above 0.1 the LoRA stops listening to prompts.
    """

    caption_shuffle: StrictBool = False
    """Shuffle the tokens of captions, so that their order is not learned. A trigger word put in front stays there.

    Change it when: captions are lists of tags.
    Careful: sentences lose their sense; a caption without `caption_separator` is one token and stays as it is.
    """

    caption_token_dropout: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.0
    """Share of a caption's tokens that are left out in each version; tokens with the trigger word always stay.
    0 is off.

    Formula: each token after the first `keep_tokens` is left out with this probability.
    Change it when: the LoRA obeys only whole tag lists; 0.1-0.2.
    Careful: what captions leave out is learned as part of the trigger word.
    """

    keep_tokens: Annotated[StrictInt, Field(ge=0, le=100), AfterValidator(_tokens_to_keep)] = 0
    """How many tokens at the front of a written caption are neither shuffled nor left out. A trigger word that is put
    in front by itself does not count.

    Change it when: captions begin with what must stay first, such as a name.
    Careful: a number above the tokens of a caption leaves that caption as it is.
    """

    caption_separator: Annotated[str, AfterValidator(_separator)] = ","
    """What stands between the tokens of a caption; read where captions are shuffled or lose tokens.

    Change it when: captions use another sign, such as `;` or `|`.
    Careful: spaces around it are evened out.
    """

    caption_variants: Annotated[StrictInt, Field(ge=2, le=64)] = 8
    """How many versions of each caption there are where it is shuffled or loses tokens. Each draw takes one of them.

    Unit: versions per caption; all of them are cached.
    Change it when: the set is shown so often that eight orders would be known by heart.
    Careful: encoding and the cache grow with it.
    """

    trigger_word: Annotated[str | None, AfterValidator(_own_trigger)] = None
    """Trigger word of this set alone. Left out it is `job.trigger_word`; an empty one means none.

    Change it when: one LoRA learns several subjects, each with a set and a word of its own.
    Careful: `[trigger]` in prompts is always the job's word, and files name that one.
    """

    random_triggers: Annotated[tuple[str, ...], Field(max_length=256), AfterValidator(_trigger_words)] = ()
    """Words of which each draw takes one instead of the trigger word: in the place of `[trigger]` and of the trigger
    word, or else in front. All of them come to mean the same.

    Change it when: several words should call up the LoRA, or none should be tied to it too closely.
    Careful: each word learns from its share of the steps only, and every caption is cached once per word.
    """

    lora_weight: Annotated[StrictFloat, Field(ge=-2, le=2), AfterValidator(_some_strength)] = 1.0
    """Strength of the LoRA while it learns these pictures; 1 is the strength at which it is used.

    Formula: W + lora_weight * scale * B A.
    Change it when: two sets show opposites of one quality (1 and -1 make a slider), or a set should be learned so
    that it shows only above strength 1 (0.5).
    Careful: pictures of different weights never share a batch; below 0 the LoRA learns to be taken away.
    """

    loss_multiplier: Annotated[StrictFloat, Field(gt=0, le=100)] = 1.0
    """How much these pictures count in the loss, compared with the other sets.

    Formula: loss of a sample * loss_multiplier.
    Change it when: a set should guide less than the others (0.5) without being shown less often.
    Careful: with a single set it does little, because Adam evens out the size of gradients.
    """

    regularization: Annotated[Regularization | None, AfterValidator(_without_triggers)] = None
    """Marks a set that holds the model in place instead of teaching it something new. `pictures` are learned as they
    are; `prior` asks for what the model itself predicts without the LoRA. The trigger word is never put in front.

    Change it when: the LoRA bleeds: people, objects or styles of the same kind change without the trigger word.
    Careful: such pictures take steps from the others; with `pictures` the LoRA also learns their style.
    """

    flip_horizontal: StrictBool = False
    """Mirror half of the draws. Not for faces, text, or anything with a left and a right.

    Change it when: a style or a symmetric object has too few pictures.
    Careful: a face learned in both mirrors is nobody's face.
    """

    cache_latents: StrictBool = True
    """Encode every picture once and keep it on disk, so that steps are faster and the VAE is not needed while
    training.

    Change it when: the disk is too small for the cache (about 0.5 MB per picture at 1024).
    Careful: off it trains alike and slower; changed pictures are always encoded anew.
    """

    flip_vertical: StrictBool = False
    """Turn half of the draws upside down (mirrored top to bottom): for textures, patterns and views from above.

    Careful: not for people, rooms or landscapes: they would be drawn upside down.
    """

    square: StrictBool = False
    """One square bucket per resolution, cut from each picture, instead of buckets in the pictures' own aspects.

    Change it when: every picture is to be drawn square, or a set has so many aspects that batches cannot be filled.
    Careful: it cuts off a quarter of a 4:3 picture; `slipstream dataset check` draws what is left.
    """

    bucket_step: BucketStep = 16
    """Bucket sides are multiples of this many pixels: larger steps make fewer buckets, so that batches fill up.

    Unit: pixels.
    Change it when: batch_size is above 1 and `slipstream dataset check` shows many buckets of one picture.
    Careful: more of each picture is cut off.
    """

    crop: Crop = "center"
    """Which part is kept of a picture that does not fit its bucket: the middle (`center`), the `top` of tall
    pictures (heads stay on), or places drawn at `random`.

    Change it when: `top` for portraits in square or wide buckets; `random` for textures and large scenes.
    Careful: a caption may name what a random crop cut away.
    """

    num_crops: Annotated[StrictInt, Field(ge=1, le=64)] = 1
    """How many crops `crop: random` makes of each picture in each bucket; every draw shows one of them. All are
    cached, so loading time and disk grow with it.

    Change it when: pictures are much larger than their buckets, or `square` cuts much away; 4-8.
    Careful: crops that come out equal are made once, so a picture that all but fits its bucket has only one.
    """

    crop_scale: Annotated[StrictFloat, Field(ge=0.2, le=1)] = 1.0
    """The smallest part that a random crop shows: 1 cuts as little as the bucket asks for, 0.5 comes as near as half
    the width and height. Never so near that pixels would have to be enlarged.

    Unit: share of the largest possible crop's width and height.
    Change it when: a style lives in brushwork or texture and the pictures have many more pixels than the buckets.
    Careful: compositions and whole figures are then seen less often.
    """

    mask: MaskPanel | None = None
    """Which parts of the pictures count; None: all of them. See `mask.source`."""

    @model_validator(mode="after")
    def _random_settings_need_random(self) -> Self:
        if self.crop != "random" and (self.num_crops > 1 or self.crop_scale < 1):
            name = "num_crops" if self.num_crops > 1 else "crop_scale"
            raise ValueError(f"got {name} with crop `{self.crop}`, expected crop `random`: no other crop is drawn")
        return self
