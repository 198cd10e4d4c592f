"""The services that other tests lean on are what they say."""

import asyncio
import subprocess

import asyncpg
from playwright.async_api import Page

from tests.services import missing

PAGE = b"<title>none</title><script>document.title = typeof EventSource + ' ' + typeof WebSocket</script>"


async def test_each_test_gets_an_empty_postgresql_18_that_decodes_its_log(postgresql_database: str) -> None:
    connection = await asyncpg.connect(postgresql_database)
    assert connection.get_server_version().major == 18
    assert await connection.fetchval("show wal_level") == "logical"
    assert await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
    await connection.close()


async def test_its_databases_sort_texts_as_swedes_do(postgresql_database: str) -> None:
    connection = await asyncpg.connect(postgresql_database)
    sorting = "SELECT array_agg(t ORDER BY t) FROM unnest(ARRAY['B', 'å', 'a', 'b', 'z', 'A']) AS t"
    texts = await connection.fetchval(sorting)
    await connection.close()
    if texts == ["A", "B", "a", "b", "z", "å"]:
        missing("the locale sv_SE.UTF-8", "apt install locales")
    assert texts == ["a", "A", "b", "B", "z", "å"]


def test_node_runs_javascript_of_2023(node: str) -> None:
    command = [node, "-e", "console.log([3, 1, 2].toSorted().join())"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1,2,3\n"


async def test_the_browser_renders_a_page_from_this_machine_and_has_live_connections(page: Page) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n" + PAGE)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        await page.goto(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        assert await page.title() == "function function"
