"""The browser client in a real browser, against a real server that is also killed, drained and restarted."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.services import missing
from tests.services.http import client_at
from tests.services.postgresql import free_port

PATIENCE = 30.0
SITE = Path(__file__).parent / "site"


class Server:
    """An application in a process of its own, always at the same port and the same database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "board.db"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: Process | None = None

    async def start(self) -> None:
        """Starts it and waits until it listens."""
        assert self._process is None
        self._process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("crudite")), "run", str(SITE / "board.py"),
            "--port", str(self.port), "--store", str(self.database),
            cwd=self.folder, stdout=PIPE, stderr=STDOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("CRUDITE_")},
        )  # fmt: skip
        assert self._process.stdout is not None
        said: list[str] = []
        while not said or self.url not in said[-1]:
            said.append((await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)).decode())
            assert said[-1], "it ended, having said:\n" + "".join(said)

    async def end(self, number: signal.Signals) -> None:
        """Sends a signal and waits for the end."""
        if self._process is not None:
            self._process.send_signal(number)
            await asyncio.wait_for(self._process.communicate(), PATIENCE)
            self._process = None

    async def seed(self, **ranks: int) -> None:
        """Creates one task for each name."""
        async with client_at(self.url) as client:
            tasks = [{"title": title, "rank": rank} for title, rank in ranks.items()]
            assert (await client.post("/tasks", json=tasks)).status_code == 201

    async def gate(self, *, open: bool) -> None:
        """Lets writes through, or holds them back before they are performed."""
        async with client_at(self.url) as client:
            assert (await client.post("/gate", json={"open": open})).status_code == 200

    def write_beside(self, *statements: str) -> None:
        """Writes with the sqlite3 command line, which knows nothing of us."""
        program = shutil.which("sqlite3")
        if program is None:
            missing("sqlite3", "the system's package manager")
        subprocess.run(
            [program, "-bail", "-cmd", ".timeout 5000", str(self.database), *statements],
            check=True,
            timeout=PATIENCE,
        )


class Board:
    """One page of the site: what it shows, what it was told, what it complained about."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.all = page.locator("#all li")
        self.highest = page.locator("#highest li")
        self.state = page.locator("#state")
        self.count = page.locator("#count")
        self.refused = page.locator("#refused")
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)

    async def open(self) -> "Board":
        """Opens the page and waits until its three live queries are complete."""
        await self.page.goto(self.url)
        await expect(self.page.locator("[data-live=live]")).to_have_count(3, timeout=PATIENCE * 1000)
        return self

    def task(self, title: str) -> Locator:
        """The row of one task in the list of all."""
        return self.page.locator(f"#all li[data-title='{title}']")

    async def rank(self, title: str, rank: int) -> None:
        """Types another rank into a row, as a person would."""
        field = self.task(title).get_by_role("spinbutton")
        await field.fill(str(rank))
        await field.press("Enter")

    async def create(self, title: str, rank: int) -> None:
        """Fills in the form for a new task and sends it."""
        await self.page.get_by_label("Title").fill(title)
        await self.page.get_by_label("Rank", exact=True).fill(str(rank))
        await self.page.get_by_role("button", name="Create").click()

    async def shown(self) -> list[str]:
        """Every list of all tasks that the page was given so far, as one text each; a task that is not
        confirmed has a question mark."""
        shown: list[str] = await self.page.evaluate("window.shown")
        return shown

    async def heard(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the notifications of one kind since the page was opened."""
        script = "method => window.heard.filter(one => one.method === method).map(one => one.params)"
        heard: list[dict[str, Any]] = await self.page.evaluate(script, method)
        return heard

    async def resumed(self) -> list[bool]:
        """Whether the list of all tasks went on from what it held, for each time it was subscribed to."""
        results = await self.page.evaluate("window.heard.flatMap(({result}) => result?.sort ? [result] : [])")
        by_rank = {"field": "rank", "descending": False, "type": "integer"}
        return [result["resumed"] for result in results if by_rank in result["sort"]]


@pytest.fixture
async def server(chromium: str, tmp_path: Path) -> AsyncIterator[Server]:
    """A running server with an empty database."""
    server = Server(tmp_path)
    await server.start()
    yield server
    await server.end(signal.SIGKILL)


@pytest.fixture
async def board(server: Server, page: Page) -> Board:
    """A page of it, not opened yet."""
    return Board(page, server.url)


async def test_a_row_edited_in_one_page_moves_to_its_new_place_in_the_other(
    server: Server, browser_context: BrowserContext
) -> None:
    await server.seed(Apple=1, Bread=2, Cheese=3)
    ours = await Board(await browser_context.new_page(), server.url).open()
    theirs = await Board(await browser_context.new_page(), server.url).open()
    await expect(theirs.all).to_have_text(["Apple", "Bread", "Cheese"])
    await ours.rank("Apple", 9)
    await expect(theirs.all).to_have_text(["Bread", "Cheese", "Apple"])
    await expect(theirs.task("Apple").get_by_role("spinbutton")).to_have_value("9")
    await theirs.rank("Cheese", 0)
    await expect(ours.all).to_have_text(["Cheese", "Bread", "Apple"])
    assert ours.complaints + theirs.complaints == []


