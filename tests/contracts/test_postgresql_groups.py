"""What waits together goes together on PostgreSQL, and nobody can tell: each hears what he would hear alone."""

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crudite.changes import Commit, Refused, Reset, Unit
from crudite.errors import StoreError
from crudite.ids import uuid7
from crudite.query.plan import Mask, Selection
from crudite.query.tree import EVERYTHING
from crudite.stores.base import Row, SupportsSubmit
from crudite.stores.postgresql import PostgresqlStore
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LIBRARY,
    LOAN,
    SAMPLE,
    VISIT,
    create,
    delete,
    key_of,
    listing,
    plain,
    select,
    unit,
    update,
    where,
)
from tests.services.postgresql import postgresql as postgresql
from tests.services.strangers import opened, stranger, until, until_waiting

pytestmark = pytest.mark.anyio

MANY = 50
PATIENCE = 10


async def together(store: PostgresqlStore, units: Sequence[Unit]) -> list[Any]:
    """What became of units that were asked for in one turn of the loop."""
    return await asyncio.gather(*map(store.write, units), return_exceptions=True)


def kinds(outcomes: Sequence[Any]) -> list[str]:
    """The outcomes in words; an error that is no refusal fails."""
    words: list[str] = []
    for one in outcomes:
        assert isinstance(one, Commit | Refused), one
        words.append("made" if isinstance(one, Commit) else one.kind)
    return words


def names_of(outcomes: Sequence[Any]) -> list[str]:
    return [plain(one.stored[0].json)["name"] for one in outcomes if isinstance(one, Commit)]


async def names(store: PostgresqlStore) -> list[str]:
    """The names of all authors."""
    return sorted(json.loads(record)["name"] for record in (await store.page(listing(AUTHOR))).records)


def authors(count: int, **more: Any) -> list[Unit]:
    """Creates of authors that are alike but for their names."""
    return [unit(create(AUTHOR, uuid7(), name=f"author {n:03}", **more)) for n in range(count)]


# reads by key


