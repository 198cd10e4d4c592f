"""What a WebSocket is told at an address that has none."""

import pytest

from crudite import App, Record, allow
from crudite.testing import Client
from tests.services.stores import fresh_store


class Note(Record[int], rules=allow.everyone):
    text: str = ""


@pytest.mark.parametrize("path", ["/nothing", "/notes", "/notes/7"])
async def test_a_websocket_to_an_address_without_one_is_closed_before_it_is_accepted(path: str) -> None:
    async with Client(App(Note, store=fresh_store())) as client:
        with pytest.raises(ConnectionRefusedError, match=r"'websocket\.close', 'code': 1008"):
            async with client.websocket(path):
                pass
