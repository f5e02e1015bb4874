"""Clients of the studio: of its app in this process, of a served one, and a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient
from served import CHROMIUM, Served, serving

from slipstream.web.app import make_app
from slipstream.web.settings import StudioSettings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def settings(tmp_path: Path) -> StudioSettings:
    """A studio on this machine without a token, in folders of the test's own."""
    for name in ("runs", "datasets"):
        (tmp_path / name).mkdir()
    return StudioSettings(home=tmp_path / "home", runs_dir=tmp_path / "runs", datasets_dir=tmp_path / "datasets")


@pytest.fixture
def client(settings: StudioSettings) -> Iterator[TestClient]:
    """The API of that studio, without pages."""
    with TestClient(make_app(settings, pages=False), base_url="http://localhost") as found:
        yield found


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A served studio for all tests that need pages; its runs and datasets are shared, and no job of its queue is
    started."""
    with serving(tmp_path_factory.mktemp("studio"), "--no-supervise") as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Skipped only where there is none and CI did not promise one."""
    if CHROMIUM is None:
        if os.environ.get("SLIPSTREAM_NEEDS_CHROMIUM"):
            pytest.fail("chromium is missing, and SLIPSTREAM_NEEDS_CHROMIUM says that it was installed")
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, studio: Served) -> Iterator[Page]:
    """A fresh tab whose addresses start at the served studio; the test fails where the page reports an error."""
    context = browser.new_context(base_url=studio.address, viewport={"width": 1280, "height": 800}, locale="en-US")
    tab = context.new_page()
    tab.set_default_timeout(10_000)
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield tab
    context.close()
    assert errors == []