async def test_each_of_many_reads_gets_its_own_record_or_none(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        keys = [key_of(one) for one in await together(store, authors(MANY))]
        asked = [*keys, uuid7(), *reversed(keys), keys[0], uuid7()]
        rows = await asyncio.gather(*(store.lookup(select(AUTHOR), key) for key in asked))
        shown = [None if row is None else plain(row.json)["id"] for row in rows]
        assert shown == [*keys, None, *reversed(keys), keys[0], None]


async def test_many_reads_by_key_are_one_statement(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        keys = [key_of(one) for one in await together(store, authors(MANY))]
        await other.execute("BEGIN; LOCK TABLE authors IN ACCESS EXCLUSIVE MODE")
        reading = asyncio.gather(*(store.lookup(select(AUTHOR), key) for key in keys))
        await until_waiting(other)
        assert store.load.used == 1
        await other.execute("COMMIT")
        assert [plain(row.json)["id"] for row in await reading if row is not None] == keys


async def test_selections_that_differ_in_their_constants_are_one_statement(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        made = await together(store, [unit(create(BOOK, uuid7(), title=str(n), year=n)) for n in range(8)])
        keys = [key_of(one) for one in made]
        asked = [(select(BOOK, where(BOOK, "year", year)), key) for year in range(8) for key in keys]
        await other.execute("BEGIN; LOCK TABLE books IN ACCESS EXCLUSIVE MODE")
        reading = asyncio.gather(*(store.lookup(*one) for one in asked))
        await until_waiting(other)
        assert store.load.used == 1
        await other.execute("COMMIT")
        found = [n for n, row in enumerate(await reading) if row is not None]
        assert found == [0, 9, 18, 27, 36, 45, 54, 63]


async def test_each_sees_what_his_own_selection_shows(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        made = await store.write(unit(create(BOOK, title="a", year=1900)))
        key = key_of(made)
        shown = [
            Selection(BOOK, EVERYTHING, Mask(("title",))),
            Selection(BOOK, where(BOOK, "year", [1, 1900], "in"), Mask(("year",))),
            Selection(BOOK, where(BOOK, "year", [1, 2], "in"), Mask(("year",))),
            Selection(BOOK, EVERYTHING, Mask(("title",), (("year", where(BOOK, "title", "a")),))),
            Selection(BOOK, EVERYTHING, Mask(("title",), (("year", where(BOOK, "title", "b")),))),
        ]
        rows = await asyncio.gather(*(store.lookup(one, key) for one in shown))
        seen = [None if row is None else json.loads(row.json) for row in rows]
        assert seen == [{"title": "a"}, {"year": 1900}, None, {"title": "a", "year": 1900}, {"title": "a"}]


async def test_a_key_that_cannot_be_looked_up_spoils_it_for_nobody_else(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        book = key_of(await store.write(unit(create(BOOK, title="t"))))
        loans = [key_of(await store.write(unit(create(LOAN, book=book)))) for _ in range(20)]
        asked = [*loans[:7], 2**70, *loans[7:]]
        rows = await asyncio.gather(*(store.lookup(select(LOAN), key) for key in asked), return_exceptions=True)
        assert isinstance(rows.pop(7), StoreError)
        assert [plain(row.json)["id"] for row in rows if isinstance(row, Row)] == loans


async def test_who_stops_waiting_for_a_read_disturbs_nobody(postgresql_database: str) -> None:
    async with opened(f"{postgresql_database}?connections=1") as store, stranger(postgresql_database) as other:
        keys = [key_of(one) for one in await together(store, authors(10))]
        await other.execute("BEGIN; LOCK TABLE authors IN ACCESS EXCLUSIVE MODE")
        reading = [asyncio.ensure_future(store.lookup(select(AUTHOR), key)) for key in keys]
        await until_waiting(other)
        reading[3].cancel()
        await other.execute("COMMIT")
        rows = await asyncio.gather(*reading, return_exceptions=True)
        assert isinstance(rows.pop(3), asyncio.CancelledError)
        assert [plain(row.json)["id"] for row in rows if isinstance(row, Row)] == keys[:3] + keys[4:]


async def test_a_lost_connection_is_no_matter_to_those_who_read(postgresql_database: str) -> None:
    async with opened(f"{postgresql_database}?connections=1") as store, stranger(postgresql_database) as other:
        keys = [key_of(one) for one in await together(store, authors(10))]
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'crudite' AND datname = current_database()"
        )
        rows = await asyncio.gather(*(store.lookup(select(AUTHOR), key) for key in keys))
        assert [plain(row.json)["id"] for row in rows if row is not None] == keys


# creates


async def test_each_of_many_creates_hears_of_its_own_record_in_one_transaction(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        outcomes = await together(store, authors(MANY))
        assert names_of(outcomes) == [f"author {n:03}" for n in range(MANY)]
        assert len({one.mark for one in outcomes}) == 1
        assert (await store.read([])).position.covers(outcomes[0].mark)


async def test_the_log_says_of_each_record_who_asked_for_it(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        units = [unit(*one.writes, actor=f"actor {n}", request=f"r{n}") for n, one in enumerate(authors(MANY))]
        await together(store, units)
        told = await other.fetch(
            "SELECT after::json ->> 'name', actor, request FROM _changes JOIN _commits USING (tx), "
            "unnest(keys, actors, requests) AS u(key, actor, request) WHERE key = pk ORDER BY 1"
        )
        expected = [(f"author {n:03}", f"actor {n}", f"r{n}") for n in range(MANY)]
        assert [tuple(row) for row in told] == expected


async def test_numbered_records_go_together_and_each_hears_of_its_own_number(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        books = [key_of(one) for one in await together(store, [unit(create(BOOK, title=str(n))) for n in range(MANY)])]
        outcomes = await together(store, [unit(create(LOAN, book=book)) for book in books])
        assert [key_of(one) for one in outcomes] == list(range(1, MANY + 1))
        assert [plain(one.stored[0].json)["book"] for one in outcomes] == books
        assert key_of(await store.write(unit(create(LOAN, 1000, book=books[0])))) == 1000
        assert key_of(await store.write(unit(create(LOAN, book=books[0])))) == 1001


async def test_records_without_a_log_go_together_and_leave_no_mark(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        outcomes = await together(store, [unit(create(VISIT, page=str(n))) for n in range(MANY)])
        assert {one.mark for one in outcomes} == {None}
        assert len((await store.page(listing(VISIT))).keys) == MANY


async def test_of_many_creates_only_those_that_cannot_be_made_are_refused(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        taken = uuid7()
        await store.write(unit(create(AUTHOR, taken, name="first", email="first@example.org")))
        units = authors(MANY)
        units[7] = unit(create(AUTHOR, taken, name="again"))
        units[20] = unit(create(AUTHOR, uuid7(), name=None))
        units[21] = unit(create(AUTHOR, uuid7(), name="nul \0"))
        outcomes = await together(store, units)
        assert [(n, kind) for n, kind in enumerate(kinds(outcomes)) if kind != "made"] == [
            (7, "unique"), (20, "check"), (21, "check"),
        ]  # fmt: skip
        others = [f"author {n:03}" for n in range(MANY) if n not in (7, 20, 21)]
        assert names_of(outcomes) == others
        assert await names(store) == [*others, "first"]


async def test_of_many_records_with_the_same_value_one_is_made(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        outcomes = await together(store, authors(MANY, email="one@example.org"))
        assert sorted(kinds(outcomes)) == ["made", *["unique"] * (MANY - 1)]
        assert {one.fields for one in outcomes if isinstance(one, Refused)} == {("email",)}
        assert await names(store) == names_of(outcomes)


async def test_a_reference_to_nothing_fails_alone(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        author = key_of(await store.write(unit(create(AUTHOR, name="a"))))
        pointed = [uuid7() if n in (0, 13, 31) else author for n in range(32)]
        outcomes = await together(store, [unit(create(BOOK, title=str(n), author=a)) for n, a in enumerate(pointed)])
        refused = [(n, one.kind, one.fields) for n, one in enumerate(outcomes) if isinstance(one, Refused)]
        assert refused == [(n, "reference", ("author",)) for n in (0, 13, 31)]
        assert len((await store.page(listing(BOOK))).keys) == 29


async def test_a_value_that_somebody_is_about_to_take_holds_up_only_who_wants_it(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute("BEGIN; INSERT INTO authors (name, email) VALUES ('theirs', 'x')")
        units = [unit(create(AUTHOR, uuid7(), name=str(n), email="x" if n == 5 else str(n))) for n in range(16)]
        writing = [asyncio.ensure_future(store.write(one)) for one in units]
        async with asyncio.timeout(PATIENCE):
            made = await asyncio.gather(*writing[:5], *writing[6:])
        assert kinds(made) == ["made"] * 15
        assert not writing[5].done()
        await other.execute("COMMIT")
        with pytest.raises(Refused) as refused:
            await writing[5]
        assert (refused.value.kind, refused.value.fields) == ("unique", ("email",))


async def test_what_a_commit_refuses_fails_alone(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute(
            "CREATE TABLE years (year bigint PRIMARY KEY); INSERT INTO years VALUES (1900); "
            "ALTER TABLE books ADD FOREIGN KEY (year) REFERENCES years DEFERRABLE INITIALLY DEFERRED"
        )
        units = [unit(create(BOOK, uuid7(), title=str(n), year=1901 if n == 3 else 1900)) for n in range(10)]
        assert kinds(await together(store, units)) == ["made"] * 3 + ["reference"] + ["made"] * 6
        assert len((await store.page(listing(BOOK))).keys) == 9


async def test_a_commit_without_an_answer_is_not_tried_again(postgresql_database: str) -> None:
    """The trigger holds the COMMIT until the server's process is ended."""
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute(
            "CREATE SEQUENCE tried; CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
            "PERFORM nextval('tried'); PERFORM pg_sleep(60); RETURN NULL; END$$; "
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON authors DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION slow()"
        )
        writing = asyncio.gather(*map(store.write, authors(3)), return_exceptions=True)
        asleep = "pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        await until(other, f"SELECT count(*) > 0 FROM {asleep}")
        await other.execute(f"SELECT pg_terminate_backend(pid) FROM {asleep}")
        outcomes = await writing
        assert [type(one) for one in outcomes] == [StoreError] * 3
        assert all("not known" in str(one) for one in outcomes)
        assert await other.fetchval("SELECT last_value FROM tried") == 1
        assert await names(store) == []


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        ("NEW.id := gen_random_uuid(); RETURN NEW;", ["made"] * 10),
        ("IF NEW.name = 'author 003' THEN NEW.id := gen_random_uuid(); END IF; RETURN NEW;", ["made"] * 10),
        ("INSERT INTO books (title) VALUES ('by ' || NEW.name); RETURN NEW;", ["made"] * 10),
        (
            "IF NEW.name = 'author 003' THEN RETURN NULL; END IF; RETURN NEW;",
            ["made"] * 3 + ["check"] + ["made"] * 6,
        ),
    ],
)
async def test_a_trigger_of_somebody_else_mixes_nothing_up(
    postgresql_database: str, deed: str, expected: list[str]
) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute(
            f"CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {deed} END$$; "
            "CREATE TRIGGER theirs BEFORE INSERT ON authors FOR EACH ROW EXECUTE FUNCTION theirs()"
        )
        outcomes = await together(store, authors(10))
        assert kinds(outcomes) == expected
        assert await names(store) == names_of(outcomes)
        rows = [await store.lookup(select(AUTHOR), key_of(one)) for one in outcomes if isinstance(one, Commit)]
        assert [plain(row.json)["name"] for row in rows if row is not None] == names_of(outcomes)


async def test_a_constraint_that_knows_no_conflicts_only_makes_it_slower(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute("ALTER TABLE authors ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED")
        units = [*authors(9), *authors(1)]
        assert sorted(kinds(await together(store, units))) == ["made"] * 9 + ["unique"]
        assert await names(store) == [f"author {n:03}" for n in range(9)]


async def test_a_create_that_nobody_waits_for_any_more_disturbs_nobody(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        writing = [asyncio.ensure_future(store.write(one)) for one in authors(10)]
        await asyncio.sleep(0)
        writing[3].cancel()
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        assert isinstance(outcomes.pop(3), asyncio.CancelledError)
        assert kinds(outcomes) == ["made"] * 9
        left = [f"author {n:03}" for n in range(10)]
        assert await names(store) in (left, left[:3] + left[4:])


async def test_what_was_accepted_is_finished_before_the_store_is_closed(postgresql_database: str) -> None:
    async with opened(f"{postgresql_database}?connections=1") as store:
        writing = [asyncio.ensure_future(store.write(one)) for one in authors(MANY)]
        await asyncio.sleep(0)
        await store.close()
        assert kinds(await asyncio.gather(*writing)) == ["made"] * MANY
        with pytest.raises(StoreError):
            await store.write(authors(1)[0])
        with pytest.raises(StoreError):
            await store.lookup(select(AUTHOR), uuid7())


async def test_units_are_taken_without_somebody_who_awaits_them(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        assert isinstance(store, SupportsSubmit)
        key = key_of(await store.write(unit(create(AUTHOR, name="first"))))
        units = [*authors(5), unit(update(AUTHOR, key, name="second")), unit(delete(AUTHOR, uuid7()))]
        outcomes: dict[int, Any] = {}
        done = asyncio.Event()

        def settle(number: int) -> Callable[[Any], None]:
            def take(outcome: Any) -> None:
                assert number not in outcomes, "told once"
                outcomes[number] = outcome
                if len(outcomes) == len(units):
                    done.set()
                raise RuntimeError("whoever is told may fail")

            return take

        for number, one in enumerate(units):
            store.submit(one, settle(number))
        async with asyncio.timeout(PATIENCE):
            await done.wait()
        assert kinds([outcomes[number] for number in range(7)]) == ["made"] * 6 + ["missing"]
        assert (await names(store))[-1] == "second"


async def test_a_record_is_looked_up_without_somebody_who_awaits_it(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        key = key_of(await store.write(unit(create(AUTHOR, name="a"))))
        loop = asyncio.get_running_loop()
        found, missing = loop.create_future(), loop.create_future()
        store.ask(select(AUTHOR), key, found.set_result)
        store.ask(select(AUTHOR), uuid7(), missing.set_result)
        assert plain((await found).json)["name"] == "a"
        assert await missing is None


async def test_every_type_of_value_comes_back_from_a_group_as_from_a_write_alone(postgresql_database: str) -> None:
    value = {
        "text": "é'\"\\ 😀", "integer": -(2**53) + 1, "bigint": str(-(2**63)), "float": 5e-324, "decimal": "-0.0001",
        "money": "99.99", "boolean": False, "date": "0001-01-01", "time": "23:59:59.999999",
        "datetime": "9999-12-31T23:59:59.999999Z", "uuid": "ffffffff-ffff-ffff-ffff-ffffffffffff", "choice": "green",
        "json": {"a": [1, None, "x", 0.1, {"b": True}]}, "tags": ["", "a,b", '"', "{}"],
    }  # fmt: skip
    nothing: dict[str, Any] = {**dict.fromkeys(value), "money": "0.00", "choice": "red", "tags": []}
    async with opened(postgresql_database) as store:
        outcomes = await together(store, [unit(create(SAMPLE, **one)) for one in (value, nothing) * 5])
        for one, given_values in zip(outcomes, (value, nothing) * 5, strict=True):
            shown = plain(one.stored[0].json)
            assert {name: shown[name] for name in given_values} == given_values
        page = await store.page(listing(SAMPLE))
        assert sorted(page.records) == sorted(one.stored[0].json for one in outcomes)


# any mix

KEYS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(3)]
EMAILS = ["a", "b", None]
Deed = tuple[str, str, str | None]
World = dict[str, str | None]
deeds = st.tuples(st.sampled_from(["create", "update", "delete"]), st.sampled_from(KEYS), st.sampled_from(EMAILS))
mixes = st.lists(st.lists(deeds, min_size=1, max_size=2), min_size=2, max_size=5)


def as_write(deed: Deed) -> Any:
    action, key, email = deed
    if action == "delete":
        return delete(AUTHOR, key)
    return create(AUTHOR, key, name="n", email=email) if action == "create" else update(AUTHOR, key, email=email)


def played(world: World, unit: Sequence[Deed]) -> tuple[World, str]:
    """What a unit alone leaves of a world, by hand, and what is heard of it."""
    after = dict(world)
    for action, key, email in unit:
        others = {e for k, e in after.items() if k != key and e is not None}
        if action != "create" and key not in after:
            return world, "missing"
        if action == "create" and key in after:
            return world, "unique"
        if action == "delete":
            del after[key]
        elif email in others:
            return world, "unique"
        else:
            after[key] = email
    return after, "made"


def in_order(world: World, mix: Sequence[Sequence[Deed]], order: Sequence[int]) -> tuple[World, list[str]]:
    heard = [""] * len(mix)
    for number in order:
        world, heard[number] = played(world, mix[number])
    return world, heard


@pytest.fixture(scope="module")
def loop() -> Any:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def mixed(postgresql: str, loop: asyncio.Runner) -> Any:
    """A store for all mixes, which looks for deadlocks at once."""
    store = PostgresqlStore(f"{postgresql}?schema=mixed&deadlock_timeout=10", connections=4)
    loop.run(store.open(LIBRARY))
    yield store
    loop.run(store.close())


@settings(max_examples=40)
@given(before=st.lists(st.sampled_from(EMAILS), max_size=3), mix=mixes)
def test_any_mix_of_units_ends_as_the_same_units_one_after_the_other(
    mixed: PostgresqlStore, loop: asyncio.Runner, before: list[str | None], mix: list[list[Deed]]
) -> None:
    async def played_together() -> tuple[World, World, list[str], list[Any]]:
        page = await mixed.page(listing(AUTHOR))
        for key in page.keys:
            await mixed.write(unit(delete(AUTHOR, key)))
        for key, email in zip(KEYS, before, strict=False):
            await asyncio.gather(mixed.write(unit(create(AUTHOR, key, name="n", email=email))), return_exceptions=True)
        start, first = await seen()
        heard = kinds(await together(mixed, [unit(*map(as_write, one)) for one in mix]))
        end, last = await seen()
        changes = await mixed.changes(start, end, 1000)
        assert not isinstance(changes, Reset)
        return first, last, heard, list(changes)

    async def seen() -> tuple[Any, World]:
        found = await mixed.read([listing(AUTHOR)])
        records = map(json.loads, found.pages[0].records)
        return found.position, {record["id"]: record["email"] for record in records}

    first, last, heard, changes = loop.run(played_together())
    orders = itertools.permutations(range(len(mix)))
    assert any(in_order(first, mix, order) == (last, heard) for order in orders), (first, last, heard)
    for change in changes:
        assert (None if change.before is None else change.before["email"]) == first.get(change.key)
        if change.after is None:
            del first[change.key]
        else:
            first[change.key] = change.after["email"]
    assert first == last
