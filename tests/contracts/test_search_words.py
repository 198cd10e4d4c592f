"""What a word is, letter by letter: SQLite, PostgreSQL and `query.words` take every code point alike."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence

import apsw
import asyncpg
import pytest

from crudite.query.sql import select
from crudite.query.words import words_of
from crudite.stores.postgresql import PostgresqlStore
from crudite.stores.postgresql.dialect import PostgresqlDialect
from crudite.stores.postgresql.search import FUNCTION, create_function
from crudite.stores.sqlite.search import create_search
from crudite.testing.samples import catalog, listing
from crudite.testing.store_search import PAGE, words

EVERY = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
"""Every code point that a text can hold."""


def texts() -> Iterator[str]:
    """Every code point between two letters, some thousands of them in one text."""
    for start in range(0, len(EVERY), 4096):
        yield " ".join(f"a{letter}b" for letter in EVERY[start : start + 4096])


def words_in_sqlite(execute: Callable[..., Sequence[tuple[str]]], text: str) -> set[str]:
    """What SQLite's index of a page holds, of one text."""
    execute("INSERT INTO w (rowid, t) VALUES (1, ?)", (text,))
    found = {row[0] for row in execute("SELECT term FROM terms")}
    execute("DELETE FROM w")
    return found


@pytest.mark.parametrize("library", ["apsw", "sqlite3"])
def test_sqlite_finds_the_words_of_every_code_point(library: str) -> None:
    """In the SQLite that we bring, and in the one that came with Python, as other programs have it."""
    connection = apsw.Connection(":memory:") if library == "apsw" else sqlite3.connect(":memory:")
    _, create = create_search(PAGE).values()
    name, column = '"_search pages words"', '"of title notes"'
    connection.execute(create.replace(name, "w").replace(column, "t"))
    connection.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(w, row)")

    def execute(text: str, bound: tuple[str, ...] = ()) -> Sequence[tuple[str]]:
        return connection.execute(text, bound).fetchall()

    for text in texts():
        assert words_in_sqlite(execute, text) == set(words_of(text))
    connection.close()


@pytest.mark.anyio
async def test_postgresql_finds_the_words_of_every_code_point(postgresql: str) -> None:
    connection = await asyncpg.connect(postgresql)
    try:
        await connection.execute("DROP SCHEMA IF EXISTS words CASCADE; CREATE SCHEMA words; SET search_path = words")
        await connection.execute(create_function())
        for text in texts():
            found = await connection.fetchval(f'SELECT tsvector_to_array("{FUNCTION}"($1))', text)
            assert set(found) == set(words_of(text))
    finally:
        await connection.close()


@pytest.mark.anyio
async def test_postgresql_answers_a_search_from_the_index(postgresql: str) -> None:
    store = PostgresqlStore(f"{postgresql}?schema=indexed_words")
    await store.open(catalog(PAGE))
    await store.close()
    asked = select(listing(PAGE, filter=words("red apples")), PostgresqlDialect())
    connection = await asyncpg.connect(postgresql)
    try:
        await connection.execute(
            "SET search_path = indexed_words; SET enable_seqscan = off; SET enable_indexscan = off"
        )
        steps = await connection.fetch(f"EXPLAIN {asked.text}", *asked.parameters)
        assert any('Bitmap Index Scan on "pages words"' in step[0] for step in steps)
    finally:
        await connection.close()


@pytest.mark.anyio
async def test_postgresql_finds_the_same_whatever_the_session_has_set(postgresql: str) -> None:
    connection = await asyncpg.connect(postgresql)
    try:
        await connection.execute("DROP SCHEMA IF EXISTS odd CASCADE; CREATE SCHEMA odd; SET search_path = odd")
        await connection.execute("SET standard_conforming_strings = off")
        await connection.execute(create_function())
        assert await connection.fetchval(f"""SELECT "{FUNCTION}"('Über-Größe; 5½')::text""") == "'5½' 'große' 'uber'"
    finally:
        await connection.close()
