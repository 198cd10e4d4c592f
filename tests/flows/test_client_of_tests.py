"""The client for tests finds the interfaces of an application where they are, and says which it lacks."""

from typing import Any

import pytest

from crudite import App, Record, Rest, Sse, WebSocket, allow
from crudite.testing import Client
from tests.services.stores import fresh_store


class Task(Record[int], rules=allow.everyone, path="task"):
    title: str


def client(*interfaces: Any) -> Client:
    return Client(App(Task, store=fresh_store(), interfaces=list(interfaces)))


@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_a_live_view_is_told_by_whatever_prefix_and_path_the_interfaces_have(over: Any) -> None:
    streams = [Sse("/wheel", style="wheelhouse"), Sse("/v2")]
    interfaces = [Rest(style="booster"), *streams, WebSocket("/socket")]
    async with client(*interfaces) as somebody, somebody.live("task", over=over) as view:
        await view.ready()
        await somebody.post("/task", {"title": "a"})
        assert [row["title"] for row in await view.until(bool)] == ["a"]


async def test_a_live_view_says_which_interface_there_is_not() -> None:
    async with client(Rest(), Sse(style="wheelhouse")) as somebody:
        with pytest.raises(LookupError, match=r"have no Sse\(\) of today's style"):
            async with somebody.live("task"):
                pass
        with pytest.raises(LookupError, match=r"have no WebSocket\(\)"):
            async with somebody.live("task", over="websocket"):
                pass