async def test_a_window_keeps_its_size_and_a_number_follows(server: Server, board: Board) -> None:
    await server.seed(Apple=1, Bread=2, Cheese=3)
    await board.open()
    await expect(board.highest).to_have_text(["Cheese", "Bread"])
    await expect(board.count).to_have_text("3")
    await board.create("Dates", 4)
    await expect(board.highest).to_have_text(["Dates", "Cheese"])
    await expect(board.count).to_have_text("4")
    await board.page.get_by_role("button", name="Remove Cheese").click()
    await expect(board.highest).to_have_text(["Dates", "Bread"])
    await expect(board.count).to_have_text("3")
    await board.rank("Apple", 9)
    await expect(board.highest).to_have_text(["Apple", "Dates"])


async def test_a_create_is_shown_before_the_answer_and_stays_when_it_is_confirmed(server: Server, board: Board) -> None:
    await server.seed(Apple=1, Cheese=3)
    await board.open()
    await server.gate(open=False)
    await board.create("Bread", 2)
    await expect(board.all).to_have_text(["Apple", "Bread", "Cheese"])
    await expect(board.task("Bread")).to_have_attribute("data-state", "guessed")
    await expect(board.count).to_have_text("2")
    await server.gate(open=True)
    await expect(board.task("Bread")).to_have_attribute("data-state", "confirmed")
    await expect(board.count).to_have_text("3")
    assert await board.shown() == ["Apple Cheese", "Apple Bread? Cheese", "Apple Bread Cheese"]


async def test_a_refused_write_is_taken_back_and_says_why(server: Server, board: Board) -> None:
    await server.seed(Apple=1, Bread=2)
    await board.open()
    await server.gate(open=False)
    await board.rank("Bread", -1)
    await expect(board.all).to_have_text(["Bread", "Apple"])
    await expect(board.refused).to_be_empty()
    await server.gate(open=True)
    await expect(board.all).to_have_text(["Apple", "Bread"])
    await expect(board.refused).to_have_text("invalid /rank greater_than_equal")


async def test_a_page_loses_nothing_when_its_server_is_killed(server: Server, board: Board) -> None:
    await server.seed(Apple=1, Bread=2, Cheese=3)
    await board.open()
    await server.end(signal.SIGKILL)
    await expect(board.state).not_to_have_text("open")
    await expect(board.all).to_have_text(["Apple", "Bread", "Cheese"])
    server.write_beside(
        "INSERT INTO tasks (title, rank) VALUES ('Dates', 4)",
        "UPDATE tasks SET rank = 9 WHERE title = 'Apple'",
        "DELETE FROM tasks WHERE title = 'Bread'",
    )
    await server.start()
    await expect(board.all).to_have_text(["Cheese", "Dates", "Apple"], timeout=PATIENCE * 1000)
    await expect(board.highest).to_have_text(["Apple", "Dates"])
    await expect(board.count).to_have_text("3")
    await expect(board.page.locator("[data-live=live]")).to_have_count(3)
    assert await board.shown() == ["Apple Bread Cheese", "Cheese Dates Apple"]
    assert await board.resumed() == [False, True]
    await board.rank("Dates", 0)
    server.write_beside("UPDATE tasks SET rank = 1 WHERE title = 'Apple'")
    await expect(board.all).to_have_text(["Dates", "Apple", "Cheese"])


async def test_a_page_comes_back_when_its_server_said_goodbye(server: Server, board: Board) -> None:
    await server.seed(Apple=1, Bread=2)
    await board.open()
    await server.end(signal.SIGTERM)
    await expect(board.state).not_to_have_text("open")
    [bye] = await board.heard("bye")
    assert 500 <= bye["retry_in"] <= 2_000
    server.write_beside("DELETE FROM tasks WHERE title = 'Apple'")
    await board.rank("Bread", 7)
    await expect(board.task("Bread").get_by_role("spinbutton")).to_have_value("7")
    await server.start()
    await expect(board.all).to_have_text(["Bread"], timeout=PATIENCE * 1000)
    assert await board.resumed() == [False, True]
    async with client_at(server.url) as client:
        await expect(board.state).to_have_text("open")
        await asyncio.wait_for(_until_ranked(client, [7]), PATIENCE)


async def test_all_works_under_the_strict_policy_of_the_served_files(server: Server, board: Board) -> None:
    await board.page.add_init_script(
        "addEventListener('securitypolicyviolation', event => console.error(event.violatedDirective))"
    )
    async with board.page.expect_response(server.url + "/") as answered:
        await board.open()
    policy = (await (await answered.value).all_headers())["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    await board.create("Apple", 1)
    await expect(board.task("Apple")).to_have_attribute("data-state", "confirmed")
    assert board.complaints == []
    async with board.page.expect_console_message(lambda said: said.text == "script-src-elem"):
        await board.page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'broken = 1'}))"
        )
    assert await board.page.evaluate("'broken' in window") is False


async def _until_ranked(client: httpx2.AsyncClient, ranks: list[int]) -> None:
    while [task["rank"] for task in (await client.get("/tasks")).json()] != ranks:
        pass
