"""Debian's Chromium, driven by Playwright: one browser for all tests of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
#: No sandbox (containers have none), no network of its own, WebGL drawn by software.
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
#: Seconds that a page may take on a busy machine.
PATIENCE_S = 180
expect.set_options(timeout=PATIENCE_S * 1000)  # which a context's own time-out doesn't hold for

Colours = Literal["light", "dark"]
NewPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    found = _playwright().chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
    yield found
    found.close()


@cache
def _playwright() -> Playwright:
    """One per process: each folder of tests has a fixture of its own, and a second loop is refused."""
    return sync_playwright().start()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Make pages: ``new_page(width=1280, height=800, colours="light", offline=False, **context)``.

    Each has a context of its own, closed after the test.
    """
    contexts = []

    def make(
        width: int = 1280, height: int = 800, colours: Colours = "light", **options: Any
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=colours, **options
        )
        context.set_default_timeout(PATIENCE_S * 1000)
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()
