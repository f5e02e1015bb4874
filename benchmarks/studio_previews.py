"""How a page with thousands of previews behaves: seconds until it can be used, nodes in the page, memory, scrolling.

    python benchmarks/studio_previews.py --out measured/studio_previews.json                 # 1,250 checkpoints x 8
    python benchmarks/studio_previews.py --checkpoints 5 --side 64 --out /tmp/previews.json  # a dry run

A studio is served over one run whose previews are hard links to a few real PNG files, and looked at in a headless
Chromium (Debian's, or `--chromium`). Thumbnails are made as the page asks for them: the first look pays for them.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from results import revision

from slipstream.core.atomic import write_json
from slipstream.runs.layout import RunDir

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/web"))

from example_runs import make_run
from served import CHROMIUM, Served, serving

NAME = "many"
DIFFERENT = 24
PLACES = 12
_MS = 1000
_LOADED = """() => {
  const images = [...document.querySelectorAll('.r-cell img')];
  return images.length > 8 && images.every((one) => one.complete && one.naturalWidth);
}"""


@dataclass(frozen=True)
class Look:
    """One visit: seconds from the click until the wall can be used, and until every picture in view is there."""

    interactive_seconds: float
    pictures_seconds: float
    nodes: int
    images: int
    heap_mib: float


@dataclass(frozen=True)
class Scrolling:
    """Jumps to places over the whole wall: seconds until what is in view is there, and nodes in the page then."""

    median_seconds: float
    worst_seconds: float
    most_nodes: int
    frames_over_50_ms: int
    """Of a drag over the whole wall in three seconds."""


def fill(run: RunDir, checkpoints: int, side: int) -> int:
    """Previews of all checkpoints; returns how many."""
    random = np.random.default_rng(0)
    sources = []
    for number in range(DIFFERENT):
        coarse = random.integers(0, 255, (side // 16 or 1, side // 16 or 1, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        noise = random.integers(-6, 6, (side, side, 3))
        array = np.clip(np.asarray(picture, dtype=np.int16) + noise, 0, 255).astype(np.uint8)
        source = run.path / f".source_{number}.png"
        Image.fromarray(array).save(source, compress_level=1)
        sources.append(source)
    prompts = len(run_prompts())
    for index in range(checkpoints):
        for prompt in range(prompts):
            target = run.preview_image(index * 10, prompt)
            target.unlink(missing_ok=True)
            os.link(sources[(index * prompts + prompt) % DIFFERENT], target)
    return checkpoints * prompts


def run_prompts() -> tuple[str, ...]:
    """The columns."""
    return tuple(f"a [trigger] portrait of person {number} in a garden" for number in range(8))


def look(browser: Browser, served: Served) -> tuple[Look, Page]:
    """Open the previews of the run; the page is left open."""
    page = browser.new_context(base_url=served.address, viewport={"width": 1440, "height": 900}).new_page()
    started = time.perf_counter()
    page.goto(f"/runs/{NAME}?tab=previews")
    page.wait_for_selector(".r-cell", timeout=60 * _MS)
    interactive = time.perf_counter() - started
    page.wait_for_function(_LOADED, timeout=120 * _MS)
    loaded = time.perf_counter() - started
    return Look(round(interactive, 3), round(loaded, 3), *_counts(page)), page


def _counts(page: Page) -> tuple[int, int, float]:
    nodes = page.evaluate("document.querySelectorAll('*').length")
    images = page.evaluate("document.images.length")
    heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
    return nodes, images, round(heap, 1)


def scroll(page: Page) -> Scrolling:
    """Jump over the wall, then drag over it."""
    seconds, nodes = [], []
    for place in range(1, PLACES + 1):
        started = time.perf_counter()
        page.evaluate(
            "(share) => { const b = document.querySelector('.r-wall-scroll'); b.scrollTop = share * b.scrollHeight; }",
            (place * 7 % PLACES) / PLACES + 0.01,
        )
        page.wait_for_timeout(120)
        page.wait_for_function(_LOADED, timeout=60 * _MS)
        seconds.append(time.perf_counter() - started)
        nodes.append(page.evaluate("document.querySelectorAll('*').length"))
    slow = page.evaluate("""() => new Promise((resolve) => {
      const box = document.querySelector('.r-wall-scroll');
      const [start, end] = [performance.now(), box.scrollHeight];
      let [last, slow] = [start, 0];
      function frame(now) {
        if (now - last > 50) slow += 1;
        last = now;
        box.scrollTop = end * Math.min(1, (now - start) / 3000);
        if (now - start < 3000) requestAnimationFrame(frame); else resolve(slow);
      }
      requestAnimationFrame(frame);
    })""")
    seconds.sort()
    return Scrolling(round(seconds[len(seconds) // 2], 3), round(seconds[-1], 3), max(nodes), slow)


def timed(call: Callable[[], object]) -> float:
    """Seconds of the quickest of three calls."""
    found = []
    for _ in range(3):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return round(min(found), 3)


def measure(checkpoints: int, side: int, chromium: str | None) -> dict:
    """Everything, over a studio of its own."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        run = make_run(base / "runs", NAME, steps=checkpoints * 10, every=checkpoints * 10 + 1, prompts=run_prompts())
        num_pictures = fill(run, checkpoints, side)
        with serving(base) as served, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium or CHROMIUM, args=["--no-sandbox"])
            warm, page = look(browser, served)  # the server's first page, modules included
            page.context.close()
            first, page = look(browser, served)
            scrolling = scroll(page)
            listing = timed(lambda: page.request.get(f"/api/runs/{NAME}/previews"))
            page.context.close()
            memory = psutil.Process(served.process.pid).memory_info().rss / 2**20
            browser.close()
    return {
        "pictures": num_pictures, "checkpoints": checkpoints, "side": side, "cold": asdict(warm), "warm": asdict(first),
        "scrolling": asdict(scrolling), "list_seconds": listing, "server_mib": round(memory),
        "cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version(),
        "revision": revision(),
    }  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=1250)
    parser.add_argument("--side", type=int, default=1024, help="of a preview, in pixels")
    parser.add_argument("--chromium", default=None)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found = measure(given.checkpoints, given.side, given.chromium)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(given.out, found)
    for name, value in found.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
