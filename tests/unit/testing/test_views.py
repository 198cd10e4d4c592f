"""The live view in memory, where it is cut off: it goes on from what it holds, or begins anew."""

from typing import Literal

import pytest

from crudite import App, LiveLimits, Record, allow
from crudite.interfaces.base import Limits
from crudite.testing import Client, Line

OVER = pytest.mark.parametrize("over", ["sse", "websocket"])


class Note(Record[int], rules=allow.everyone):
    title: str


@OVER
async def test_one_that_is_cut_off_between_a_reset_and_its_set_begins_anew(over: Literal["sse", "websocket"]) -> None:
    app = App(Note, store="sqlite:///:memory:", limits=Limits(live=LiveLimits(events=1)))
    line = Line()
    async with Client(app) as client:
        await app.records.create(Note, title="a")
        async with client.live("notes", over=over, line=line) as view:
            await view.ready()
            line.cut_after(**{"events" if over == "sse" else "messages": 1})
            async with app.records.batch() as batch:
                batch.create(Note, id=2, title="b")
                batch.create(Note, id=3, title="c")
            with pytest.raises(ConnectionResetError):
                await view.until(lambda rows: len(rows) == 3)
        assert [kind for kind, _ in view.events][-1] == "reset"
        async with app.records.batch() as batch:  # so that nothing differs from where it was before
            batch.delete(Note, 2)
            batch.delete(Note, 3)
        await app.settled()
        async with client.live("notes", over=over, resume=view) as again:
            assert [row["title"] for row in await again.ready()] == ["a"]
            assert not again.resumed
