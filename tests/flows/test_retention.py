"""The change log reaches back as far as it was asked to, and whoever was away for longer is told."""

import asyncio
from datetime import timedelta

from crudite import App, Resource, Retention, allow
from crudite.changes import Reset
from crudite.testing import Client
from tests.services.stores import fresh_store, kept_store


class Todo(Resource, rules=allow.everyone):
    title: str


async def test_an_application_trims_its_log_and_a_client_from_before_starts_again() -> None:
    store = kept_store()
    async with Client(App(Todo, store=store)) as client:
        async with client.stream("/todos/subscribe") as stream:
            await stream.until("ready")
        was_at, was_at_token = stream.last_id, client.app.engine.position.token
        await client.post("/todos", {"title": "while away"})

    app = App(Todo, store=store, retention=Retention(size=0, every=timedelta(milliseconds=1)))
    async with Client(app) as client:
        await client.post("/todos", {"title": "later"})
        async with asyncio.timeout(10):
            while not isinstance(await app.store.locate(was_at_token), Reset):
                await client.get("/todos")

        async with client.stream("/todos/subscribe", last_event_id=was_at) as stream:
            events = await stream.until("ready")

    assert events[0].kind == "reset"
    assert events[0].data == {"reason": "gap"}
    assert sorted(event.data["title"] for event in events if event.kind == "added") == ["later", "while away"]


async def test_by_itself_an_application_keeps_a_day_of_its_log() -> None:
    app = App(Todo, store=fresh_store())

    assert (app.retention.age, app.retention.size) == (timedelta(days=1), 256_000_000)
