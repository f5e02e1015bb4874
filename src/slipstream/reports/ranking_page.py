"""The ranking of a run's checkpoints as one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from slipstream.core.atomic import write_text
from slipstream.core.errors import ConfigError
from slipstream.evaluation.recommend import overfit_price
from slipstream.reports.scatter import Mark, scatter_svg
from slipstream.runs.ranking import Figures, Ranking

MARK = '<meta name="generator" content="slipstream rank">'
"""Stands in every page, so that a page of before may be replaced and nothing else is."""


@dataclass(frozen=True)
class Heading:
    """A prompt that is shown; `kind` is `concept`, `same` (without the trigger word) or `unrelated`."""

    prompt: str
    kind: str


@dataclass(frozen=True)
class Strip:
    """The pictures of one checkpoint, or of one weight, as data URIs in the order of the headings."""

    label: str
    step: int | None
    weight: float | None
    uris: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """A drawn picture beside the training picture nearest to it; `share` is their distance in typical distances."""

    prompt: str
    training: str
    share: float
    memorised: bool
    drawn: str
    nearest: str


@dataclass(frozen=True)
class RankingPictures:
    """What the page shows besides figures."""

    headings: tuple[Heading, ...]
    checkpoints: tuple[Strip, ...]
    weights: tuple[Strip, ...]
    pairs: tuple[Pair, ...]


def write_ranking_page(path: Path, ranking: Ranking, pictures: RankingPictures) -> None:
    """Write the page; an earlier page of the same kind is replaced.

    Raises:
        ConfigError: another file lies there.
        RunError: the file cannot be written.
    """
    require_page_place(path)
    write_text(path, render_ranking_page(ranking, pictures), durable=False)


def require_page_place(path: Path) -> None:
    """Refuse a place where another file lies, before anything is drawn.

    Raises:
        ConfigError: another file lies there.
    """
    if path.exists() and (not path.is_file() or MARK.encode() not in path.read_bytes()[:4096]):
        raise ConfigError(
            "something else lies where the page would go, and is left as it is",
            where=str(path), fix="choose another place with --out.",
        )  # fmt: skip


def render_ranking_page(ranking: Ranking, pictures: RankingPictures) -> str:
    """The page as text."""
    chosen = ranking.recommended
    best = next(row for row in ranking.checkpoints if row.step == chosen["step"])
    return _environment().get_template("ranking_page.html").render(
        ranking=ranking,
        mark=Markup(MARK),
        best=best,
        weight=chosen["weight"],
        pictures=pictures,
        scatters=[Markup(svg) for svg in _scatters(ranking.checkpoints, best.step)],
        has_beaten=any(row.dominated for row in ranking.checkpoints),
        levels=sorted({level for row in ranking.checkpoints for level in row.held_out_rise or {} if level != "loss"},
                      key=float),
    )  # fmt: skip


def _scatters(rows: Sequence[Figures], chosen: int) -> list[str]:
    """Strength against drift, leak and overfitting."""

    def drawn(x_label: str, values: Sequence[float], *, percent: bool) -> str:
        marks = [
            Mark(
                x=value,
                y=row.strength,
                label=f"{row.step}" if row.step in labelled else "",
                tooltip=f"step {row.step}: strength {row.strength:.0%}, drift {row.drift:.0f} ({row.light}), "
                f"leak {row.leak:.0%}, overfit {overfit_price(row):.0%}, score {row.score:.2f}",
                light=row.light,
                dominated=row.dominated,
                chosen=row.step == chosen,
            )
            for row, value in zip(rows, values, strict=True)
        ]
        return scatter_svg(marks, x_label=x_label, y_label="concept strength", percent_x=percent)

    labelled = {rows[0].step, rows[-1].step, chosen}
    return [
        drawn("drift", [row.drift for row in rows], percent=False),
        drawn("leak", [row.leak for row in rows], percent=True),
        drawn("overfitting", [overfit_price(row) for row in rows], percent=True),
    ]


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
