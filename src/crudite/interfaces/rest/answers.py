"""HTTP's conditions, preferences and links (RFC 9110, 7240, 8288), and the exchange that they belong to."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeAlias
from urllib.parse import parse_qsl, urlencode

from crudite.changes import NO_VERSION
from crudite.errors import Malformed, NotAcceptable, Problem, UnsupportedMediaType
from crudite.ids import new_request_id
from crudite.interfaces.base import Host, Receive, Scope, Send
from crudite.interfaces.forgery import refuse_forgery
from crudite.interfaces.http import (
    NO_HEADERS,
    ClientGone,
    Headers,
    cookie,
    credentials_of,
    parameters_of,
    read_headers,
    send_problem,
    send_response,
)
from crudite.interfaces.marks import names_mark, pass_mark
from crudite.interfaces.styles import DEFAULT, JSON_TYPE, Asked, Style
from crudite.interfaces.tickets import refuse_ticket
from crudite.limiting import rate_fields
from crudite.messages import Credentials, Listed, Response, Written
from crudite.resources.declaring.definition import Definition, Placement
from crudite.resources.request import Request, Shows

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

_ENTITY_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_VERSION_TAG = re.compile(r'"v([0-9]{1,18})"')
JSON = (b"content-type", JSON_TYPE)
OPEN = [(b"cache-control", b"no-cache")]
_PRIVATE = [(b"cache-control", b"private, no-cache"), (b"vary", b"Cookie, Authorization")]


class Exchange:
    """One HTTP request and the way to answer it."""

    def __init__(self, host: Host, scope: Scope, receive: Receive, send: Send, style: Style = DEFAULT) -> None:
        self.scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        self.headers: Headers = read_headers(scope)
        self.request_id = self.headers.get("x-request-id", "")[:64] or new_request_id()
        self.style = style
        self.asked: Asked | None = None  # of a resource, once it is known
        self._host = host
        self._send = send
        self._told = NO_HEADERS  # of the rates that hold for it
        self._cookies: RawHeaders = []
        self._caching = _PRIVATE if host.is_private else OPEN

    def read_credentials(self) -> Credentials:
        """What the request shows of who asks."""
        return credentials_of(self.headers, self.scope)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The URL's parameters."""
        return parameters_of(self.scope)

    async def perform(self, request: Request) -> Response:
        """What comes of a request. Raises Problem."""
        request.style = self.style.name
        request.shows = self.shows
        try:
            return await self._host.pipeline(request)
        finally:
            given, origins = request.signs_in, self._host.origins
            if given is not None and (given.from_elsewhere or not origins.is_foreign(self.scope, self.headers)):
                self._cookies = [cookie(given, self.scope)]
            if request.verdicts:
                self._told = rate_fields(request.verdicts)

    def asks(self, place: Placement, text: str | None = None) -> Asked:
        """What it asks of a resource at one of its places; `text` is the key in its path."""
        parent = place.above[-1][1] if place.above else None
        told = (self.method, self.parameters, self.headers)
        asked = self.asked = Asked(self._host.definitions, place.definition, *told, text, parent)
        return asked

    @property
    def shows(self) -> Shows | None:
        """Which fields its style shows of records in what application code answers; None for all of them."""
        if self.style is DEFAULT:
            return None

        def shows(definition: Definition) -> Collection[str]:
            asked = Asked(self._host.definitions, definition, self.method, self.parameters, self.headers)
            names = self.style.shows(asked)
            return definition.schema.fields if names is None else names

        return shows

    async def answer(self, status: int, text: str | None, headers: RawHeaders, kind: bytes = JSON_TYPE) -> None:
        """Answers with a text, of JSON unless it is of another kind, or with nothing."""
        told = [(name.encode(), value.encode()) for name, value in self._told.items()] if self._told else ()
        head = [*headers, *self._cookies, *self._caching, *told]
        if text is None:
            status = 204 if status == 200 else status
            return await send_response(self._send, status, head)
        typed = [(b"content-type", kind), *head]
        await send_response(self._send, status, typed, text.encode(), with_body=self.method != "HEAD")

    def after(self, written: Written, minimal: bool | None) -> RawHeaders:
        """The headers of a write: version, mark, the preference that was applied."""
        headers: RawHeaders = []
        if written.versions and not written.many and written.action != "delete":
            headers.append((b"etag", f'"v{written.versions[0]}"'.encode()))
        if written.mark is not None:
            headers.append((b"crudite-after", written.mark.encode()))
        if minimal is not None:
            applied = b"return=minimal" if minimal else b"return=representation"
            headers.append((b"preference-applied", applied))
        return headers

    async def fail(self, problem: Problem) -> None:
        """Answers with a problem."""
        self._host.admission.note(problem)
        tell = partial(self.style.problem, asked=self.asked)
        await send_problem(self.scope, self._send, problem, self.request_id, self._told, tell)


