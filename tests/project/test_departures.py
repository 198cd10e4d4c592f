"""The departures board does what its README says: its data, its day, its page in a real browser."""

import asyncio
import importlib
import re
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.flows.test_cli import CRUDITE, PATIENCE, serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "departures"
ON_TIME = re.compile("gate boarding departed on_board")
DELAYED = re.compile("gate( delayed)+ boarding departed on_board")
CANCELLED = re.compile("gate cancelled on_board")


# What became known of each flight, and when.


@pytest.fixture(scope="module")
def replay() -> Iterator[Any]:
    """The module replay.py, which imports its neighbours by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        yield importlib.import_module("replay")
        for name in ("replay", "timeline", "wire"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def day(replay: Any) -> Any:
    """All steps of the three days."""
    return replay.Day(replay.outcomes())


def test_every_flight_has_its_story_in_order(replay: Any) -> None:
    kinds: Counter[re.Pattern[str] | None] = Counter()
    for outcome in replay.outcomes():
        steps = list(importlib.import_module("timeline").steps(outcome))
        assert all(earlier.at < later.at for earlier, later in pairwise(steps)), outcome
        told = " ".join(step.data.get("status") or next(iter(step.data)) for step in steps)
        kinds[next((kind for kind in (ON_TIME, DELAYED, CANCELLED) if kind.fullmatch(told)), None)] += 1
        expected = [step.data["expected"] for step in steps if "expected" in step.data]
        assert expected == sorted(expected), outcome
    assert kinds == {ON_TIME: 1719, DELAYED: 1089, CANCELLED: 204}


def test_at_the_end_every_flight_has_left_or_is_cancelled_and_none_is_on_the_board(day: Any) -> None:
    known = day.at(day.end).values()
    assert Counter(flight["status"] for flight in known) == {"departed": 2808, "cancelled": 204}
    assert Counter(flight["departed"] is None for flight in known) == {False: 2808, True: 204}
    assert not any(flight["on_board"] for flight in known)


def test_a_flight_is_known_as_it_was_told_by_then(replay: Any, day: Any) -> None:
    # The first flight of the day left at 04:59, a minute before its time.
    def known(time: str) -> tuple[Any, ...]:
        flight = day.at(datetime.fromisoformat(f"2013-07-10T{time}-04:00"))["2013-07-10-US-1431"]
        return flight["gate"] != "", flight["status"], flight["departed"], flight["on_board"]

    assert known("03:44") == (False, "scheduled", None, True)
    assert known("03:45") == (True, "scheduled", None, True)
    assert known("04:34") == (True, "boarding", None, True)
    assert known("04:59") == (True, "departed", "2013-07-10T08:59:00.000000Z", True)
    assert known("05:04") == (True, "departed", "2013-07-10T08:59:00.000000Z", False)


@settings(max_examples=20)
@given(cuts=st.lists(st.floats(0, 1), max_size=12).map(sorted))
def test_playing_the_day_in_any_steps_leads_to_what_is_known_at_its_end(
    replay: Any, day: Any, cuts: list[float]
) -> None:
    first = replay.START.replace(hour=0)
    times = [first, *(first + (day.end - first) * cut for cut in cuts), day.end]
    flights = day.at(first)
    for after, until in pairwise(times):
        for id, data in replay.merged(day.between(after, until), ()).items():
            flights[id] |= data
    assert flights == day.at(day.end)


@settings(max_examples=10)
@given(cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_going_to_any_other_time_makes_every_flight_what_it_was_then(
    replay: Any, day: Any, cuts: tuple[float, float]
) -> None:
    now, then = (replay.START + (day.end - replay.START) * cut for cut in cuts)
    flights = day.at(now)
    writes = replay.differing([{"id": id, **flight} for id, flight in flights.items()], day.at(then))
    assert {id: flight | writes.get(id, {}) for id, flight in flights.items()} == day.at(then)


# The data, the server and the page.


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the example's data, imported by the command line."""
    path = tmp_path_factory.mktemp("departures") / "departures.db"
    for name, resource, key, rows in (
        ("airlines", "Airline", "code", "15"),
        ("airports", "Airport", "code", "86"),
        ("flights", "Flight", "id", "3,012"),
    ):
        file = EXAMPLE / "data" / f"{name}.csv"
        done = subprocess.run(
            [CRUDITE, "import", file, "--app", EXAMPLE / "app.py", "--store", path, "--to", resource,
             "--key", key],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.stdout.startswith(f"{rows} rows imported into {resource}"), done.stderr
        assert "not imported" not in done.stdout
        assert done.stderr == ""
        assert done.returncode == 0
    return path


@pytest.fixture(scope="module")
async def url(database: Path, chromium: str) -> AsyncIterator[str]:
    """Where the board is served. No replay runs, so that nothing moves but what a test moves."""
    async with serving(EXAMPLE, "run", "app.py", "--store", str(database)) as running:
        yield running.url


def numbers(page: Page) -> Locator:
    """The numbers of the flights on the board, in order."""
    return page.locator("#rows > tr:not(.leaving) > td.flight")


async def open_board(page: Page, url: str) -> list[str]:
    """Opens the board and waits for its rows; the list fills with whatever the page complains about or asks
    of another host."""
    complaints: list[str] = []

    def check(request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(url).netloc:
            complaints.append(request.url)

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text))
    page.on("request", check)
    page.on("websocket", check)
    await page.goto(url)
    await expect(numbers(page)).to_have_count(12, timeout=PATIENCE * 1000)
    await expect(page.locator("#state")).to_have_text("Live")
    return complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_is_complete_without_another_host_or_sideways_scroll(
    browser: Browser, url: str, scheme: Any
) -> None:
    async with await browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740}) as context:
        page = await context.new_page()
        complaints = await open_board(page, url)
        await expect(numbers(page).nth(3)).to_have_text("AA 701")
        await expect(page.locator("#tabs")).to_contain_text("3,012")
        for name in ("Edit flight AA 701 to Miami", "Messages"):
            await page.get_by_role("button", name=name).click()
        await expect(page.locator("form[aria-label='Flight AA 701']")).to_be_visible()
        await expect(page.locator("#frames-list > li").first).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        red, green, blue = await page.evaluate(
            r"getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).map(Number)"
        )
        assert (red + green + blue > 3 * 128) == (scheme == "light")
        assert complaints == []


