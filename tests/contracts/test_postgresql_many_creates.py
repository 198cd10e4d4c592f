"""A unit of many creates is one statement on PostgreSQL, and nobody can tell from what comes of it."""

import json
from typing import Any

import pytest

from crudite.changes import Refused, Reset
from crudite.ids import uuid7
from crudite.schema import FieldSpec, FieldType, Reference
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LOAN,
    catalog,
    create,
    key_of,
    listing,
    plain,
    schema,
    text,
    unit,
)
from tests.services.strangers import opened, stranger

MANY = 300
TAKEN = uuid7()
NODE = schema(
    "Node",
    [text("name"), FieldSpec("parent", FieldType("uuid"), nullable=True, reference=Reference("Node"))],
)

# how often somebody inserts into a table
COUNT = """CREATE SEQUENCE inserts;
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('inserts'); RETURN NULL; END $$;
CREATE TRIGGER counted AFTER INSERT ON {} FOR EACH STATEMENT EXECUTE FUNCTION counted()"""
COUNTED = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM inserts"


async def test_creates_of_one_unit_are_one_statement_and_are_told_in_their_order(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute(COUNT.format("authors"))
        before = (await store.read([])).position
        names = [f"author {n * 7 % MANY}" for n in range(MANY)]
        commit = await store.write(unit(*[create(AUTHOR, name=name) for name in names], actor="me", request="r"))
        assert [plain(one.json)["name"] for one in commit.stored] == names
        after = (await store.read([])).position
        assert commit.mark is not None
        assert after.covers(commit.mark)
        assert not before.covers(commit.mark)
        changes = await store.changes(before, after, MANY)
        assert not isinstance(changes, Reset)
        assert [json.loads(one.after_json or "")["name"] for one in changes] == names
        assert {one.mark for one in changes} == {commit.mark}
        noted = await other.fetch("SELECT keys, actors, requests, tx::text FROM _commits")
        assert [tuple(one) for one in noted] == [(None, ["me"], ["r"], commit.mark)]
        assert await other.fetchval(COUNTED) == 1


async def test_numbered_records_of_one_unit_are_numbered_in_their_order(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute(COUNT.format("loans"))
        books = [key_of(await store.write(unit(create(BOOK, title=str(n))))) for n in range(3)]
        commit = await store.write(unit(*[create(LOAN, book=book) for book in books]))
        assert [(one.key, plain(one.json)["book"]) for one in commit.stored] == list(enumerate(books, 1))
        assert await other.fetchval(COUNTED) == 1


@pytest.mark.parametrize(
    ("writes", "index", "kind", "fields"),
    [
        ([create(AUTHOR, name="a"), create(AUTHOR, name="b"), create(AUTHOR, TAKEN, name="c")], 2, "unique", ("id",)),
        ([create(AUTHOR, name=n, email=n) for n in "abcb"], 3, "unique", ("email",)),
        ([create(BOOK, title="a", author=TAKEN), create(BOOK, title="b", author=uuid7())], 1, "reference", ("author",)),
        ([create(AUTHOR, name=name) for name in ("a", None, "b", None)], 1, "check", ("name",)),
        ([create(AUTHOR, name=name) for name in ("a", "b", "nul \0")], 2, "check", ()),
    ],
    ids=[
        "a key that is there",
        "a value twice",
        "a reference to nothing",
        "nothing where something must be",
        "no text",
    ],
)
async def test_the_first_that_cannot_be_made_is_named_and_nothing_is_stored(
    postgresql_database: str, writes: list[Any], index: int, kind: str, fields: tuple[str, ...]
) -> None:
    async with opened(postgresql_database) as store:
        await store.write(unit(create(AUTHOR, TAKEN, name="first")))
        before = (await store.read([])).position
        with pytest.raises(Refused) as refused:
            await store.write(unit(*writes))
        assert (refused.value.index, refused.value.kind, refused.value.fields) == (index, kind, fields)
        assert (await store.read([])).position == before
        assert len((await store.page(listing(AUTHOR))).keys) + len((await store.page(listing(BOOK))).keys) == 1


async def test_a_record_refers_to_those_before_it_and_not_to_those_after_it(postgresql_database: str) -> None:
    async with opened(postgresql_database, catalog(NODE)) as store:
        first, second = uuid7(), uuid7()
        one, other = create(NODE, first, name="a", parent=None), create(NODE, second, name="b", parent=first)
        with pytest.raises(Refused) as refused:
            await store.write(unit(other, one))
        assert (refused.value.index, refused.value.kind, refused.value.fields) == (0, "reference", ("parent",))
        assert [stored.key for stored in (await store.write(unit(one, other))).stored] == [first, second]
