"""The tutorial does what it says: its files are written, its commands run, its answers compared."""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterator
from pathlib import Path

from playwright.async_api import Page, expect

from tests.services import missing

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-steps.md"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
VARYING = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "<uuid>",
    r'"version":\d+': '"version":<n>',
    r"\d{4}-\d\d-\d\dT[\d:.]+Z": "<time>",
    r'"request_id":"[0-9a-f]+"': '"request_id":"<id>"',
    r"in [\d.]+ s \([\d,]+ rows/s\)": "in <s>",
}
PATIENCE = 60


def steps() -> Iterator[tuple[str, str, str]]:
    """The blocks of the page: kind, title, content."""
    yield from FENCE.findall(PAGE.read_text("utf-8"))


def steady(text: str) -> str:
    """The text without what is different each time."""
    for pattern, word in VARYING.items():
        text = re.sub(pattern, word, text)
    return text.strip()


async def test_the_first_steps_lead_where_the_page_says(tmp_path: Path, page: Page) -> None:
    if shutil.which("curl") is None:
        missing("curl", "the system's package manager")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRUDITE_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    server: asyncio.subprocess.Process | None = None
    url, said, compared = "", "", 0
    try:
        for kind, title, content in steps():
            if title:
                (tmp_path / title).parent.mkdir(exist_ok=True)
                (tmp_path / title).write_text(content, "utf-8")
                if title == "todo.py" and server is not None:
                    await heard(server, "Restarted")
            elif kind == "sh" and content.startswith("crudite dev"):
                server = await asyncio.create_subprocess_exec(
                    *content.split(), "--port", "0", cwd=tmp_path, env=environment, stdout=PIPE, stderr=STDOUT
                )
                found = re.search(r"http://\S+", await heard(server, "http://"))
                assert found is not None
                url = found.group()
                await heard(server, "Ctrl-C")
            elif kind == "sh" and "/subscribe" in content:
                said = await first_event(content.replace("http://127.0.0.1:8000", url), environment)
                assert "event: added" in said
            elif kind == "sh" and not content.startswith("pip"):
                said = await shell(content.replace("http://127.0.0.1:8000", url), tmp_path, environment)
            elif kind in ("json", "text"):
                assert steady(said) == steady(content)
                compared += 1
        await page.goto(url)
        await expect(page.get_by_role("listitem")).to_have_text(["Water the plants", "Buy a ticket", "Pack"])
        await page.get_by_label("A new todo").fill("Sleep")
        await page.get_by_role("button").click()
        await page.get_by_text("Pack").click()
        await expect(page.get_by_role("listitem")).to_have_text(["Water the plants", "Buy a ticket", "Sleep"])
    finally:
        if server is not None:
            server.terminate()
            await server.communicate()
    assert compared == 4


async def heard(process: asyncio.subprocess.Process, word: str) -> str:
    """The next line that holds a word."""
    assert process.stdout is not None
    while True:
        line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
        assert line, f"it ended without saying {word}"
        if word in line:
            return line


async def shell(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command says, in all."""
    process = await asyncio.create_subprocess_shell(command, cwd=folder, env=environment, stdout=PIPE, stderr=STDOUT)
    said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    return said.decode()


async def first_event(command: str, environment: dict[str, str]) -> str:
    """What a stream says until it is ready."""
    process = await asyncio.create_subprocess_exec(*command.split(), env=environment, stdout=PIPE)
    assert process.stdout is not None
    try:
        return (await asyncio.wait_for(process.stdout.readuntil(b"event: ready"), PATIENCE)).decode()
    finally:
        process.kill()
        await process.communicate()
