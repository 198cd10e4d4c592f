"""What every interface over HTTP needs: reading bodies, sending answers and problems, and cookies."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from email.utils import format_datetime
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from crudite.errors import Fault, Malformed, Problem, TooLarge
from crudite.interfaces.base import Receive, Scope, Send, Tell, Told
from crudite.messages import Credentials, SignIn
from crudite.server.quick import Answer

Headers = dict[str, str]
RawHeaders: TypeAlias = Iterable[tuple[bytes, bytes]]

NO_HEADERS: Mapping[str, str] = {}
SHOWN = "crudite.credentials"
"""Where a scope holds credentials that do not come with the request itself."""
_COMMON = ((b"x-content-type-options", b"nosniff"),)


class ClientGone(Exception):
    """The client went away before the request was read; there is nobody to answer."""


def read_headers(scope: Scope) -> Headers:
    """The headers by lower-case name; repeated ones are joined by commas (RFC 9110, section 5.3).

    They are read once and kept in the scope; servers give the names in lower case (ASGI).
    """
    headers: Headers | None = scope.get("crudite.headers")
    if headers is None:
        headers = scope["crudite.headers"] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def credentials_of(headers: Mapping[str, str], scope: Scope) -> Credentials:
    """What the request shows of who asks: bearer token, cookies, headers, address; or what it has shown elsewhere."""
    shown: Credentials | None = scope.get(SHOWN)
    if shown is not None:
        return shown
    kind, _, token = headers.get("authorization", "").partition(" ")
    client = scope.get("client")
    return Credentials(
        token=token.strip() if kind.lower() == "bearer" and token.strip() else None,
        cookies=_cookies(headers.get("cookie", "")),
        headers=headers,
        address=client[0] if client else None,
    )


@contextmanager
def suppress_gone() -> Iterator[None]:
    """A client that goes away in the middle of a message is nothing to report (servers raise an OSError then)."""
    try:
        yield
    except* OSError:
        pass


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLarge beyond `limit` bytes, ClientGone when the client went away."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        raise _too_large(limit)
    if not message.get("more_body", False):
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
    return b"".join(parts)


def parameters_of(scope: Scope) -> list[tuple[str, str]]:
    """The URL's parameters, decoded, in order. Raises Malformed when they are not UTF-8."""
    raw = scope["query_string"]
    if not raw:
        return []
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=1000, errors="strict")
    except UnicodeDecodeError:
        raise Malformed(faults=[Fault("bad_encoding", "The URL's parameters must be UTF-8.", parameter="")]) from None
    except ValueError:
        raise Malformed("The URL has more than 1000 parameters.") from None


def url_arguments(parameters: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A handler's arguments in a URL: a repeated name is a list."""
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        given.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in given.items()}


def decode_json(body: bytes) -> Any:
    """The JSON value of a body. Raises Malformed when it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not JSON: {error}.") from error


def whole_head(status: int, headers: RawHeaders, length: int) -> list[tuple[bytes, bytes]]:
    """The headers of a whole answer with a body of so many bytes."""
    head = [*headers, *_COMMON]
    if status != 204 and status != 304:
        head.append((b"content-length", str(length).encode()))
    return head


async def send_response(
    send: Send, status: int, headers: RawHeaders, body: bytes = b"", *, with_body: bool = True
) -> None:
    """Sends a whole answer; without `with_body` (HEAD) only its head."""
    head = whole_head(status, headers, len(body))
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body if with_body else b""})


def opened_head(headers: RawHeaders) -> bytes:
    """The header lines of the same answer as they are sent, up to the number that is its body's length."""
    return b"".join([b"%b: %b\r\n" % header for header in (*headers, *_COMMON)]) + b"content-length: "


def quick_answer(status: int, headers: RawHeaders, body: bytes = b"") -> Answer:
    """The same answer for a server that asked for it (`server.quick`)."""
    lines = [b"%b: %b\r\n" % header for header in whole_head(status, headers, len(body))]
    return Answer(status, b"".join([*lines, b"\r\n"]), body)


def told_as_problem(problem: Problem, request_id: str, root: str) -> Told:
    """A problem as RFC 9457 has it."""
    return Told(problem.status, b"application/problem+json", msgspec.json.encode(problem.as_json(request_id, root)))


async def send_problem(
    scope: Scope,
    send: Send,
    problem: Problem,
    request_id: str,
    further: Mapping[str, str] = NO_HEADERS,
    tell: Tell = told_as_problem,
) -> None:
    """Sends a problem as it is told, with further headers beside its own."""
    told = tell(problem, request_id, scope.get("root_path", ""))
    headers = _problem_headers(problem, told, further)
    await send_response(send, told.status, headers, told.body, with_body=scope["method"] != "HEAD")


def quick_problem(problem: Problem, request_id: str) -> Answer:
    """The same problem for a server that asked for it (`server.quick`)."""
    told = told_as_problem(problem, request_id, "")
    return quick_answer(told.status, _problem_headers(problem, told, NO_HEADERS), told.body)


def _problem_headers(problem: Problem, told: Told, further: Mapping[str, str]) -> RawHeaders:
    headers = [(b"cache-control", b"no-store")]
    if told.kind is not None:
        headers.insert(0, (b"content-type", told.kind))
    own = {**further, **problem.headers}
    return headers + [(name.encode(), value.encode("latin-1", "replace")) for name, value in own.items()]


def cookie(given: SignIn, scope: Scope) -> tuple[bytes, bytes]:
    """The header that gives a browser a cookie to sign in with, or takes it away (RFC 6265): out of reach of scripts
    and of other sites' forms, and for this application alone where it is mounted below a path. But `__Host-` in its
    name says that it is for the whole host; browsers take no other one (RFC 6265bis, section 4.1.3.2)."""
    path = scope.get("root_path", "").rstrip("/") or "/"
    if given.name.startswith("__Host-"):
        path = "/"
    parts = [f"{given.name}={given.token or ''}", f"Path={path}", "HttpOnly", "SameSite=Lax"]
    if given.name.startswith("__") or scope.get("scheme") == "https":
        parts.append("Secure")
    if given.token is None:
        parts.append("Max-Age=0")
    elif given.expires is not None:
        parts.append(f"Expires={format_datetime(given.expires.astimezone(UTC), usegmt=True)}")
    return b"set-cookie", "; ".join(parts).encode()


def _cookies(header: str) -> dict[str, str]:
    if not header:
        return {}
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(header)
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in cookies.items()}


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"A body has at most {limit} bytes.")
