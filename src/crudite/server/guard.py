"""What our server bears from whoever connects: how many connections of one address, how large a head, and how slow.

uvicorn has none of these limits, and its parser keeps as much of a head as comes. They are the server's affair, since
they hold before there is a request: an application behind another server has those of that one.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import Any, Protocol


class Bounds(Protocol):
    """How much is borne; see `crudite.Limits`."""

    @property
    def connections(self) -> int: ...
    @property
    def sockets(self) -> int: ...
    @property
    def url(self) -> int: ...
    @property
    def head(self) -> int: ...
    @property
    def headers(self) -> int: ...
    @property
    def head_time(self) -> float: ...
    @property
    def body_time(self) -> float: ...
    @property
    def take_time(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is ended: the limit that was passed, and what is answered before, if anything is."""

    limit: str
    status: HTTPStatus | None = None

    @property
    def answer(self) -> bytes:
        """The whole answer."""
        if self.status is None:
            return b""
        text = f"{self.status.phrase}.\n".encode()
        head = f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        return f"{head}content-length: {len(text)}\r\nconnection: close\r\n\r\n".encode() + text


LONG_URL = Refusal("url", HTTPStatus.REQUEST_URI_TOO_LONG)
LARGE_HEAD = Refusal("head", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
MANY_HEADERS = Refusal("headers", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
MANY_SOCKETS = Refusal("sockets", HTTPStatus.SERVICE_UNAVAILABLE)
OTHER_TARGET = Refusal("target", HTTPStatus.BAD_REQUEST)
SILENT = Refusal("head_time")
SLOW_HEAD = Refusal("head_time", HTTPStatus.REQUEST_TIMEOUT)
SLOW_BODY = Refusal("body_time", HTTPStatus.REQUEST_TIMEOUT)
TAKES_NOTHING = Refusal("take_time")


class Guard:
    """The bounds of one server, and who is connected. `passed` counts whoever went beyond, `counts_as` tells what an
    address counts as."""

    def __init__(self, bounds: Bounds, passed: Counter[str], counts_as: Callable[[str | None], str]) -> None:
        self.bounds = bounds
        self._passed = passed
        self._counts_as = counts_as
        self._sockets: Counter[str] = Counter()

    def enter(self, address: str | None, trusted: Any) -> str | None:
        """Takes a place for a connection of an address; its name, for `leave`. None where there is no more. Proxies
        that are trusted have as many as they want."""
        if address is None or is_trusted(address, trusted):
            return ""
        name, bounds = self._counts_as(address), self.bounds
        if self._sockets[name] >= max(bounds.sockets, bounds.connections):
            return None
        self._sockets[name] += 1
        return name

    def leave(self, name: str) -> None:
        """Gives a place back."""
        if name:
            self._sockets[name] -= 1
            if not self._sockets[name]:
                del self._sockets[name]

    def note(self, refusal: Refusal) -> Refusal:
        """Counts a refusal."""
        self._passed[refusal.limit] += 1
        return refusal


def is_trusted(address: str, trusted: Any) -> bool:
    """Whether an address is one of the proxies that may say where a request comes from: texts with commas between, or
    a list of them, with `*` for all (`forwarded_allow_ips` of uvicorn)."""
    names = trusted.split(",") if isinstance(trusted, str) else list(trusted or ())
    for name in (one.strip() for one in names):
        if name in ("*", address):
            return True
        try:
            if "/" in name and ip_address(address) in ip_network(name, strict=False):
                return True
        except ValueError:
            continue
    return False
