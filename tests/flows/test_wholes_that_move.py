"""Values that occur once and go from record to record when all of a parent are set as a whole."""

from typing import Any

import pytest

from crudite import Field, Many, Parent, Record, allow
from crudite.testing import Client
from tests.flows.worlds import client_for


class Tour(Record[str], rules=allow.everyone):
    stops: Many["Stop"] = Field(settable=True)


class Stop(Record[int], rules=allow.everyone, unique=[("tour", "place")]):
    tour: Parent[Tour]
    place: int
    code: str | None = Field(default=None, unique=True)


async def filled(client: Client) -> None:
    await client.post("/tours", [{"id": "a"}, {"id": "b"}])
    await client.put("/tours/a/stops", [{"place": n, "code": f"c{n}"} for n in (1, 2, 3)])
    await client.post("/tours/b/stops", {"place": 9, "code": "c9"})


def at(*stops: tuple[int | None, int, str | None]) -> list[Any]:
    return [{**({"id": key} if key is not None else {}), "place": place, "code": code} for key, place, code in stops]


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (at((None, 1, "n"), (1, 2, "c1"), (2, 3, "c2"), (3, 4, "c3")), [5, 1, 2, 3]),
        (at((3, 4, "c3"), (2, 3, "c2"), (1, 2, "c1"), (None, 1, "n")), [3, 2, 1, 5]),
        (at((2, 1, "c1"), (3, 2, "c2")), [2, 3]),
        (at((3, 2, "c2"), (2, 1, "c1")), [3, 2]),
        (at((1, 1, "c2"), (2, 2, "c3"), (3, 3, None)), [1, 2, 3]),
        ([4, *at((1, 2, "c2"), (2, 3, "c3"), (3, 4, "c4"))], [4, 1, 2, 3]),
    ],
    ids=[
        "in front",
        "from behind",
        "over a gap",
        "over a gap, from behind",
        "one value of two",
        "beside one from afar",
    ],
)
async def test_all_values_move_by_one_in_whichever_order_they_are_told(body: Any, keys: list[int]) -> None:
    async with client_for(Tour, Stop) as client:
        await filled(client)
        async with client.live("stops", where={"tour": "a"}) as view:
            await view.ready()
            answer = await client.put("/tours/a/stops", body)
            assert (answer.status, [stop["id"] for stop in answer.json]) == (200, keys)
            for told, stop in zip(body, answer.json, strict=True):
                assert told == 4 or (told["place"], told["code"]) == (stop["place"], stop["code"])
            by_key = sorted(answer.json, key=lambda stop: int(stop["id"]))
            assert (await client.get("/tours/a/stops")).json == by_key
            await view.until(lambda stops: sorted(stops, key=lambda stop: int(stop["id"])) == by_key)


async def test_many_values_move_in_a_long_row() -> None:
    async with client_for(Tour, Stop) as client:
        await client.post("/tours", {"id": "a"})
        await client.put("/tours/a/stops", at(*[(None, n, None) for n in range(1000)]))
        moved = await client.put("/tours/a/stops", at(*[(n + 1, n + 1, None) for n in range(1000)]))
        assert (moved.status, [stop["place"] for stop in moved.json]) == (200, [*range(1, 1001)])


async def test_records_that_exchange_their_values_are_refused_and_nothing_is_changed() -> None:
    async with client_for(Tour, Stop) as client:
        await filled(client)
        before = (await client.get("/tours/a/stops")).json
        refused = await client.put("/tours/a/stops", at((1, 2, None), (2, 1, None), (3, 3, "c3")))
        assert (refused.status, refused.json["code"]) == (409, "not_unique")
        assert (await client.get("/tours/a/stops")).json == before
