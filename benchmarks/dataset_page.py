"""A dataset of thousands on its page: seconds until it can be used, elements in the page, and what steps take.

    python benchmarks/dataset_page.py --pictures 5000 --out dataset_page.json

A studio is served over pictures of the benchmark's own making and opened in a headless Chromium (Debian's; needs the
extra `dev`). Thumbnails are made when they are first asked for, so a page's first visit is told apart from the second.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from results import revision
from synthetic_dataset import write_pictures

from slipstream.core.atomic import write_json

WIDTH, HEIGHT = 1280, 800
SCROLLS = 20
WORDS = ("fox", "snow", "night", "road", "tree", "river", "house", "light", "red", "old")
_COUNT = "document.getElementsByTagName('*').length"
_VISIBLE = """() => {
  const seen = [...document.querySelectorAll('.s-picture img')].filter((image) => {
    const place = image.getBoundingClientRect();
    return place.bottom > 0 && place.top < innerHeight;
  });
  return seen.length > 0 && seen.every((image) => image.complete && image.naturalWidth > 0);
}"""


def write_dataset(folder: Path, count: int, side: int) -> None:
    """Pictures with captions: a hundred different ones, copied under new names."""
    made = sorted(write_pictures(folder.parent / "made", min(count, 100), side).glob("*.*"))
    pictures = [path for path in made if path.suffix in (".png", ".jpg")]
    folder.mkdir(parents=True)
    words = random.Random(0)
    for number in range(count):
        source = pictures[number % len(pictures)]
        shutil.copyfile(source, folder / f"picture_{number:05d}{source.suffix}")
        if number % 10:
            text = " ".join(words.choices(WORDS, k=20))
            (folder / f"picture_{number:05d}.txt").write_text(text + "\n", encoding="utf-8")


@contextmanager
def served(base: Path) -> Iterator[tuple[str, int]]:
    """A studio: its address and its process."""
    command = [
        sys.executable, "-m", "slipstream.cli.app", "serve", "--port", "0", "--home", str(base / "home"),
        "--runs", str(base / "runs"), "--datasets", str(base / "datasets"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+?:\d+", line)))
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(10)


def visit(page: Page, address: str, count: int) -> dict[str, Any]:
    """Open the page; seconds until the list is there, and until every thumbnail in view is."""
    started = time.perf_counter()
    page.goto(f"{address}/datasets/many")
    page.wait_for_selector(f'[role=listbox][data-total="{count}"]', timeout=60_000)
    listed = time.perf_counter() - started
    page.wait_for_function(_VISIBLE, timeout=60_000)
    return {"list_seconds": round(listed, 2), "thumbnails_seconds": round(time.perf_counter() - started, 2)}


def scroll(page: Page) -> dict[str, Any]:
    """Jump through the whole list; the most elements at any place, and the median seconds until a place is shown."""
    most, times = 0, []
    total = page.evaluate("document.documentElement.scrollHeight")
    for step in range(1, SCROLLS + 1):
        started = time.perf_counter()
        page.evaluate(f"window.scrollTo(0, {total * step / SCROLLS})")
        page.wait_for_function(_VISIBLE, timeout=60_000)
        times.append(time.perf_counter() - started)
        most = max(most, page.evaluate(_COUNT))
    return {"most_elements": most, "median_jump_seconds": round(sorted(times)[len(times) // 2], 3)}


def steps(page: Page, count: int) -> dict[str, float]:
    """Seconds of a search, of selecting all, of opening the editor and of the next picture."""

    def timed(act: Any, wanted: str) -> float:
        started = time.perf_counter()
        act()
        page.wait_for_selector(wanted, timeout=60_000)
        return round(time.perf_counter() - started, 2)

    page.evaluate("window.scrollTo(0, 0)")
    box = page.get_by_label("Search names and captions")
    found = {"search": timed(lambda: box.fill("picture_0004"), '[role=listbox][data-total="10"]')}
    found["all_again"] = timed(lambda: box.fill(""), f'[role=listbox][data-total="{count}"]')
    select = page.get_by_role("button", name="Select all")
    found["select_all"] = timed(select.click, f"text={count} selected")
    found["open_editor"] = timed(page.locator(".s-picture").nth(3).click, ".s-editor textarea")
    found["next_picture"] = timed(lambda: page.keyboard.press("PageDown"), f"text=/^5 \\/ {count}/")
    return found


def peak_mib(pid: int) -> float:
    """The most memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return round(int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024, 1)


def main(arguments: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--side", type=int, default=512, help="of the pictures, pixels")
    parser.add_argument("--out", type=Path, default=Path("dataset_page.json"))
    given = parser.parse_args(arguments)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        base = Path(folder)
        write_dataset(base / "datasets/many", given.pictures, given.side)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with served(base) as (address, pid):
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, locale="en-US")
            figures: dict[str, Any] = {"pictures": given.pictures, "side": given.side, "revision": revision()}
            figures["first_visit"] = visit(page, address, given.pictures)
            figures["second_visit"] = visit(page, address, given.pictures)
            figures["elements"] = page.evaluate(_COUNT)
            figures["scrolled"] = scroll(page)
            figures["steps_seconds"] = steps(page, given.pictures)
            figures["server_peak_mib"] = peak_mib(pid)
        browser.close()
    write_json(given.out, figures, durable=False)
    print(given.out.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
