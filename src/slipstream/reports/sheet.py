"""Drawing a sheet: pictures in rows and columns with labels, within bounds, whatever sizes they have."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from slipstream.core.atomic import atomic_path
from slipstream.reports.headings import WITH_TRIGGER, WITHOUT_TRIGGER, Heading
from slipstream.reports.pictures import open_picture, picture_size

MAX_SIDE = 4096
_SMALLEST_CELL = 192
_NARROWEST = 0.6
_GAP = 10
_MARGIN = 24
_PROMPT_LINES = 3
_LINE_HEIGHT = 24
_PAPER, _INK, _FADED, _EMPTY, _LINE = "#f7f7f5", "#1c1c1e", "#6d6d72", "#e9e9e6", "#cfcfca"
_MARKED, _UNMARKED = "#0f766e", "#b45309"
_WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "PingFang.ttc", "msyh.ttc", "wqy-microhei.ttc", "DejaVuSans.ttf")
_LAST_OF_LATIN = 0x24F

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Sheet:
    """What a sheet shows: `cells[(row, column)]` is a picture file; not every cell needs to have one."""

    title: str
    rows: Sequence[str]
    headings: Sequence[Heading]
    cells: Mapping[tuple[int, int], Path]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class SheetLayout:
    """Sizes in pixels. A column is as wide as its pictures, all rows are equally high; `left` and `top` hold labels."""

    rows: int
    widths: tuple[int, ...]
    cell_height: int
    left: int
    top: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        return (
            self.left + sum(self.widths) + (len(self.widths) - 1) * _GAP + _MARGIN,
            self.top + self.rows * (self.cell_height + _GAP) - _GAP + _MARGIN,
        )

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Top left pixel of a cell."""
        return self.left + sum(self.widths[:column]) + column * _GAP, self.top + row * (self.cell_height + _GAP)


def write_sheet(path: Path, sheet: Sheet) -> Path:
    """Draw the sheet into a PNG file, within 4096 x 4096.

    Raises:
        DiskFullError: no space left.
        RunError: the file cannot be written for another reason.
    """
    with atomic_path(path) as temporary:
        draw_sheet(sheet).save(temporary, format="PNG", compress_level=3)
    return path


def draw_sheet(sheet: Sheet) -> Image.Image:
    """The sheet as a picture."""
    font = _font(20)
    layout = _layout(sheet, font, 1)
    if _legend_width() > layout.size[0] - 2 * _MARGIN:
        layout = _layout(sheet, font, 2)
    picture = Image.new("RGB", layout.size, _PAPER)
    draw = ImageDraw.Draw(picture)
    _draw_title(picture, draw, sheet)
    small = _font(16, "".join(heading.text for heading in sheet.headings))
    for column, heading in enumerate(sheet.headings):
        _draw_heading(picture, draw, layout, column, heading, small)
    for row, label in enumerate(sheet.rows):
        y = layout.corner(row, 0)[1] + layout.cell_height // 2
        draw.text((layout.left - 16, y), label, _INK, font, anchor="rm")
        for column in range(len(sheet.headings)):
            _draw_cell(picture, draw, layout, (row, column), sheet.cells.get((row, column)))
    return picture


def _layout(sheet: Sheet, font: Font, legend_lines: int) -> SheetLayout:
    """Cells as large as the pictures, within the sheet's bounds; small pictures are enlarged."""
    rows, columns = len(sheet.rows), len(sheet.headings)
    sizes = {cell: size for cell, path in sheet.cells.items() if (size := picture_size(path))}
    height = max((size[1] for size in sizes.values()), default=_SMALLEST_CELL)
    usual = max((size[0] for size in sizes.values()), default=_SMALLEST_CELL)
    widest = [
        max((size[0] for (_, at), size in sizes.items() if at == column), default=usual) for column in range(columns)
    ]
    wanted = [max(width, _NARROWEST * height) for width in widest]
    left = _MARGIN + 16 + round(max(font.getlength(label) for label in sheet.rows))
    top = _MARGIN + 36 + _LINE_HEIGHT * _heading_lines(sheet.headings, legend_lines) + 24
    room_x = (MAX_SIDE - left - _MARGIN - (columns - 1) * _GAP) / sum(wanted)
    room_y = (MAX_SIDE - top - _MARGIN - (rows - 1) * _GAP) / rows / height
    enlarged = max(1.0, _SMALLEST_CELL / max(*widest, height))
    scale = min(enlarged, room_x, room_y)
    return SheetLayout(
        rows, tuple(max(1, int(width * scale)) for width in wanted), max(1, int(height * scale)), left, top
    )


def _heading_lines(headings: Sequence[Heading], legend_lines: int) -> int:
    """Lines above the pictures: the legend, and of a column its prompt, its mark and its note."""
    marks = any(heading.mark for heading in headings)
    return (legend_lines + 1) * marks + _PROMPT_LINES + any(heading.note for heading in headings)