async def serve(
    host: Host,
    scope: Scope,
    receive: Receive,
    send: Send,
    endpoint: Callable[[Exchange, tuple[str, ...]], Awaitable[None]],
    keys: tuple[str, ...],
    style: Style = DEFAULT,
) -> None:
    """Answers one request by an endpoint, in a style; whatever problem it raises becomes the answer."""
    exchange = Exchange(host, scope, receive, send, style)
    try:
        await refuse_forgery(host, exchange.method, scope, exchange.headers)
        refuse_ticket(scope)
        if names_mark(scope):
            await pass_mark(host, scope)
        await endpoint(exchange, keys)
    except Problem as problem:
        await exchange.fail(problem)
    except ClientGone:
        return


def check_content_type(headers: Mapping[str, str], *accepted: str) -> None:
    """Raises UnsupportedMediaType for a body that is said to be in another form."""
    given = headers.get("content-type", accepted[0])
    if given not in accepted:
        kind, _, rest = given.partition(";")
        if kind.strip().lower() not in accepted:
            text = f"The body must be {' or '.join(accepted)}, not {kind.strip()!r}."
            raise UnsupportedMediaType(text, headers={"accept": ", ".join(accepted)})
        charset = rest.partition("charset=")[2].strip(' "').lower()
        if charset not in ("", "utf-8", "utf8"):
            raise UnsupportedMediaType(f"The body must be UTF-8, not {charset!r}.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.", headers={"accept-encoding": "identity"})


def check_accept(headers: Mapping[str, str]) -> None:
    """Raises NotAcceptable for a client that does not take JSON."""
    accept = headers.get("accept")
    if not accept or "*/*" in accept:
        return
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if not kinds & {"application/json", "application/*", "application/problem+json"}:
        raise NotAcceptable("This answers in application/json.")


def preference(headers: Mapping[str, str]) -> bool | None:
    """Whether `Prefer` asks for a minimal answer (RFC 7240); None when it says nothing.

    With `handling=strict` an unknown preference raises Malformed.
    """
    prefer = headers.get("prefer")
    if not prefer:
        return None
    wanted = {part.partition(";")[0].strip().lower().replace(" ", "") for part in prefer.split(",")}
    known = {"return=minimal", "return=representation", "handling=strict", "handling=lenient"}
    if "handling=strict" in wanted and wanted - known:
        raise Malformed(f"Prefer: {', '.join(sorted(wanted - known))} is not supported.")
    if "return=minimal" in wanted:
        return True
    return False if "return=representation" in wanted else None


def is_not_modified(headers: Mapping[str, str], etag: str) -> bool:
    """Whether `If-None-Match` holds the current entity tag (weak comparison, RFC 9110, section 13.1.2)."""
    given = headers.get("if-none-match")
    if given is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return "*" in tags or etag in tags


def entity_tags(headers: Mapping[str, str], name: str) -> Sequence[str] | None:
    """The entity tags of `if-match` or `if-none-match` (RFC 9110, section 8.8.3), weak ones with their `W/`; `*`
    stands alone. None without the header. Raises Malformed for what is no list of them."""
    given = headers.get(name)
    if given is None:
        return None
    tags = [tag.strip() for tag in given.split(",")]
    if tags != ["*"] and not all(_ENTITY_TAG.fullmatch(tag) for tag in tags):
        raise Malformed(f'{name} takes entity tags, such as "v17", or *.')
    return tags


def version_in(tag: str) -> int:
    """The version in a strong entity tag of a record; one that no record has for any other tag."""
    found = _VERSION_TAG.fullmatch(tag)
    return int(found[1]) if found else NO_VERSION


def page_links(listed: Listed, query_string: bytes) -> RawHeaders:
    """The `Link` header of a page (RFC 8288), with references relative to the request's own URL."""
    if listed.next is None and listed.prev is None and listed.first:
        return []
    query = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in query if name not in ("cursor", "offset")]
    cursors = (("next", listed.next), ("prev", listed.prev))
    links = [f'<?{urlencode([*kept, ("cursor", cursor)])}>; rel="{name}"' for name, cursor in cursors if cursor]
    if not listed.first:
        links.append(f'<?{urlencode(kept)}>; rel="first"')
    return [(b"link", ", ".join(links).encode())]
