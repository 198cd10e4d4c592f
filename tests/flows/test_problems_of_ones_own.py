"""Problems that an application makes up itself are told over every interface, in every style; what is none is said."""

from typing import Any

import pytest

from crudite import App, Conflict, Invalid, Problem, Record, Request, Rest, WebSocket, allow, before
from crudite.testing import Client, Refusal
from tests.services.stores import fresh_store


class PaymentRequired(Problem):
    """The account is empty."""

    status, code, title = 402, "payment_required", "Payment required"


class Task(Record[int], rules=allow.everyone):
    title: str

    @before("create")
    def refuse(self) -> None:
        if self.title == "dear":
            raise PaymentRequired("Fill it up first.", balance=0)
        if self.title == "bare":
            raise Problem("It is as it is.")


def app() -> App:
    made = App(Task, store=fresh_store(), interfaces=[Rest(), Rest("/old", style="booster"), WebSocket()])

    @made.create("buy")
    def buy(request: Request) -> None:
        raise PaymentRequired("Fill it up first.", headers={"x-balance": "0"})

    return made


async def test_a_problem_of_ones_own_has_its_own_status_code_and_title_everywhere() -> None:
    async with Client(app()) as client, client.websocket() as socket:
        refused = await client.post("/tasks", {"title": "dear"})
        assert (refused.status, refused.headers["content-type"]) == (402, "application/problem+json")
        told = refused.json
        assert (told["status"], told["code"], told["title"], told["detail"], told["balance"]) == (
            402,
            "payment_required",
            "Payment required",
            "Fill it up first.",
            0,
        )
        old = await client.post("/old/tasks", {"title": "dear"})
        assert (old.status, old.text) == (402, "paymentrequired")
        bought = await client.post("/buy", {})
        assert (bought.status, bought.json["code"], bought.headers["x-balance"]) == (402, "payment_required", "0")
        with pytest.raises(Refusal) as refusal:
            await socket.call("tasks.create", {"data": {"title": "dear"}})
        assert (refusal.value.status, refusal.value.problem["code"]) == (402, "payment_required")
        assert (await client.get("/tasks")).json == []


async def test_the_base_of_all_problems_is_a_fault_of_the_server() -> None:
    async with Client(app()) as client:
        refused = await client.post("/tasks", {"title": "bare"})
        assert (refused.status, refused.json["code"]) == (500, "unexpected")


@pytest.mark.only_on("sqlite", reason="a problem asks no store")
async def test_a_detail_that_is_no_text_is_refused_where_it_is_raised() -> None:
    details: list[Any] = [{"title": "odd"}, ["odd"], 7, None]
    for kind in (Invalid, Conflict, PaymentRequired):
        for detail in details:
            with pytest.raises(TypeError, match=rf"{kind.__name__} takes a sentence .* faults=\[Fault\("):
                kind(detail)
