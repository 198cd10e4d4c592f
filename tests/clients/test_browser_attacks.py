"""Attacks of foreign pages in a real browser, with the cookies that it really sends.

The attacker's page is of another port of the same host: another origin, and yet the same site, so that cookies with
`SameSite=Lax` go along. What is refused here is refused by us, and not by the browser's rules for cookies.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from crudite import App, Sessions, Tickets
from tests.flows.people import ANN, QUICK, Account, Note
from tests.services.runner import running

CALL = """async ([url, options]) => {
  try {
    const answer = await fetch(url, options)
    return { status: answer.status, text: await answer.text() }
  } catch (error) { return { status: 0, text: String(error) } }
}"""
CONNECT = """(url) => new Promise((resolve) => {
  const socket = new WebSocket(url, ["crudite.v1"])
  socket.onopen = () => socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "session", params: {} }))
  socket.onmessage = ({ data }) => resolve(JSON.parse(data).result?.data ?? null)
  socket.onclose = ({ code }) => resolve(code)
})"""
LISTEN = """([url, withCredentials]) => new Promise((resolve) => {
  const source = new EventSource(url, { withCredentials })
  const end = (what) => { source.close(); resolve(what) }
  source.addEventListener("ready", () => end("ready"))
  source.onerror = () => end("error")
})"""
FRAME = """(url) => new Promise((resolve) => {
  const frame = document.createElement("iframe")
  frame.onload = () => {
    try { resolve(frame.contentDocument === null ? "refused" : "blank") } catch { resolve("refused") }
  }
  frame.src = url
  document.body.append(frame)
})"""
UNTYPED = """(url) => {
  const body = new Blob(['{"title":"x"}'])
  return fetch(url, { method: "POST", mode: "no-cors", credentials: "include", body }).then(() => null)
}"""
WRITTEN = """() => {
  const script = document.createElement("script")
  script.textContent = "window.taken = 1"
  document.body.append(script)
  document.body.insertAdjacentHTML("beforeend", '<img src=x onerror="window.taken = 1">')
}"""
FORM = """([url, body]) => {
  const form = Object.assign(document.createElement("form"), { method: "post", action: url, enctype: "text/plain" })
  form.append(Object.assign(document.createElement("input"), { name: body.slice(0, -2), value: body.slice(-2) }))
  document.body.append(form)
  form.submit()
}"""


class Scene:
    """Ann is signed in at `home`; `page` is one of another origin in the same browser."""

    def __init__(self, home: str, page: Page, origin: str, app: App) -> None:
        self.home = home
        self.page = page
        self.origin = origin
        self.app = app

    async def call(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> dict[str, Any]:
        """What the foreign page gets for a request with cookies."""
        kind = {"content-type": "application/json"} if body is not None else {}
        options = {"method": method, "body": body, "headers": {**kind, **headers}, "credentials": "include"}
        answer: dict[str, Any] = await self.page.evaluate(CALL, [self.home + path, options])
        return answer

    async def notes(self) -> list[str]:
        """The titles of all notes."""
        return [note.title for note in await self.app.records.list(Note)]


@asynccontextmanager
async def scene(context: BrowserContext, *, is_listed: bool) -> AsyncIterator[Scene]:
    """A browser with Ann's page and the other one."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    other = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    auth = [Sessions(Account, hashing=QUICK, cookie="sid"), Tickets()]
    listed = [other] if is_listed else []
    app = App(Account, Note, store="sqlite:///:memory:", auth=auth, origins=listed)

    async with server, app, running(app, "ours") as port:
        await app.records.create(Account, **ANN)
        home = f"http://127.0.0.1:{port}"
        own = await context.new_page()
        await own.goto(f"{home}/docs/problems")
        signing = {"method": "POST", "body": '{"email":"ann@example.org","password":"correct horse"}'}
        headers = {"content-type": "application/json"}
        assert (await own.evaluate(CALL, [f"{home}/log-in", {**signing, "headers": headers}]))["status"] == 200
        page = await context.new_page()
        await page.goto(f"{other}/prizes")
        yield Scene(home, page, other, app)
        await own.close()
        await page.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An empty page, for every address."""
    with suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        page = b"<!doctype html><title>Prizes</title><body></body>"
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(
            page
        )
        writer.write(head + page)
        await writer.drain()
    writer.close()


async def test_a_foreign_page_does_nothing_in_the_name_of_who_is_signed_in(browser_context: BrowserContext) -> None:
    async with scene(browser_context, is_listed=False) as it:
        for path, method, body in (
            ("/notes", "POST", '{"title":"x"}'),
            ("/log-out", "POST", "{}"),
            ("/notes", "GET", None),
        ):
            assert (await it.call(path, method, body))["status"] == 0  # the browser asks us first, or shows nothing
        simple = {"method": "POST", "body": '{"title":"x"}', "mode": "no-cors", "credentials": "include"}
        await it.page.evaluate(CALL, [f"{it.home}/notes", simple])
        await it.page.evaluate(UNTYPED, f"{it.home}/notes")
        assert await it.notes() == []
        assert isinstance(await it.page.evaluate(CONNECT, it.home.replace("http", "ws") + "/ws"), int)
        assert await it.page.evaluate(LISTEN, [f"{it.home}/notes/subscribe", True]) == "error"
        await it.page.evaluate(FORM, [f"{it.home}/notes", '{"title":"x","y":"="}'])
        await it.page.wait_for_load_state()
        await it.page.wait_for_url(f"{it.home}/notes")
        assert "403" in await it.page.inner_text("body")
        assert await it.notes() == []


async def test_a_page_of_ours_is_in_nobodys_frame(browser_context: BrowserContext) -> None:
    async with scene(browser_context, is_listed=False) as it:
        for path in ("/docs", "/docs/problems"):
            assert await it.page.evaluate(FRAME, it.home + path) == "refused"
        said: list[str] = []
        it.page.on("console", lambda message: said.append(message.text))
        await it.page.evaluate(FRAME, f"{it.home}/docs/problems")
        assert any("frame" in line.lower() for line in said), said


async def test_a_listed_page_reads_writes_and_lives_with_cookies(browser_context: BrowserContext) -> None:
    async with scene(browser_context, is_listed=True) as it:
        made = await it.call("/notes", "POST", '{"title":"x"}', prefer="return=representation")
        assert made["status"] == 201
        assert await it.notes() == ["x"]
        path = await it.page.evaluate(
            "async (url) => (await fetch(url, {credentials: 'include', method: 'QUERY', body: '{}', "
            "headers: {'content-type': 'application/json'}})).headers.get('etag')",
            f"{it.home}/notes",
        )
        assert path  # a header that is shown
        assert (await it.page.evaluate(CONNECT, it.home.replace("http", "ws") + "/ws"))["account"]
        assert await it.page.evaluate(LISTEN, [f"{it.home}/notes/subscribe", True]) == "ready"


async def test_a_ticket_opens_what_cannot_send_headers_once(browser_context: BrowserContext) -> None:
    async with scene(browser_context, is_listed=True) as it:
        bearer = {"method": "POST", "headers": {"content-type": "application/json"}, "credentials": "omit"}
        body = '{"email":"ann@example.org","password":"correct horse","bearer":true}'
        text = (await it.page.evaluate(CALL, [f"{it.home}/log-in", {**bearer, "body": body}]))["text"]
        token = (
            await it.page.evaluate("JSON.parse", text) if False else text.partition('"token":"')[2].partition('"')[0]
        )
        assert token.startswith("crs_")
        shown = {**bearer["headers"], "authorization": f"Bearer {token}"}  # type: ignore[dict-item]

        async def ticket() -> str:
            asked = {**bearer, "headers": shown, "body": "{}"}
            given = (await it.page.evaluate(CALL, [f"{it.home}/connection-ticket", asked]))["text"]
            return str(given.partition('"ticket":"')[2].partition('"')[0])

        await it.page.context.clear_cookies()
        socket = it.home.replace("http", "ws") + "/ws"
        once = await ticket()
        assert (await it.page.evaluate(CONNECT, f"{socket}?ticket={once}"))["account"]
        assert await it.page.evaluate(CONNECT, f"{socket}?ticket={once}") == 4401
        assert await it.page.evaluate(LISTEN, [f"{it.home}/notes/subscribe?ticket={await ticket()}", False]) == "ready"
        assert await it.page.evaluate(LISTEN, [f"{it.home}/notes/subscribe?ticket={once}", False]) == "error"


@pytest.mark.parametrize("path", ["/docs", "/docs/problems"])
async def test_our_pages_run_under_their_own_policy_and_nothing_written_into_them_does(path: str, page: Page) -> None:
    async with (app := App(Note, store="sqlite:///:memory:")), running(app, "ours") as port:
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text) if "policy" in message.text.lower() else None)
        await page.goto(f"http://127.0.0.1:{port}{path}")
        await page.wait_for_load_state("networkidle")
        assert refused == []
        await page.evaluate(WRITTEN)
        await page.wait_for_timeout(0)
        assert await page.evaluate("window.taken") is None
        assert refused
