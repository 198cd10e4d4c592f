"""The browser client at the door of a server to which too many come at the same time."""

from pathlib import Path

from playwright.async_api import BrowserContext, expect

from tests.flows.test_cli import PATIENCE, serving
from tests.services.http import client_at

SITE = Path(__file__).parent / "site"


async def test_a_page_that_is_sent_away_comes_back_as_it_was_told_and_is_live(
    browser_context: BrowserContext, tmp_path: Path
) -> None:
    async with serving(SITE, "run", "crowded.py", "--store", str(tmp_path / "board.db")) as server:
        first, second = await browser_context.new_page(), await browser_context.new_page()
        await first.goto(server.url)
        await expect(first.locator("#count")).to_have_text("0", timeout=PATIENCE * 1000)
        await second.goto(server.url)
        await expect(second.locator("#state")).to_have_text("waiting")
        told = await second.evaluate("heard.find(({ method }) => method === 'bye').params.retry_in")
        assert 1000 <= told <= 2000
        assert await second.locator("#count").text_content() == ""
        async with client_at(server.url) as client:
            assert (await client.post("/pass-time", json={})).status_code == 200
        await expect(second.locator("#count")).to_have_text("0", timeout=PATIENCE * 1000)
        await expect(second.locator("#state")).to_have_text("open")