async def test_a_row_edited_in_one_window_changes_and_moves_in_the_other(
    browser_context: BrowserContext, url: str
) -> None:
    ours, theirs = await browser_context.new_page(), await browser_context.new_page()
    complaints = await open_board(ours, url) + await open_board(theirs, url)
    await expect(numbers(theirs).nth(0)).to_have_text("US 1431")
    await ours.get_by_role("button", name="Edit flight US 1431 to Charlotte").click()
    await ours.get_by_label("Status").select_option("Delayed")
    await ours.get_by_label("Leaves at").fill("05:38")
    await ours.get_by_label("Gate", exact=True).fill("A7")
    await ours.get_by_label("Remark").fill("Crew on its way")
    await ours.get_by_role("button", name="Save").click()
    for page in (ours, theirs):
        for place, number in enumerate(["UA 1258", "UA 1591", "US 1431", "AA 701"]):
            await expect(numbers(page).nth(place)).to_have_text(number)
        row = page.locator("#rows > tr:not(.leaving)").nth(2)
        for text in ("05:38", "05:00", "Delayed", "+38 min", "A7", "Crew on its way"):
            await expect(row).to_contain_text(text)
    await expect(theirs.locator("#tabs").get_by_role("button", name="Delayed")).to_contain_text("1")
    assert complaints == []


async def test_the_panel_shows_what_the_server_sends(page: Page, url: str) -> None:
    await page.set_viewport_size({"width": 1280, "height": 800})
    await open_board(page, url)
    entries = page.locator("#frames-list summary b")
    for name in ("answer", "snapshot", "ready"):
        await expect(entries.get_by_text(name, exact=True).first).to_be_visible()
    await page.get_by_role("button", name="Edit flight UA 1591 to Houston").click()
    await page.get_by_label("Remark").fill("Last call")
    await page.get_by_role("button", name="Save").click()
    frame = page.locator("#frames-list li").filter(has=page.locator("[data-method=frame]")).first
    await expect(frame).to_contain_text("1 changed")
    await frame.locator("summary").click()
    await expect(frame.locator("pre")).to_contain_text('"remark": "Last call"')


async def test_the_panel_tells_how_the_list_is_served_and_how_many_pages_share_it(
    browser_context: BrowserContext, url: str
) -> None:
    page = await browser_context.new_page()
    await page.set_viewport_size({"width": 1280, "height": 800})
    complaints = await open_board(page, url)
    served = page.locator("#served")
    await expect(served).to_contain_text("window It has a limit")
    await expect(served).to_contain_text("Found byon_board")
    await expect(served).to_contain_text("Shared by1 page")
    other = await browser_context.new_page()
    await open_board(other, url)
    await page.bring_to_front()
    await expect(served).to_contain_text("Shared by2 pages")
    await page.get_by_role("button", name="EWR").click()
    await expect(served).to_contain_text("Shared by1 page")
    await expect(served).to_contain_text("Found byorigin")
    await expect(served.locator("dd").nth(2)).to_have_text(re.compile(r"\d+/s"))
    assert complaints == []


async def test_the_replay_moves_the_clock_and_any_window_stops_it(page: Page, url: str) -> None:
    socket = url.replace("http", "ws") + "/ws"
    replaying = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE / "replay.py"), socket, stdout=PIPE, stderr=STDOUT
    )
    try:
        await open_board(page, url)
        started = re.compile("04:[45].|0[5-9]:..")
        await expect(page.locator("#clock")).to_have_text(started, timeout=PATIENCE * 1000)
        await expect(page.locator("#rows td.gate").first).to_have_text(re.compile(r"[ABD]\d+"))
        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("button", name="Play")).to_be_visible()
    finally:
        replaying.terminate()
        said, _ = await asyncio.wait_for(replaying.communicate(), PATIENCE)
    assert said == b""
