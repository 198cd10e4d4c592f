"""Faults on purpose: a store that stops, fails and says less or more than it should, at the step that a test names."""

import asyncio

import pytest

from crudite import App, Record, StoreError, allow
from crudite.stores import open_store
from crudite.stores.base import SupportsGlance, SupportsHistory, SupportsLoad, SupportsNumbers, SupportsSubmit
from crudite.testing import Client, Faulty
from crudite.testing.faults import STEPS, Call


class Todo(Record[int], rules=allow.everyone):
    title: str


def faulty() -> Faulty:
    return Faulty(open_store("sqlite:///:memory:"))


async def test_what_is_written_between_the_read_of_a_snapshot_and_its_arrival_is_told_once() -> None:
    store = faulty()
    async with Client(App(Todo, store=store)) as client:
        with store.gate("after read", lambda call: bool(call.arguments[0])) as gate:
            async with client.live("todos") as view:
                call = await gate.reached()
                assert call.answer.pages[0].keys == ()
                await client.post("/todos", {"title": "between"})
                assert view.events == []

                gate.open()
                assert [row["title"] for row in await view.ready()] == ["between"]
                assert [kind for kind, _ in view.events] == ["added", "ready"]


async def test_a_gate_lets_go_of_all_who_wait_at_the_end_of_its_block() -> None:
    store = faulty()
    async with Client(App(Todo, store=store)) as client:
        with store.gate("before write") as gate:
            writing = asyncio.create_task(client.post("/todos", {"title": "held"}))
            await gate.reached()
            assert len(gate.waiting) == 1
            assert (await client.get("/todos")).json == []
        assert (await writing).status == 201
        assert gate.waiting == []


async def test_a_write_that_fails_before_is_not_made_and_one_that_fails_after_is() -> None:
    store = faulty()
    async with Client(App(Todo, store=store)) as client:
        store.fail("before write")
        assert (await client.post("/todos", {"title": "lost"})).status >= 500
        store.fail("after write")
        assert (await client.post("/todos", {"title": "kept"})).status >= 500

        assert [row["title"] for row in (await client.get("/todos")).json] == ["kept"]


async def test_the_log_is_followed_on_after_failures_which_is_said(caplog: pytest.LogCaptureFixture) -> None:
    store = faulty()
    async with Client(App(Todo, store=store)) as client, client.live("todos") as view:
        await view.ready()
        store.fail("after batch", times=2)
        await client.post("/todos", {"title": "a"})
        assert [row["title"] for row in await view.until(lambda rows: len(rows) == 1)] == ["a"]
        assert [kind for kind, _ in view.events] == ["ready", "added"]
    told = [record.getMessage() for record in caplog.records if record.name == "crudite.live"]
    assert [text.partition(",")[0] for text in told] == [
        *["the log cannot be followed"] * 2,
        "the log is followed again",
    ]


async def test_a_healed_store_fails_no_more() -> None:
    store = faulty()
    async with Client(App(Todo, store=store)) as client:
        store.fail("before page", StoreError("no"), times=3)
        store.fail("before read", StoreError("no"), times=3)
        store.heal()
        assert (await client.get("/todos")).status == 200


async def test_lost_and_doubled_wake_ups_lose_and_double_nothing() -> None:
    for copies in (0, 2):
        store = faulty()
        store.wakes = lambda copies=copies: copies  # type: ignore[misc]
        async with Client(App(Todo, store=store)) as client, client.live("todos") as view:
            await view.ready()
            await client.post("/todos", {"title": "a"})
            await view.until(lambda rows: len(rows) == 1)
            assert [kind for kind, _ in view.events] == ["ready", "added"]


async def test_every_step_is_told_of_in_its_order() -> None:
    told: list[str] = []

    async def tell(step: str, call: Call) -> None:
        assert step.endswith(call.method)
        assert (call.answer is None) == step.startswith("before")
        if call.method == "write":
            told.append(step)

    store = Faulty(open_store("sqlite:///:memory:"), tell)
    async with Client(App(Todo, store=store)) as client:
        await client.post("/todos", {"title": "a"})
    assert told == ["before write", "after write"]


def test_a_step_that_does_not_exist_is_refused_with_all_that_do() -> None:
    with pytest.raises(ValueError, match="before lookup, after lookup") as error:
        faulty().fail("while reading")
    assert all(step in str(error.value) for step in STEPS)


async def test_it_can_do_what_the_other_store_can_but_for_what_goes_round_the_steps() -> None:
    other = open_store("sqlite:///:memory:")
    store = Faulty(other)

    assert isinstance(store, SupportsHistory)
    assert isinstance(store, SupportsNumbers)
    assert store.history_figures is other.history_figures  # type: ignore[attr-defined]
    assert not isinstance(store, SupportsLoad | SupportsGlance | SupportsSubmit)
