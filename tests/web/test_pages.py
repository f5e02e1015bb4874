"""Every page in a real browser: it opens, names itself, marks itself in the navigation, and reports no error."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect
from served import Served

PATHS = {
    "Dashboard": "/",
    "New job": "/new",
    "Datasets": "/datasets",
    "Queue": "/queue",
    "Runs": "/runs",
    "Compare": "/compare",
    "Playground": "/playground",
    "Settings": "/settings",
}


@pytest.mark.parametrize("name", PATHS)
def test_a_page_opens_and_the_navigation_marks_it(page: Page, name: str):
    page.goto(PATHS[name])
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page).to_have_title(f"{name} · Slipstream")
    expect(page.get_by_role("navigation").locator("[aria-current=page]")).to_have_text(re.compile(f"{name}$"))


def test_the_navigation_is_a_drawer_on_a_phone_and_reachable_by_keyboard(page: Page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/")
    link = page.get_by_role("link", name="Settings")
    expect(link).not_to_be_in_viewport()
    menu = page.get_by_role("button", name="Open or close the menu")
    menu.focus()
    page.keyboard.press("Enter")
    expect(link).to_be_in_viewport()
    link.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the phone"


def test_language_and_theme_are_kept(page: Page, studio: Served):
    page.goto("/settings")
    page.get_by_label("Language").click()
    page.get_by_role("option", name="Español").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ajustes")
    page.get_by_label("Tema").click()
    page.get_by_role("option", name="Oscuro").click()
    expect(page.locator("body")).to_have_class(re.compile("body--dark"))
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Panel")
    back = page.request.patch("/api/settings", data={"language": "auto", "theme": "auto"})
    assert back.ok


def test_starting_and_the_first_page_take_two_seconds_of_a_core(studio: Served):
    # the time of a core, not of a clock: other tests may be at work; docs/studio.md has seconds of a quiet machine
    assert studio.core_seconds_to_start < 2.5


def test_the_first_key_leads_past_the_navigation_and_shows_it_only_then(page: Page):
    page.goto("/settings")
    way = page.get_by_role("link", name="Skip to the content")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(way).not_to_be_in_viewport()
    page.keyboard.press("Tab")
    expect(way).to_be_focused()
    expect(way).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_an_address_without_a_page_says_so_in_the_studio_and_leads_on(browser: Browser, studio: Served):
    context = browser.new_context(base_url=studio.address, locale="es-ES")
    page = context.new_page()
    answer = page.goto("/no/such/page")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("No existe esa página")
    expect(page.get_by_text("HTTPException")).to_have_count(0)
    page.get_by_role("button", name="Panel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Panel")
    context.close()
