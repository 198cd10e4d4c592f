"""Hooks of a module that makes texts of all annotations are given what those of any other module are."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import pytest

from crudite import App, DeclarationError, Next, Record, Request, Response, allow, around, before
from tests.flows.worlds import client_for

if TYPE_CHECKING:
    from crudite import Request as OnlyForCheckers


async def test_what_is_provided_is_found_by_the_name_of_its_module_and_by_a_local_one() -> None:
    class Outbox(list[str]):
        pass

    class Task(Record[int], rules=allow.everyone):
        title: str

        @before("create")
        async def told(self, request: OnlyForCheckers, old: None, at: pathlib.PurePath, outbox: Outbox) -> None:
            outbox.append(f"{request.action} {self.title} {old} {at}")

        @around("delete")
        @classmethod
        async def asked(cls, request: Request, next: Next, *, outbox: Outbox) -> Response:
            outbox.append(request.action)
            return await next()

    kept = Outbox()
    provide = {Outbox: lambda: kept, pathlib.PurePath: lambda: pathlib.PurePath("here")}
    async with client_for(Task, provide=provide) as client:
        await client.post("/tasks", {"title": "a"})
        await client.delete("/tasks/1")
    assert kept == ["create a None here", "delete"]


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_what_is_not_provided_is_refused_also_in_the_place_of_the_old_record() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @before("create")
        async def told(self, request: Request, at: pathlib.PurePath) -> None:
            pass

    with pytest.raises(DeclarationError, match=r"Task\.told: nothing is given for 'at'"):
        App(Task, store="sqlite:///:memory:")
