"""The dataset check as one page that needs nothing but itself: thumbnails, crops, duplicates, advice."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from slipstream.core.atomic import write_text
from slipstream.core.errors import ConfigError
from slipstream.reports.dataset_charts import Bar, aspect_bars, length_bars, sharpness_svg, tones_svg
from slipstream.reports.pictures import data_uri

if TYPE_CHECKING:
    from slipstream.data.check import DatasetReport
    from slipstream.data.duplicates import Twin
    from slipstream.data.findings import PictureFacts

PICTURE_BUDGET_BYTES = 6_000_000
MARK = '<meta name="generator" content="slipstream dataset check">'
"""Stands in every page, so that a page of before may be replaced and nothing else is."""

_SIDES = (256, 224, 192, 160, 128, 96, 64)
_STRIP = 14
"""Pictures shown of a bucket."""

_ORDER = (
    "duplicate", "blurred", "dark", "bright", "flat", "small", "cropped", "unmasked",
    "no caption", "long caption", "same caption",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """The part of a picture that a bucket shows, in per mille of its sides."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Card:
    """One picture of the page. `number` names its thumbnail's variable; frames are those of its tightest bucket."""

    number: int
    facts: PictureFacts
    folder: str
    has_thumbnail: bool
    frames: tuple[Frame, ...]
    buckets: str


@dataclass(frozen=True)
class TwinCard:
    """One picture of a group of near-duplicates."""

    card: Card
    note: str
    keep: bool


@dataclass(frozen=True)
class StripPicture:
    """A picture as its bucket shows it: how its thumbnail is scaled and moved behind a window of the bucket's shape."""

    number: int
    name: str
    size: str
    position: str


@dataclass(frozen=True)
class BucketRow:
    """One bucket with some of its pictures."""

    width: int
    height: int
    examples: int
    samples: int
    mean_crop: float
    worst_crop: float
    worst_name: str
    strip: tuple[StripPicture, ...]
    more: int


def write_dataset_page(report: DatasetReport, path: Path) -> None:
    """Write the page; an earlier page of the same kind is replaced.

    Raises:
        ConfigError: another file lies there.
        RunError: the file cannot be written.
    """
    if path.exists() and (not path.is_file() or MARK.encode() not in path.read_bytes()[:4096]):
        raise ConfigError(
            "something else lies where the page would go, and is left as it is",
            where=str(path), fix="choose another place with --html.",
        )  # fmt: skip
    write_text(path, render_dataset_page(report), durable=False)


def render_dataset_page(report: DatasetReport) -> str:
    """The page as text."""
    cards = _cards(report)
    by_path = {card.facts.path: card for card in cards}
    kinds: Counter[str] = Counter(
        finding.kind for card in cards for finding in {f.kind: f for f in card.facts.findings}.values()
    )
    return _environment().get_template("dataset_page.html").render(
        report=report,
        mark=Markup(MARK),
        title=" + ".join(dict.fromkeys(folder.path.name for folder in report.folders)),
        cards=cards,
        thumbnails=_thumbnails(cards),
        veils=[(card.number, data_uri(card.facts.veil)) for card in cards if card.facts.veil is not None],
        kinds=[(kind, kinds[kind]) for kind in _ORDER if kinds[kind]],
        num_found=sum(bool(card.facts.findings) for card in cards),
        notes=_notes(report),
        groups=[[_twin(by_path[twin.path], twin, place == 0) for place, twin in enumerate(group.twins)]
                for group in report.duplicates],
        buckets=_buckets(report, by_path),
        aspects=aspect_bars([(card.facts.width, card.facts.height) for card in cards]),
        lengths=_lengths(report),
        tones=tones_svg([(one.facts.name, one.facts.look.darkest, one.facts.look.brightest)
                         for one in cards if one.facts.look is not None]),
        sharpness=sharpness_svg([(one.facts.name, one.facts.look.sharpness)
                                 for one in cards if one.facts.look is not None]),
        trigger=_trigger(report),
    )  # fmt: skip


def _cards(report: DatasetReport) -> list[Card]:
    several = len({folder.path.name for folder in report.folders}) > 1
    return [
        Card(
            number=number,
            facts=one,
            folder=report.folders[one.folder].path.name if several else "",
            has_thumbnail=one.look is not None,
            frames=tuple(dict.fromkeys(_frame(box, one) for box in one.worst_place[1])),
            buckets=", ".join(f"{bucket.width}×{bucket.height}" for bucket, _, _ in one.places),
        )
        for number, one in enumerate(report.pictures)
    ]


