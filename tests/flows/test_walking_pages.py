"""Walking a list by its cursors while others write: what was there all the time comes exactly once."""

import asyncio
import re
from typing import Any
from urllib.parse import unquote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crudite import Record, allow
from crudite.testing import Client
from tests.flows.worlds import client_for

STAYING = 12
"""So many records are there all the time and keep their place."""


class Entry(Record[int], rules=allow.everyone, path="entries"):
    rank: int
    note: str | None = None


ranks = st.integers(0, 4)
notes = st.none() | st.sampled_from(["", "a", "A", "ä", "b"])
entries = st.tuples(ranks, notes)
writes = st.lists(
    st.tuples(st.just("create"), st.integers(0, 99), entries)
    | st.tuples(st.just("move"), st.integers(0, 99), entries)
    | st.tuples(st.just("delete"), st.integers(0, 99), entries),
    max_size=4,
)


def following(headers: Any, which: str) -> str | None:
    """The cursor of a neighbouring page, from the header `Link`."""
    found = re.search(rf'cursor=([^&>]*)[^>]*>; rel="{which}"', headers.get("link", ""))
    return unquote(found[1]) if found else None


async def write(client: Client, others: list[int], what: str, which: int, given: tuple[int, str | None]) -> None:
    """Others create a record, or move or delete one of theirs."""
    rank, note = given
    if what == "create":
        others.append((await client.post("/entries", {"rank": rank, "note": note})).json["id"])
    elif others and what == "move":
        await client.patch(f"/entries/{others[which % len(others)]}", {"rank": rank, "note": note})
    elif others:
        await client.delete(f"/entries/{others.pop(which % len(others))}")


async def walk(
    client: Client, staying: set[int], others: list[int], sort: str, limit: int, meanwhile: list[Any], back: bool
) -> None:
    """Walks to the end, and if `back` from there to the beginning, with writes before each step."""
    turns = iter(meanwhile)
    way = f"/entries?sort={sort}&limit={limit}"
    earlier: list[int] = []  # what came before the last page
    for rel in ("next", "prev") if back else ("next",):
        seen: list[int] = []
        url: str | None = way
        while url is not None:
            answer = await client.get(url)
            assert answer.status == 200
            page = [row["id"] for row in answer.json]
            earlier = seen if rel == "next" else earlier
            seen = [*seen, *page] if rel == "next" else [*page, *seen]
            way = url
            for one in next(turns, ()):
                await write(client, others, *one)
            cursor = following(answer.headers, rel)
            url = None if cursor is None else f"/entries?sort={sort}&limit={limit}&cursor={cursor}"
        place = {row["id"]: n for n, row in enumerate((await client.get(f"/entries?limit=200&sort={sort}")).json)}
        met, whole = [one for one in seen if one in staying], sorted(staying, key=lambda one: place[one])
        if rel == "next":
            assert met == whole
        else:  # what has been moved behind the page on which the way back begins is not on it
            assert met == whole[: len(met)]
            assert staying.intersection(earlier) <= set(met)


async def test_what_is_there_all_the_time_comes_exactly_once_whatever_others_write() -> None:
    async with client_for(Entry) as client:

        async def told(kept: Any, further: Any, sort: str, limit: int, meanwhile: Any, back: bool) -> None:
            everybody = (await client.get("/entries?limit=200")).json
            for row in everybody:
                await client.delete(f"/entries/{row['id']}")
            made = await client.post("/entries", [{"rank": rank, "note": note} for rank, note in kept])
            others: list[int] = []
            for rank, note in further:
                others.append((await client.post("/entries", {"rank": rank, "note": note})).json["id"])
            await walk(client, {row["id"] for row in made.json}, others, sort, limit, meanwhile, back)

        loop = asyncio.get_running_loop()

        @settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=80)
        @given(
            kept=st.lists(entries, min_size=STAYING, max_size=STAYING),
            further=st.lists(entries, max_size=8),
            sort=st.sampled_from(["rank", "-rank", "note,rank", "-note", "rank,-note", "id", "-id"]),
            limit=st.integers(1, 7),
            meanwhile=st.lists(writes, max_size=12),
            back=st.booleans(),
        )
        def holds(**drawn: Any) -> None:
            asyncio.run_coroutine_threadsafe(told(**drawn), loop).result(60)

        await asyncio.to_thread(holds)
