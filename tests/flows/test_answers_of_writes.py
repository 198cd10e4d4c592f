"""What a write answers is what a read right after it gives, also where further writes of its transaction change the
same record again."""

from typing import Any

import pytest

from crudite import Field, Many, Record, Ref, Request, after, allow, before
from tests.flows.worlds import client_for


class Node(Record[str], rules=allow.everyone):
    up: Ref["Node | None"] = Field(default=None, on_delete="clear")
    kids: Many["Node"] = Field(by="up", settable=True)
    title: str = ""
    steps: int = 0

    @before("create")
    async def go_on(self, request: Request) -> None:
        if self.title == "again":
            request.batch.update(Node, self.id, steps=7)

    @after("create")
    async def go_further(self, request: Request) -> None:
        if self.title == "later":
            await request.records.update(Node, self.id, title="latest")


@pytest.mark.parametrize("body", [{"title": "again"}, {"title": "later"}, {"kids": ["r"]}])
async def test_what_is_answered_to_a_create_is_what_a_read_after_it_gives(body: dict[str, Any]) -> None:
    async with client_for(Node) as client:
        await client.post("/nodes", {"id": "r"})
        written = await client.post("/nodes", {"id": "c", **body})
        read = await client.get("/nodes/c")
        assert (written.status, written.json, written.headers["etag"]) == (201, read.json, read.headers["etag"])
        many = await client.post("/nodes", [{"id": "d", **body}, {"id": "e"}])
        assert many.json == (await client.get("/nodes/d,e")).json


@pytest.mark.parametrize("body", [{"kids": ["c"]}, {"kids": ["r"]}, {"kids": ["c", "r"], "up": "c"}])
async def test_what_is_answered_to_an_update_is_what_a_read_after_it_gives(body: dict[str, Any]) -> None:
    async with client_for(Node) as client:
        await client.post("/nodes", [{"id": "r"}, {"id": "c", "up": "r"}])
        written = await client.patch("/nodes/c", body)
        read = await client.get("/nodes/c")
        assert (written.status, written.json, written.headers["etag"]) == (200, read.json, read.headers["etag"])
        minimal = await client.patch("/nodes/c", {"kids": []}, headers={"prefer": "return=minimal"})
        assert (minimal.status, minimal.headers["etag"]) == (204, (await client.get("/nodes/c")).headers["etag"])