def _frame(box: tuple[float, float, float, float], facts: PictureFacts) -> Frame:
    left, right = (round(1000 * side / facts.width) for side in (box[0], box[2]))
    top, bottom = (round(1000 * side / facts.height) for side in (box[1], box[3]))
    return Frame(left, top, right - left, bottom - top)


def _thumbnails(cards: Sequence[Card]) -> list[tuple[int, str]]:
    """(number, data URI) of every picture, all shrunk alike until they fit the budget together."""
    data = {card.number: card.facts.look.thumbnail for card in cards if card.facts.look is not None}
    for side in _SIDES:
        if sum(map(len, data.values())) * 4 / 3 <= PICTURE_BUDGET_BYTES:
            break
        data = {number: _shrunk(thumbnail, side) for number, thumbnail in data.items()}
    return [(number, data_uri(thumbnail)) for number, thumbnail in data.items()]


def _shrunk(thumbnail: bytes, side: int) -> bytes:
    picture = Image.open(io.BytesIO(thumbnail))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=76, method=2)
    return buffer.getvalue()


def _twin(card: Card, twin: Twin, keep: bool) -> TwinCard:
    size = f"{card.facts.width} × {card.facts.height}"
    if keep:
        return TwinCard(card, f"{size}: the one to keep", keep)
    if twin.identical:
        return TwinCard(card, f"{size}, the same file again", keep)
    mirror = ", mirrored" if twin.mirrored else ""
    alike = f"{twin.similarity:.1%} alike, {twin.distance} of 63 bits differ"
    return TwinCard(card, f"{size}, {alike}{mirror}", keep)


def _buckets(report: DatasetReport, by_path: dict[Path, Card]) -> list[BucketRow]:
    shown: dict[tuple[int, int], list[StripPicture]] = {}
    for card in by_path.values():
        for bucket, boxes, _ in card.facts.places:
            pictures = [_strip_picture(card, _frame(box, card.facts)) for box in boxes[:3]]
            shown.setdefault((bucket.width, bucket.height), []).extend(pictures)
    rows = []
    for facts in report.buckets:
        pictures = shown[facts.bucket.width, facts.bucket.height]
        rows.append(
            BucketRow(
                facts.bucket.width, facts.bucket.height, facts.examples, facts.samples, facts.mean_crop,
                facts.worst_crop, facts.worst_path.name, tuple(pictures[:_STRIP]), max(0, len(pictures) - _STRIP),
            )
        )  # fmt: skip
    return rows


def _strip_picture(card: Card, frame: Frame) -> StripPicture:
    width, height = max(1, frame.width), max(1, frame.height)
    x = 100 * frame.left / (1000 - width) if width < 1000 else 0
    y = 100 * frame.top / (1000 - height) if height < 1000 else 0
    size = f"{100_000 / width:.1f}% {100_000 / height:.1f}%"
    return StripPicture(card.number, card.facts.name, size, f"{x:.1f}% {y:.1f}%")


def _notes(report: DatasetReport) -> list[tuple[str, str]]:
    """(kind, sentence) of everything to read, folders by their last name only: the page may be passed on."""
    found = [
        *(("skipped", f"{one.path}: {one.reason}") for one in report.skipped),
        *(("warning", line) for line in report.warnings),
        *(("advice", line) for line in report.advice),
    ]
    return [(kind, _without_home(line, report)) for kind, line in found]


def _without_home(line: str, report: DatasetReport) -> str:
    for folder in sorted((folder.path for folder in report.folders), key=lambda path: -len(str(path))):
        line = line.replace(str(folder), folder.name)
    return line


def _lengths(report: DatasetReport) -> tuple[str, list[Bar]]:
    tokens = [one.num_tokens for one in report.pictures if one.num_tokens is not None]
    if tokens:
        return "tokens", length_bars(tokens)
    return "characters", length_bars([len(one.caption) for one in report.pictures])


def _trigger(report: DatasetReport) -> tuple[int, int] | None:
    """Written captions with the trigger word, and those that could have it."""
    flags = [one.has_trigger for one in report.pictures if one.has_trigger is not None]
    return (sum(flags), len(flags)) if flags else None


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
