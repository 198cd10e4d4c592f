"""What our WebSocket protocol builds on, and how messages are framed."""

import hashlib
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol
from websockets.server import ServerProtocol

from crudite.server.websocket import WebSocketProtocol, text_frames

LOOKED_AT = {
    WebSocketsSansIOProtocol: "0bbcec98938432f7",
    Protocol: "7308e632faa1a6ed",
    ServerProtocol: "0f586bb7c48fea57",
}
"""The sources that `server.websocket` was written against. When one of them changes: read what has changed, mend
ours, and write the new digest here."""


def test_uvicorn_and_websockets_are_the_ones_that_ours_builds_on() -> None:
    changed = {
        what.__qualname__: digest
        for what, known in LOOKED_AT.items()
        if (digest := hashlib.sha256(inspect.getsource(what).encode()).hexdigest()[:16]) != known
    }
    assert changed == {}


def test_the_server_is_pinned_to_the_version_that_is_tested() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"uvicorn[standard]=={version('uvicorn')}" in project["dependencies"]
    assert f"websockets=={version('websockets')}" in project["dependencies"]


async def test_a_connection_keeps_nothing_in_a_dict_of_its_own() -> None:
    config = Config(lambda: None)
    config.load()
    protocol = WebSocketProtocol(config, ServerState(), {})
    assert vars(protocol) == {}


@given(st.lists(st.binary(max_size=300), max_size=5))
@example([b"x" * size for size in (125, 126, 65_535, 65_536)])
def test_messages_are_framed_as_the_general_way_frames_them(messages: list[bytes]) -> None:
    general = [Frame(Opcode.TEXT, message).serialize(mask=False) for message in messages]
    assert text_frames(messages) == b"".join(general)


def test_the_bytes_of_a_frame_are_those_of_rfc_6455() -> None:
    assert text_frames([b"Hello"]) == b"\x81\x05Hello"  # section 5.7, a single-frame unmasked text message
    assert text_frames([b"", b"a"]) == b"\x81\x00\x81\x01a"