def _legend() -> list[tuple[bool, str, int]]:
    """Mark, text and width of the legend's entries."""
    entries = ((True, WITH_TRIGGER), (False, WITHOUT_TRIGGER))
    return [(has_trigger, text, 20 + round(_font(16).getlength(text))) for has_trigger, text in entries]


def _legend_width() -> int:
    return sum(width for _, _, width in _legend()) + 24


def _draw_title(sheet: Image.Image, draw: ImageDraw.ImageDraw, content: Sheet) -> None:
    """The title with what is not shown, and the legend of the marks."""
    title = " · ".join([content.title, *content.notes])
    font, small = _font(24, title), _font(16)
    room = sheet.width - 2 * _MARGIN
    draw.text((_MARGIN, _MARGIN), wrapped(title, font, room, 1)[0], _FADED if content.notes else _INK, font)
    if not any(heading.mark for heading in content.headings):
        return
    x, y = _MARGIN, _MARGIN + 36 + _LINE_HEIGHT // 2
    for has_trigger, text, width in _legend():
        if x > _MARGIN and x + width > sheet.width - _MARGIN:
            x, y = _MARGIN, y + _LINE_HEIGHT
        _draw_mark(sheet, (x, y), has_trigger)
        draw.text((x + 20, y), wrapped(text, small, room - 20, 1)[0], _FADED, small, anchor="lm")
        x += width + 24


def _draw_mark(sheet: Image.Image, place: tuple[int, int], has_trigger: bool) -> None:
    """A disk for a prompt with the trigger word, a ring for one without; `place` is its left middle."""
    side, finer = 13, 8
    shape = Image.new("L", (side * finer, side * finer), 0)
    draw = ImageDraw.Draw(shape)
    draw.ellipse((0, 0, side * finer - 1, side * finer - 1), fill=255)
    if not has_trigger:
        rim = 3 * finer
        draw.ellipse((rim, rim, side * finer - 1 - rim, side * finer - 1 - rim), fill=0)
    colour = _MARKED if has_trigger else _UNMARKED
    sheet.paste(colour, (place[0], place[1] - side // 2), shape.resize((side, side), Image.Resampling.LANCZOS))


def _draw_heading(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, layout: SheetLayout, column: int, heading: Heading, font: Font
) -> None:
    """Prompt, mark and note, standing on the column's first picture."""
    x, y = layout.corner(0, column)[0], layout.top - 10
    width, small = layout.widths[column], _font(16)
    if heading.note:
        draw.text((x, y), wrapped(heading.note, small, width, 1)[0], _FADED, small, anchor="ld")
        y -= _LINE_HEIGHT
    if heading.has_trigger is not None:
        _draw_mark(sheet, (x, y - 9), heading.has_trigger)
        colour = _MARKED if heading.has_trigger else _UNMARKED
        draw.text((x + 19, y), wrapped(heading.mark, small, width - 19, 1)[0], colour, small, anchor="ld")
        y -= _LINE_HEIGHT
    lines = wrapped(f"{column + 1}. {heading.text}", font, width, _PROMPT_LINES)
    draw.multiline_text((x, y), "\n".join(lines), _INK, font, anchor="ld", spacing=4)


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    layout: SheetLayout,
    cell: tuple[int, int],
    path: Path | None,
) -> None:
    """One picture, centred in its cell, or an empty tile."""
    x, y = layout.corner(*cell)
    cell_width = layout.widths[cell[1]]
    picture = open_picture(path) if path is not None else None
    if picture is None:
        box = (x, y, x + cell_width - 1, y + layout.cell_height - 1)
        draw.rectangle(box, fill=_EMPTY, outline=_LINE)
        return
    scale = min(cell_width / picture.width, layout.cell_height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    sheet.paste(picture, (x + (cell_width - size[0]) // 2, y + (layout.cell_height - size[1]) // 2))


def wrapped(text: str, font: Font, width: float, max_lines: int) -> list[str]:
    """At most `max_lines` lines no wider than `width` pixels; what does not fit ends in an ellipsis.

    Lines break at spaces, and within a word that is wider than a line.
    """
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < max_lines:
        line = _fitting(rest, font, width)
        rest = rest[len(line) :].lstrip()
        lines.append(line.rstrip())
    if rest:
        kept = lines[-1]
        while kept and font.getlength(kept + "…") > width:
            kept = kept[:-1].rstrip()
        lines[-1] = kept + "…"
    return lines or [""]


def _fitting(text: str, font: Font, width: float) -> str:
    """The longest start of `text` that fits, cut at a space where there is one; at least one character."""
    end = 1
    while end < len(text) and font.getlength(text[: end + 1].rstrip()) <= width:
        end += 1
    if end == len(text) or text[end] == " ":
        return text[:end]
    space = text.rfind(" ", 0, end)
    return text[: space + 1] if space > 0 else text[:end]


def _font(size: int, text: str = "") -> Font:
    """Pillow's own font; for scripts it lacks (such as Chinese) one of the system's, if there is any."""
    if any(ord(character) > _LAST_OF_LATIN and character.isalpha() for character in text):
        for name in _WIDE_FONTS:
            with contextlib.suppress(OSError):
                return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)
