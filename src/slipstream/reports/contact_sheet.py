"""The contact sheet: checkpoints by prompts in one picture, to choose the best step at a glance."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from slipstream.core.atomic import atomic_path
from slipstream.reports.pictures import Previews, find_previews, open_picture, picture_size, thinned
from slipstream.runs.layout import RunDir

MAX_SIDE = 4096
MAX_ROWS = 24
MAX_COLUMNS = 24
_SMALLEST_CELL = 192
_GAP = 10
_MARGIN = 24
_PROMPT_LINES = 3
_PAPER, _INK, _FADED, _EMPTY, _LINE = "#f7f7f5", "#1c1c1e", "#6d6d72", "#e9e9e6", "#cfcfca"
_WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "PingFang.ttc", "msyh.ttc", "wqy-microhei.ttc", "DejaVuSans.ttf")
_LAST_OF_LATIN = 0x24F

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class SheetLayout:
    """Sizes in pixels. A cell holds one picture; `left` and `top` leave room for the labels."""

    rows: int
    columns: int
    cell_width: int
    cell_height: int
    left: int
    top: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        return (
            self.left + self.columns * (self.cell_width + _GAP) - _GAP + _MARGIN,
            self.top + self.rows * (self.cell_height + _GAP) - _GAP + _MARGIN,
        )

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Top left pixel of a cell."""
        return self.left + column * (self.cell_width + _GAP), self.top + row * (self.cell_height + _GAP)


def write_contact_sheet(run: RunDir, prompts: Sequence[str]) -> Path | None:
    """Draw `previews/contact_sheet.png`, rows = steps, columns = prompts; None where there is no picture yet.

    The sheet stays within 4096 x 4096: long runs show 24 checkpoints (first and last among them), long
    prompt lists their first 24 prompts, and the sheet says so.

    Raises:
        DiskFullError: no space left.
        RunError: the file cannot be written for another reason.
    """
    previews = find_previews(run, len(prompts))
    if not previews.paths:
        return None
    with atomic_path(run.contact_sheet) as temporary:
        draw_sheet(run.name, previews, prompts).save(temporary, format="PNG", compress_level=3)
    return run.contact_sheet


def draw_sheet(name: str, previews: Previews, prompts: Sequence[str]) -> Image.Image:
    """The sheet as a picture."""
    steps = thinned(previews.steps, MAX_ROWS)
    columns = min(previews.num_prompts, MAX_COLUMNS)
    font, small = _font(20), _font(16, "".join(prompts))
    layout = _layout(previews, len(steps), columns, [_step_label(step) for step in steps], font)
    sheet = Image.new("RGB", layout.size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_title(draw, name, previews, len(steps), columns, layout)
    for column in range(columns):
        text = f"{column + 1}. {prompts[column]}" if column < len(prompts) else f"{column + 1}."
        lines = wrapped(text, small, layout.cell_width, _PROMPT_LINES)
        x = layout.left + column * (layout.cell_width + _GAP)
        draw.multiline_text((x, layout.top - 10), "\n".join(lines), _INK, small, anchor="ld", spacing=4)
    for row, step in enumerate(steps):
        y = layout.corner(row, 0)[1] + layout.cell_height // 2
        draw.text((layout.left - 16, y), _step_label(step), _INK, font, anchor="rm")
        for column in range(columns):
            _draw_cell(sheet, draw, layout, (row, column), previews.paths.get((step, column)))
    return sheet


def _layout(previews: Previews, rows: int, columns: int, labels: Sequence[str], font: Font) -> SheetLayout:
    """Cells as large as the largest picture, within the sheet's bounds; small pictures are enlarged."""
    sizes = [size for path in previews.paths.values() if (size := picture_size(path))]
    width = max((size[0] for size in sizes), default=_SMALLEST_CELL)
    height = max((size[1] for size in sizes), default=_SMALLEST_CELL)
    left = _MARGIN + 16 + round(max(font.getlength(label) for label in labels))
    top = _MARGIN + 60 + _PROMPT_LINES * 24
    room_x = (MAX_SIDE - left - _MARGIN - (columns - 1) * _GAP) / columns
    room_y = (MAX_SIDE - top - _MARGIN - (rows - 1) * _GAP) / rows
    enlarged = max(1.0, _SMALLEST_CELL / max(width, height))
    scale = min(enlarged, room_x / width, room_y / height)
    cell_width, cell_height = max(1, int(width * scale)), max(1, int(height * scale))
    return SheetLayout(rows, columns, cell_width, cell_height, left, top)


def _draw_title(
    draw: ImageDraw.ImageDraw, name: str, previews: Previews, rows: int, columns: int, layout: SheetLayout
) -> None:
    """The run's name, and what is not shown."""
    notes = []
    if rows < len(previews.steps):
        notes.append(f"{rows} of {len(previews.steps)} checkpoints shown")
    if columns < previews.num_prompts:
        notes.append(f"the first {columns} of {previews.num_prompts} prompts shown")
    title = " · ".join([name, *notes])
    font = _font(24, title)
    line = wrapped(title, font, layout.size[0] - 2 * _MARGIN, 1)
    draw.text((_MARGIN, _MARGIN), line[0], _FADED if notes else _INK, font)


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    layout: SheetLayout,
    cell: tuple[int, int],
    path: Path | None,
) -> None:
    """One picture, centred in its cell, or an empty tile."""
    x, y = layout.corner(*cell)
    picture = open_picture(path) if path is not None else None
    if picture is None:
        box = (x, y, x + layout.cell_width - 1, y + layout.cell_height - 1)
        draw.rectangle(box, fill=_EMPTY, outline=_LINE)
        return
    scale = min(layout.cell_width / picture.width, layout.cell_height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    sheet.paste(picture, (x + (layout.cell_width - size[0]) // 2, y + (layout.cell_height - size[1]) // 2))


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


def _step_label(step: int) -> str:
    return f"step {step}"


def _font(size: int, text: str = "") -> Font:
    """Pillow's own font; for scripts it lacks (such as Chinese) one of the system's, if there is any."""
    if any(ord(character) > _LAST_OF_LATIN and character.isalpha() for character in text):
        for name in _WIDE_FONTS:
            with contextlib.suppress(OSError):
                return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)
