"""The ASGI extension through which our server lets a stream write to its transport: `crudite.transport`.

`scope["extensions"]["crudite.transport"]` holds a sink for the one stream of that scope: a WebSocket from its
accept on, or the body of an HTTP response from its `http.response.start` on. Whoever has begun to write to the
sink sends no more messages of the stream through `send`, except the one that ends it. Servers that do not know the
extension offer no sink, and the same bytes go through `send`.
"""

from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from typing import Any, Protocol, TypeAlias

EXTENSION = "crudite.transport"

Framing: TypeAlias = Callable[[Sequence[bytes]], bytes]
"""Makes the bytes on the wire of whole messages. It depends on the kind of stream only: sinks with the same
framing (by identity) share what it made."""


class Writer(Protocol):
    """Whoever writes to a sink, and is told by it what becomes of the transport."""

    def resume(self) -> None:
        """The transport takes more again."""

    def lose(self) -> None:
        """The connection is lost; nothing that is written arrives any more."""


class Sink(Protocol):
    """Where one stream writes.

    `is_writable`: the transport's write buffer is below its high-water mark. Writing beyond it is no error, but
    piles up; `writer.resume()` tells when it is below its low-water mark again.

    `is_lost`: nothing that is written arrives any more. `writer.lose()` tells when that begins, also while what was
    received before is still being worked on; whoever becomes the writer afterwards is told by nobody.
    """

    framing: Framing
    is_writable: bool
    is_lost: bool
    writer: Writer | None

    def write(self, framed: bytes, /) -> None:
        """Hands framed messages to the transport, at once; nothing when the stream is over or the client gone."""


class Tasks(Protocol):
    """Where work is begun that somebody waits for, such as an `asyncio.TaskGroup`."""

    def create_task(self, work: Coroutine[Any, Any, None], /) -> Any:
        """Begins it."""


class WebSocketSink(Sink, Tasks, Protocol):
    """The sink of a WebSocket. Its client's leaving comes twice: at once by `lose`, since who receives may be waiting
    for the client, and by `receive`, behind what the client sent before."""

    @property
    def has_received(self) -> bool:
        """Whether `receive` returns at once."""

    def adopt(self, read: Callable[[], Coroutine[Any, Any, None]], /) -> None:
        """From now on the connection outlives the application's call, and needs no task while nothing happens.

        Whenever something has come, `read` is called and run as a task, one at a time; it is to `receive` for as long
        as `has_received`. The last that comes is a disconnect. The server waits for these tasks before it stops.
        """

    def end(self, code: int, /) -> None:
        """Closes the WebSocket behind what has been written; `receive` tells of a disconnect then."""


def sink_of(scope: MutableMapping[str, Any]) -> Any:
    """The sink of a stream's scope; None where the server has none."""
    return (scope.get("extensions") or {}).get(EXTENSION)
