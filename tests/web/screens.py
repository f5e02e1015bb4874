"""Pictures of every page for the docs: `python tests/web/screens.py [PAGE ...]` writes docs/images/studio/*.webp.

A studio is served over example runs and datasets; every page is taken light on a wide screen, the first ones also dark
and on a phone.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

from example_runs import make_run
from example_trainings import something_going_on
from served import CHROMIUM, Served, serving

TARGET = Path(__file__).parents[2] / "docs/images/studio"
EXAMPLES = Path(__file__).parents[2] / "examples"
ADAPTER = Path(__file__).parents[2] / "src/slipstream/tiny/adapters/training_adapter_v1.safetensors"
WIDE, PHONE = (1280, 800), (390, 844)
_QUALITY = 62
_SETTLED_MS = 800
_MOST_BYTES = 1_500_000


@dataclass(frozen=True)
class Screen:
    """One picture: the file's name, the page's address, how it is looked at, and what must be there first."""

    name: str
    path: str
    size: tuple[int, int] = WIDE
    dark: bool = False
    ready: str = "h1, [role=heading][aria-level='1']"
    act: Callable[[Page], None] | None = None
    """What is done on the page before."""


def open_first(page: Page) -> None:
    """Open the editor on the first picture of a dataset."""
    page.locator(".s-picture").first.click()


def check(page: Page) -> None:
    """Check a dataset."""
    page.get_by_role("button", name="Check", exact=True).click()
    page.get_by_role("button", name="Check now").click()
    page.wait_for_selector(".s-advice", timeout=60_000)
    page.wait_for_selector("text=Looking at every picture", state="hidden", timeout=60_000)


def look_closely(page: Page) -> None:
    """Open the newest preview beside the first one."""
    page.locator(".r-cell").first.click()
    page.get_by_role("button", name="Side by side").click()


def to_pictures(page: Page) -> None:
    """Scroll down to the pictures of a comparison."""
    page.locator(".r-wall").scroll_into_view_if_needed()
    page.mouse.wheel(0, 420)


def draw(page: Page) -> None:
    """Draw with and without a LoRA, then a grid."""
    page.get_by_role("textbox", name="Prompt").fill("a noto emoji of fox")
    page.get_by_role("spinbutton", name="Pictures").fill("2")
    page.locator(".p-draw-button").click()
    page.wait_for_selector(".p-split", timeout=60_000)
    page.get_by_role("switch", name="Grid").click()
    page.get_by_label("Values, between commas").fill("0, 0.5, 1, 1.5")
    page.locator(".p-draw-button").click()
    page.wait_for_function("document.querySelectorAll('.p-grid img').length === 12", timeout=60_000)
    page.locator(".p-form").evaluate("form => form.scrollTo(0, 0)")


def enlarge(page: Page) -> None:
    """Open a pair at full size."""
    page.get_by_role("button", name="Enlarge").first.click()


SCREENS = (
    Screen("dashboard", "/"),
    Screen("dashboard_dark", "/", dark=True),
    Screen("dashboard_phone", "/", PHONE),
    Screen("newjob", "/new?preset=tiny_demo&dataset=foxy_style", ready=".s-plan-inside"),
    Screen("newjob_dark", "/new?preset=tiny_demo&dataset=foxy_style", dark=True, ready=".s-plan-inside"),
    Screen("newjob_phone", "/new?preset=tiny_demo&dataset=foxy_style", PHONE),
    Screen("queue", "/queue"),
    Screen("runs", "/runs"),
    Screen("run", "/runs/foxy_style", ready=".r-chart-canvas canvas"),
    Screen("run_dark", "/runs/foxy_now", dark=True, ready=".r-chart-canvas canvas"),
    Screen("run_phone", "/runs/foxy_now", PHONE, ready=".r-chart-canvas canvas"),
    Screen("run_findings", "/runs/foxy_hot", (1280, 1340), ready=".r-chart-canvas canvas"),
    Screen("run_ranking", "/runs/foxy_style?tab=checkpoints", ready=".r-ranking-chosen"),
    Screen("run_previews", "/runs/foxy_style?tab=previews", ready=".r-cell img"),
    Screen("run_viewer", "/runs/foxy_style?tab=previews", ready=".r-cell img", act=look_closely),
    Screen("compare", "/compare?runs=foxy_style,foxy_rank_4", ready=".r-cell img"),
    Screen("compare_dark", "/compare?runs=foxy_style,foxy_rank_4", dark=True, ready=".r-cell img", act=to_pictures),
    Screen("playground", "/playground?run=fox_emoji", act=draw),
    Screen("playground_dark", "/playground?run=fox_emoji", dark=True),
    Screen("playground_phone", "/playground?run=fox_emoji", PHONE),
    Screen("playground_viewer", "/playground?run=fox_emoji", act=enlarge),
    Screen("datasets", "/datasets"),
    Screen("datasets_one", "/datasets/foxy_style"),
    Screen("datasets_one_dark", "/datasets/foxy_style", dark=True),
    Screen("datasets_one_phone", "/datasets/foxy_style", PHONE),
    Screen("datasets_editor", "/datasets/foxy_style", act=open_first),
    Screen("datasets_check", "/datasets/robot_character", act=check),
    Screen("settings", "/settings"),
)


def example_run(runs: Path) -> None:
    """A run whose LoRAs are one that shows: the tiny family's training adapter."""
    run = make_run(runs, "fox_emoji", prompts=("a [trigger] emoji of fox",))
    for path in [run.lora, *run.checkpoints.glob("*.safetensors")]:
        shutil.copy(ADAPTER, path)


def rank(run: Path) -> None:
    """Rank a run's checkpoints on a few prompts."""
    command = [sys.executable, "-m", "slipstream.cli.app", "rank", str(run), "--prompts", "4"]
    subprocess.run(command, capture_output=True, check=True)


def take(browser: Browser, served: Served, screen: Screen) -> bytes:
    """A page as WebP."""
    width, height = screen.size
    context = browser.new_context(
        base_url=served.address, viewport={"width": width, "height": height}, locale="en-US",
        color_scheme="dark" if screen.dark else "light",
    )  # fmt: skip
    page = context.new_page()
    page.goto(screen.path)
    page.wait_for_selector(screen.ready)
    page.wait_for_timeout(_SETTLED_MS)
    if screen.act is not None:
        screen.act(page)
        page.wait_for_timeout(_SETTLED_MS)
    picture = Image.open(io.BytesIO(page.screenshot()))
    context.close()
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=_QUALITY, method=6)
    return buffer.getvalue()


def chosen(names: list[str]) -> Iterator[Screen]:
    """The screens of these names, all where none is given."""
    yield from (screen for screen in SCREENS if not names or screen.name.partition("_")[0] in names)


def main(names: list[str]) -> None:
    """Take the pictures."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as base, serving(Path(base)) as served, sync_playwright() as playwright:
        for name in ("foxy_style", "robot_character"):
            shutil.copytree(EXAMPLES / name, served.datasets / name)
        example_run(served.runs)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with something_going_on(served.runs, served.home):
            if not names or "run" in names:
                rank(served.runs / "foxy_style")
            for screen in chosen(names):
                (TARGET / f"{screen.name}.webp").write_bytes(take(browser, served, screen))
    total = sum(path.stat().st_size for path in TARGET.glob("*.webp"))
    print(f"{len(list(TARGET.glob('*.webp')))} pictures, {total / 1e6:.2f} MB in {TARGET}")
    assert total < _MOST_BYTES, "the set is too large for the checkout"


if __name__ == "__main__":
    main(sys.argv[1:])
