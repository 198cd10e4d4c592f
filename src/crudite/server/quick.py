"""What our server asks an application before it takes the ordinary way: is there a quick answer?

A quick answer is the bytes that the ordinary way would give, without its machinery. Whatever is not plain (a header
that asks for more, a path that is written unusually, a problem) has none, and takes the ordinary way from its start.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """An answer as it is sent: its status, its header lines with the empty line behind them, its body."""

    status: int
    head: bytes
    body: bytes


class Asked(NamedTuple):
    """What the headers of a plain request say. `length` is that of its body, None without one; `none_match` is
    `If-None-Match`."""

    host: str
    none_match: str | None = None
    length: int | None = None


class Asker(Protocol):
    """Who waits for the answer to one request: a connection."""

    def respond(self, answer: Answer | None, /) -> None:
        """Takes the answer, once; None says that the ordinary way is to be taken after all, and nothing done yet."""
        ...


class Quick(Protocol):
    """An application's quick answers."""

    def recognize(self, headers: RawHeaders) -> Asked | None:
        """What the headers of a request (names in lower case) say; None where it must take the ordinary way."""
        ...

    def ask(self, method: bytes, target: bytes, body: bytes, asked: Asked, server: str | None, asker: Asker) -> bool:
        """Asks for the answer to a request, sent to a server at an address. False when there is none; else the
        asker hears, soon and not before this returns."""
        ...
