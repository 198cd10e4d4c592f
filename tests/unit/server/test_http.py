"""What our HTTP protocol builds on, and the parts of it that have no story of their own."""

import hashlib
import inspect

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

from crudite.server.http import chunked

LOOKED_AT = {
    HttpToolsProtocol: "18fdf324b11bf160",
    RequestResponseCycle: "e67d470d435dcc1c",
    FlowControl: "126debcdaa894c83",
    ServerState: "f2260fbf10154746",
    Server.on_tick: "60ea49b06ccf68c1",
}
"""The sources that `server.http` was written against. When uvicorn changes one: read what has changed, mend ours, and
write the new digest here."""


def test_uvicorn_is_the_one_that_ours_builds_on() -> None:
    changed = {
        what.__qualname__: digest
        for what, known in LOOKED_AT.items()
        if (digest := hashlib.sha256(inspect.getsource(what).encode()).hexdigest()[:16]) != known
    }
    assert changed == {}


def test_parts_of_a_body_are_one_chunk_and_nothing_ends_no_body() -> None:
    assert chunked([b"hello", b" ", b"world!"]) == b"c\r\nhello world!\r\n"
    assert chunked([b"", b""]) == b""
