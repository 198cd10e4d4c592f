"""On which stores a story is told: on SQLite and on PostgreSQL, each time in an empty one of its own.

The rule: below tests/flows and tests/faults, all tests of a module that takes its stores from here (`fresh_store`,
`kept_store`, or by way of `client_for` of the worlds or `world` of the leaks) run on both, as `[sqlite]` and as
`[postgresql]`. One that is about a single store, or in which the store plays no part, says so and why:

    @pytest.mark.only_on("sqlite", reason="a description asks no store")

One that runs on PostgreSQL and asks for no store fails, because it would only repeat itself.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import asyncpg
import pytest

MEMORY = "sqlite:///:memory:"
STORES = ("sqlite", "postgresql")
SECONDS = 10
_MAKERS = ("fresh_store", "kept_store", "client_for", "world")

_SCRIPT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
for statement in sys.argv[2:]:
    found = connection.execute(statement).fetchall()
connection.execute("COMMIT")
connection.close()
print(*(row[0] for row in found), sep="\\n", end="")
"""

_makers: list[Callable[[bool], str]] = [lambda _: MEMORY]


def fresh_store() -> str:
    """The URL of an empty store of the kind that the test runs on. It lasts for as long as it is open."""
    return _makers[-1](False)


def kept_store() -> str:
    """The URL of an empty store of the kind that the test runs on. It can be opened again, by other processes too."""
    return _makers[-1](True)


async def foreign(store: str, *statements: str) -> list[str]:
    """Another program writes to a kept store, in one transaction; the texts that its last statement found.

    To SQLite from a process of its own: a second library in this one would drop the locks of the first.
    """
    if store.startswith("sqlite"):
        path = store.removeprefix("sqlite:///").partition("?")[0]
        writing = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _SCRIPT, path, *statements, stdout=PIPE, stderr=PIPE
        )
        found, complaint = await writing.communicate()
        assert writing.returncode == 0, complaint.decode()
        return found.decode().splitlines()
    server, _, schema = store.partition("?schema=")
    other = await asyncpg.connect(server, server_settings={"search_path": schema})
    try:
        async with other.transaction():
            for statement in statements:
                rows = await other.fetch(statement)
        return [row[0] for row in rows]
    finally:
        await other.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Has a story run on both stores, unless it says that it is about one, or its module names its own."""
    takes_them = not vars(metafunc.module).keys().isdisjoint(_MAKERS)
    if takes_them and metafunc.definition.get_closest_marker("only_on") is None:
        metafunc.parametrize("kind_of_store", STORES, indirect=True)


@pytest.fixture(autouse=True)
def kind_of_store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the store on which a story is told. What it asks for is dropped after it."""
    only = request.node.get_closest_marker("only_on")
    kind: str = getattr(request, "param", STORES[0] if only is None else only.args[0])
    if kind not in STORES or (only is not None and not only.kwargs["reason"]):
        pytest.fail("`only_on` takes the name of a store, and a reason")
    with _files(request) if kind == "sqlite" else _schemas(request.getfixturevalue("postgresql")):
        yield kind


@contextmanager
def _made(make: Callable[[bool], str]) -> Iterator[None]:
    _makers.append(make)
    try:
        yield
    finally:
        _makers.pop()


@contextmanager
def _files(request: pytest.FixtureRequest) -> Iterator[None]:
    def make(keeps: bool) -> str:
        path = request.getfixturevalue("tmp_path") / f"{uuid4().hex}.db"
        return f"sqlite:///{path}?synchronous=OFF" if keeps else MEMORY

    with _made(make):
        yield


@contextmanager
def _schemas(server: str) -> Iterator[None]:
    names: list[str] = []

    def make(_: bool) -> str:
        names.append(f"story_{uuid4().hex}")
        return f"{server}?schema={names[-1]}"

    with _made(make):
        yield
    if not names:
        pytest.fail("this test asks for no store: mark it with `only_on`")
    asyncio.run(_drop(server, names))


async def _drop(server: str, names: list[str]) -> None:
    """Drops schemas. Fails when somebody still works in one: whoever left an application open is to be found."""
    admin = await asyncpg.connect(server)
    try:
        await admin.execute(f"SET lock_timeout = '{SECONDS}s'; SET client_min_messages = warning")
        for name in names:  # one by one, because each table takes a lock, and a transaction has few
            await admin.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    finally:
        await admin.close()
