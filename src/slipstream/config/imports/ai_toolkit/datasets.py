"""`datasets:` of a job file: folders, captions, masks, repeats."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from slipstream.config.imports.reading import as_list, number, text
from slipstream.config.imports.rules import Rule, Spot, Table, decide, lacking, skip, take

_VIDEO = lacking("for video models", 1)
_AUDIO = lacking("for models with sound")
_CONTROL = lacking("training with reference pictures")

NUM_CROPS = 8
"""Random parts of a picture in place of a new one at every step."""


@decide("datasets.0.path")
def _folder(spot: Spot) -> None:
    if spot.name == "dataset_path" and spot.group.get("folder_path"):
        return spot.ignore("folder_path stands beside it")
    if not isinstance(spot.value, str):
        return spot.put("datasets.0.path", spot.value)
    found = found_folder(spot.value, spot.draft.report.source)
    if found != spot.value:
        return spot.put("datasets.0.path", found, "found here")
    lost = not Path(found).is_absolute()
    spot.put("datasets.0.path", found, "not found; it starts at the folder of the YAML file here" if lost else "")


def found_folder(name: str, source: str) -> str:
    """A dataset's path: relative ones start where the trainer was started, which is guessed from what exists.

    Tried are the current directory, the folder of the job file, and the folders above it.
    """
    path = Path(name).expanduser()
    if path.is_absolute():
        return str(path) if str(path) != name and path.exists() else name
    for start in (Path.cwd(), *Path(source).resolve().parents[:4]):
        if (start / path).exists():
            return str((start / path).resolve())
    return name


@decide("datasets.0.resolutions", "datasets.0.num_repeats")
def _resolution(spot: Spot) -> None:
    sides = [number(value) for value in as_list(spot.value)]
    counted = Counter(sides)
    distinct = list(counted)
    if len(distinct) == len(sides):
        return spot.put("datasets.0.resolutions", distinct)
    copies = min(counted.values())
    even = copies == max(counted.values())
    why = f"every entry is another copy of the pictures, so these are {copies} repeats of each"
    if even:
        repeats = number(spot.group.get("num_repeats") or 1)
        spot.also("datasets.0.num_repeats", repeats * copies)
        return spot.put("datasets.0.resolutions", distinct, why)
    spot.put("datasets.0.resolutions", distinct, "one entry each; some stood there more often", matters=True)


@decide("datasets.0.num_repeats")
def _repeats(spot: Spot) -> None:
    counted = Counter(map(str, as_list(spot.group.get("resolution", 512))))
    copies = min(counted.values()) if len(set(counted.values())) == 1 else 1
    repeats = number(spot.value or 1)
    spot.put("datasets.0.num_repeats", repeats * copies, "times the copies in resolution" if copies > 1 else "")


@decide("datasets.0.caption_extension")
def _extension(spot: Spot) -> None:
    if not spot.value:
        return spot.ignore("empty: txt")
    extension = str(spot.value).removeprefix(".")
    spot.put("datasets.0.caption_extension", extension, "" if extension == spot.value else "without the dot")


@decide("datasets.0.cache_latents")
def _cache(spot: Spot) -> None:
    on = bool(spot.group.get("cache_latents") or spot.group.get("cache_latents_to_disk"))
    if not on:
        return spot.ignore("cached all the same: the result is equal, the steps are faster, the VAE needs no memory")
    spot.put("datasets.0.cache_latents", True, "" if spot.value else "the other of the two switches is on")


@decide("datasets.0.regularization")
def _regularization(spot: Spot) -> None:
    if not spot.value:
        return spot.ignore("off, as it is by default")
    kind = "prior" if spot.group.get("prior_reg") else "pictures"
    words = {"pictures": "trained as they are, without the trigger", "prior": "held to what the base itself predicts"}
    spot.put("datasets.0.regularization", kind, words[kind])


def _has_mask(spot: Spot) -> bool:
    return bool(spot.group.get("alpha_mask") or spot.group.get("mask_path"))


@decide("datasets.0.mask.source", "datasets.0.mask.path")
def _mask(spot: Spot) -> None:
    if not spot.value:
        return spot.ignore("off, as it is by default")
    if spot.name == "mask_path":
        spot.also("datasets.0.mask.source", "folder")
        return spot.put("datasets.0.mask.path", found_folder(str(spot.value), spot.draft.report.source))
    if spot.group.get("mask_path"):
        return spot.ignore("mask_path stands beside it")
    spot.put("datasets.0.mask.source", "alpha", "the picture's own transparency")


def _of_mask(target: str) -> Rule:
    def act(spot: Spot) -> None:
        if not _has_mask(spot):
            return spot.ignore("there is no mask")
        spot.put(target, number(spot.value))

    return decide(target)(act)


@decide("datasets.0.random_triggers")
def _triggers(spot: Spot) -> None:
    if not spot.value:
        return spot.ignore("off, as it is by default")
    if isinstance(spot.value, str):
        return _triggers_from_file(spot)
    spot.put("datasets.0.random_triggers", spot.value)


def _triggers_from_file(spot: Spot) -> None:
    path = Path(found_folder(spot.value, spot.draft.report.source))
    if not path.is_file():
        return spot.ignore("a file of trigger words that is not there", matters=True)
    words = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    spot.put("datasets.0.random_triggers", words, "the words in that file")


@decide("datasets.0.crop")
def _crop(spot: Spot) -> None:
    if not spot.value:
        return spot.ignore("off, as it is by default")
    spot.put("datasets.0.crop", "random", f"one of {NUM_CROPS} random parts of the picture, so that latents are cached")
    spot.also("datasets.0.num_crops", NUM_CROPS)


@decide("datasets.0.square")
def _square(spot: Spot) -> None:
    square = spot.value if spot.name == "square_crop" else not spot.value
    if not square:
        return spot.ignore("pictures keep their aspect ratio, as they do by default")
    spot.put(
        "datasets.0.square", True, "" if spot.value is True else "without buckets every picture is cut to a square"
    )


@decide("datasets.0.bucket_step")
def _tolerance(spot: Spot) -> None:
    if number(spot.value) not in (16, 32, 64):
        return spot.ignore("sides are multiples of 16, 32 or 64 here", matters=True)
    spot.put("datasets.0.bucket_step", number(spot.value))


@decide("datasets.0.default_caption")
def _caption(spot: Spot) -> None:
    spot.put("datasets.0.default_caption", text(spot.value), "" if spot.value is not None else "none")


DATASET: Table = {
    "folder_path": _folder,
    "dataset_path": _folder,
    "type": lacking("pictures only", "image", "sd"),
    "default_caption": _caption,
    "trigger_word": take("datasets.0.trigger_word"),
    "random_triggers": _triggers,
    "random_triggers_max": lacking("one of the random triggers is drawn each time", 1),
    "caption_ext": _extension,
    "caption_type": _extension,
    "caption_dropout_rate": take("datasets.0.caption_dropout", number),
    "token_dropout_rate": take("datasets.0.caption_token_dropout", number),
    "shuffle_tokens": take("datasets.0.caption_shuffle"),
    "keep_tokens": take("datasets.0.keep_tokens", number),
    "resolution": _resolution,
    "num_repeats": _repeats,
    "cache_latents": _cache,
    "cache_latents_to_disk": _cache,
    "cache_text_embeddings": skip("train.cache_text_embeddings decides for all datasets"),
    "cache_clip_vision_to_disk": skip("for other adapters"),
    "is_reg": _regularization,
    "prior_reg": _regularization,
    "network_weight": take("datasets.0.lora_weight", number),
    "loss_multiplier": take("datasets.0.loss_multiplier", number),
    "flip_x": take("datasets.0.flip_horizontal"),
    "flip_y": take("datasets.0.flip_vertical"),
    "alpha_mask": _mask,
    "mask_path": Rule(_mask.act, ("datasets.0.mask.path", "datasets.0.mask.source")),
    "invert_mask": _of_mask("datasets.0.mask.invert"),
    "mask_min_value": _of_mask("datasets.0.mask.minimum"),
    "random_crop": _crop,
    "square_crop": _square,
    "buckets": _square,
    "bucket_tolerance": _tolerance,
    "random_scale": lacking("pictures are scaled to their bucket"),
    "scale": lacking("pictures are scaled to their bucket", 1, 1.0),
    "augments": lacking("pictures are not altered, apart from flips and crops"),
    "augmentations": lacking("pictures are not altered, apart from flips and crops"),
    "shuffle_augmentations": lacking("pictures are not altered, apart from flips and crops"),
    "standardize_images": lacking("pictures are not altered, apart from flips and crops"),
    "poi": lacking("points of interest in a JSON file"),
    "use_short_captions": lacking("one caption per picture"),
    "replacements": lacking("words of captions are not replaced; edit the caption files"),
    "extra_values": lacking("values for other adapters"),
    "guidance_type": skip("for other kinds of training"),
    "unconditional_path": lacking("pictures for other kinds of training"),
    "clip_image_path": lacking("pictures for other adapters"),
    "clip_image_from_same_folder": lacking("pictures for other adapters"),
    "clip_image_augmentations": lacking("pictures for other adapters"),
    "clip_image_shuffle_augmentations": lacking("pictures for other adapters"),
    "inpaint_path": _CONTROL,
    "control_path": _CONTROL,
    "control_path_1": _CONTROL,
    "control_path_2": _CONTROL,
    "control_path_3": _CONTROL,
    "controls": _CONTROL,
    "control_from_same_folder": _CONTROL,
    "num_controls_from_same_folder": skip("belongs to control_path"),
    "control_transparent_color": skip("belongs to control_path"),
    "full_size_control_images": skip("belongs to control_path"),
    "replay_transforms": skip("belongs to control_path"),
    "load_image_when_caching_latents": skip("loading only"),
    "num_workers": skip("loading only"),
    "prefetch_factor": skip("loading only"),
    "fast_image_size": skip("loading only"),
    "debug": skip("printing only"),
    "num_frames": _VIDEO,
    "shrink_video_to_frames": skip("for video models"),
    "fps": skip("for video models"),
    "auto_frame_count": _VIDEO,
    "do_i2v": skip("for video models"),
    "do_audio": _AUDIO,
    "audio_normalize": skip("for models with sound"),
    "audio_preserve_pitch": skip("for models with sound"),
}
