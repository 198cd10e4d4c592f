"""A real browser: one Chromium for each process of the run, a fresh page for each test."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.services import BIN, missing, started

# No sandbox, because containers and root cannot have one; the rest keeps the browser from calling home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium executable that runs headless."""
    if not (BIN / "chromium").exists():
        missing("chromium", "make .tools/bin/chromium")
    return str(BIN / "chromium")


@pytest.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A running browser without pages, from playwright's asyncio interface; shared by all tests of a process."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        started("Chromium", browser.version)
        yield browser
        await browser.close()


@pytest.fixture
async def browser_context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A profile of its own: its pages share cookies and storage with each other, and with no other test."""
    context = await browser.new_context()
    yield context
    await context.close()


@pytest.fixture
async def page(browser_context: BrowserContext) -> Page:
    """An empty page in a profile of its own."""
    return await browser_context.new_page()
