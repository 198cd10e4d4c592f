"""A COMMIT that the database never answers: it may have been done, so nobody does it again, and nobody says it was."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx2
import pytest

from crudite import App, NotFound, Problem, Record, Request, allow
from crudite.errors import StoreError
from tests.services.http import client_at
from tests.services.runner import Kind, running

SLOW = """
CREATE SEQUENCE tried;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
PERFORM nextval('tried'); PERFORM pg_sleep(60); RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON todos DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()
"""
ASLEEP = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


class Todo(Record[int], rules=allow.everyone):
    title: str


@asynccontextmanager
async def lost(
    database: str, kind: Kind, prepare: Callable[[App], None] = lambda app: None
) -> AsyncIterator[tuple[httpx2.Response, Any]]:
    """The answer to a create whose connection to the database was ended during its COMMIT; the database."""
    app = App(Todo, store=database)
    prepare(app)
    async with app, running(app, kind) as port:
        other = await asyncpg.connect(database)
        try:
            async with client_at(f"http://127.0.0.1:{port}", timeout=30) as client:
                for _ in range(2):  # so that our own server knows what such a request looks like
                    assert (await client.post("/todos", json={"title": "once"})).status_code == 201
                await other.execute(SLOW)
                asked = asyncio.create_task(client.post("/todos", json={"title": "once"}))
                async with asyncio.timeout(30):
                    while not await other.fetchval(f"SELECT count(*) {ASLEEP}"):  # noqa: ASYNC110 (nobody tells)
                        await asyncio.sleep(0.01)
                await other.execute(f"SELECT pg_terminate_backend(pid) {ASLEEP}")
                yield await asked, other
        finally:
            await other.close(timeout=5)


@pytest.mark.parametrize("kind", ["ours", "plain"])
async def test_a_create_whose_commit_is_lost_is_answered_with_503_and_not_done_again(
    postgresql_database: str, kind: Kind
) -> None:
    async with lost(postgresql_database, kind) as (answer, other):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert (answer.headers["content-type"], answer.headers["cache-control"]) == (
            "application/problem+json", "no-store",
        )  # fmt: skip
        problem = answer.json()
        assert len(problem.pop("request_id")) > 8
        assert problem == {
            "type": "/docs/problems#unavailable",
            "title": "Unavailable",
            "status": 503,
            "code": "unavailable",
            "detail": "The database cannot do that now.",
        }
        assert await other.fetchval("SELECT last_value FROM tried") == 1


async def test_an_application_with_a_word_of_its_own_for_that_is_asked_for_it(postgresql_database: str) -> None:
    def prepare(app: App) -> None:
        @app.on_error(StoreError)
        def explain(request: Request, error: Exception) -> Problem:
            return NotFound("Nobody knows.")

    async with lost(postgresql_database, "ours", prepare) as (answer, other):
        assert (answer.status_code, answer.json()["detail"]) == (404, "Nobody knows.")
        assert await other.fetchval("SELECT last_value FROM tried") == 1
