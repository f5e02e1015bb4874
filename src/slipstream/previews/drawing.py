"""Drawing pictures into files: each is encoded and written in the background while the next ones are drawn."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial

from torch import Tensor

from slipstream.data.background import WriteBehind, num_cores, to_host
from slipstream.previews.png import to_uint8
from slipstream.previews.render import Picture, Renderer, Step, render

_WAITING = 16
"""Pictures that may wait to be written: 3 MB each at 1024 x 1024."""
_MOST_THREADS = 4


def draw(
    renderer: Renderer,
    pictures: Sequence[Picture],
    write: Callable[[int, Tensor], None],
    on_step: Callable[[Step], None] | None = None,
) -> Generator[int, None, None]:
    """Draw pictures, yielding the index of each one that is written.

    Closing it, or an error, ends the drawing; what was drawn by then is still written.

    Args:
        renderer: draws.
        pictures: what to draw.
        write: (index, bytes (3, H, W) on the CPU), called in a background thread.
        on_step: called before each step of a batch.
    """

    def write_arrived(index: int, arrived: Callable[[], list[Tensor]]) -> int:
        write(index, arrived()[0])
        return index

    with WriteBehind[int](_WAITING, num_threads=max(1, min(_MOST_THREADS, num_cores() - 2))) as writer:
        for index, image in render(renderer, pictures, on_step):
            writer.submit(partial(write_arrived, index, to_host([to_uint8(image)])))
            yield from writer.done()
        yield from writer.drain()
