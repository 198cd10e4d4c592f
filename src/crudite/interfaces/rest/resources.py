"""The routes of one resource: HTTP in, one of the six actions, HTTP out."""

from dataclasses import replace
from urllib.parse import quote, unquote

from crudite.changes import NO_VERSION
from crudite.errors import Fault, Malformed, MethodNotAllowed, PreconditionFailed
from crudite.interfaces.addresses import key_in
from crudite.interfaces.base import Host, Receive, Scope, Send
from crudite.interfaces.http import decode_json, parameters_of, read_body
from crudite.interfaces.rest.answers import (
    Exchange,
    check_accept,
    check_content_type,
    entity_tags,
    is_not_modified,
    page_links,
    preference,
    serve,
    version_in,
)
from crudite.messages import Found, Listed, Written
from crudite.query.parse import EMPTY, WrittenQuery, parse_json, parse_url
from crudite.resources.definition import Definition
from crudite.resources.request import AnyAction, Nesting, Request
from crudite.types import Key

_WRITES: dict[str, AnyAction] = {"POST": "create", "PUT": "replace", "PATCH": "update", "DELETE": "delete"}


class ResourceEndpoints:
    """The endpoints of a resource below a chain of parents."""

    def __init__(self, host: Host, definition: Definition, chain: tuple[Definition, ...]) -> None:
        self._host = host
        self._definition = definition
        self._chain = chain

    async def collection(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`GET`, `QUERY` and `POST` of the resource itself."""
        await serve(self._host, scope, receive, send, self._collection, keys)

    async def query(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`POST …/query`: QUERY for those who cannot send that method."""
        await serve(self._host, scope, receive, send, self._query, keys)

    async def item(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`GET`, `PUT`, `PATCH` and `DELETE` of one record, `GET` of several."""
        await serve(self._host, scope, receive, send, self._item, keys)

    async def history(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`GET` of who changed what of one record."""
        await serve(self._host, scope, receive, send, self._history, keys)

    async def _collection(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        match exchange.method:
            case "POST":
                await self._create(exchange, keys)
            case "QUERY":
                await self._query(exchange, keys)
            case _:
                await self._list(exchange, keys, parse_url(exchange.parameters))

    async def _query(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        check_content_type(exchange.headers, "application/json")
        body = await read_body(exchange.receive, self._host.limits.body)
        query = parse_json(decode_json(body) if body else {})
        further = parse_url(exchange.parameters)
        if further.cursor is not None:
            query = replace(query, cursor=further.cursor)
        await self._list(exchange, keys, query)

    async def _list(self, exchange: Exchange, keys: tuple[str, ...], query: WrittenQuery) -> None:
        check_accept(exchange.headers)
        request = self._request(exchange, "list", keys, query=query)
        listed = await exchange.perform(request)
        assert isinstance(listed, Listed)
        headers = page_links(listed, exchange.scope["query_string"])
        if listed.etag is not None:
            headers.append((b"etag", f'"{listed.etag}"'.encode()))
            if is_not_modified(exchange.headers, f'"{listed.etag}"'):
                return await exchange.answer(304, None, headers)
        if listed.total is not None:
            headers.append((b"x-total-count", str(listed.total).encode()))
        await exchange.answer(200, listed.json, headers)

    async def _create(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        check_content_type(exchange.headers, "application/json")
        minimal = preference(exchange.headers)
        body = await read_body(exchange.receive, self._host.limits.body)
        request = self._request(exchange, "create", keys, data=body, is_minimal=minimal is True)
        written = await exchange.perform(request)
        assert isinstance(written, Written)
        headers = exchange.after(written, minimal)
        if not written.many and written.keys:
            headers.append((b"location", self._location(exchange.scope, written.keys[0]).encode()))
        await exchange.answer(201, None if minimal else written.json, headers)

    async def _item(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        *above, text = keys
        several = _several(exchange.scope, text) if "," in text else [text]
        if exchange.method not in ("GET", "HEAD"):
            if len(several) > 1:
                raise MethodNotAllowed("Several records are written one by one, or created together.", allowed=["GET"])
            await self._write(exchange, tuple(above), text)
        elif len(several) > 1:
            await self._read_many(exchange, tuple(above), several)
        else:
            await self._read(exchange, tuple(above), text)

    async def _read(self, exchange: Exchange, above: tuple[str, ...], text: str) -> None:
        check_accept(exchange.headers)
        query = _shown_only(exchange)
        found = await exchange.perform(self._request(exchange, "read", above, key=self._key(text), query=query))
        assert isinstance(found, Found)
        etag = f'"v{found.version}"'
        headers = [(b"etag", etag.encode())] if found.version != NO_VERSION else []
        if found.shared and is_not_modified(exchange.headers, etag):
            return await exchange.answer(304, None, headers)
        await exchange.answer(200, found.json, headers)

    async def _read_many(self, exchange: Exchange, above: tuple[str, ...], texts: list[str]) -> None:
        check_accept(exchange.headers)
        request = self._request(exchange, "read", above, query=_shown_only(exchange))
        request.keys = [self._key(text) for text in texts]
        listed = await exchange.perform(request)
        assert isinstance(listed, Listed)
        await exchange.answer(200, listed.json, [])

    async def _history(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        check_accept(exchange.headers)
        *above, text = keys
        query = parse_url(exchange.parameters)
        request = self._request(exchange, "history", tuple(above), key=self._key(text), query=query)
        listed = await exchange.perform(request)
        assert isinstance(listed, Listed)
        await exchange.answer(200, listed.json, page_links(listed, exchange.scope["query_string"]))

    async def _write(self, exchange: Exchange, above: tuple[str, ...], text: str) -> None:
        action = _WRITES[exchange.method]
        body = b""
        if action != "delete":
            kinds = ("application/json", "application/merge-patch+json")
            check_content_type(exchange.headers, *kinds[: 2 if action == "update" else 1])
            body = await read_body(exchange.receive, self._host.limits.body)
        minimal = preference(exchange.headers)
        request = self._request(
            exchange, action, above, key=self._key(text), data=body, is_minimal=minimal is True,
            expect=await self._expected(exchange, above, text),
        )  # fmt: skip
        written = await exchange.perform(request)
        assert isinstance(written, Written)
        shown = None if minimal or action == "delete" else written.json
        await exchange.answer(204 if action == "delete" else 200, shown, exchange.after(written, minimal))

    async def _expected(self, exchange: Exchange, above: tuple[str, ...], text: str) -> int | None:
        """The version that the record must have by the request's preconditions (RFC 9110, section 13.2); None for
        any. Raises PreconditionFailed when they cannot be met."""
        wanted = entity_tags(exchange.headers, "if-match")
        unwanted = entity_tags(exchange.headers, "if-none-match")
        if unwanted is None and (wanted is None or len(wanted) == 1):
            return None if wanted in (None, ["*"]) else version_in(wanted[0])
        found = await exchange.perform(self._request(exchange, "read", above, key=self._key(text)))
        assert isinstance(found, Found)
        is_wanted = wanted is None or wanted == ["*"] or found.version in map(version_in, wanted)
        weakly = {tag.removeprefix("W/") for tag in unwanted or ()}
        if not is_wanted or weakly & {"*", f'"v{found.version}"'}:
            raise PreconditionFailed("The record has another version than the request is made for.")
        return found.version

    def _request(
        self, exchange: Exchange, action: AnyAction, above: tuple[str, ...], *, key: Key | None = None,
        query: WrittenQuery = EMPTY, data: bytes | None = None, expect: int | None = None, is_minimal: bool = False,
    ) -> Request:  # fmt: skip
        return Request(
            action, self._definition.path, definition=self._definition, key=key, query=query, data=data, expect=expect,
            nesting=self._nesting(above) if above else None, credentials=exchange.read_credentials,
            headers=exchange.headers, interface="rest", id=exchange.request_id, is_minimal=is_minimal,
            performers=self._host.performer,
        )  # fmt: skip

    def _key(self, text: str) -> Key:
        """The key in a path. Raises NotFound for a text that can be no key of this resource."""
        return key_in(text, self._definition)

    def _nesting(self, above: tuple[str, ...]) -> Nesting:
        return Nesting.below(
            self._definition, tuple((d, key_in(text, d)) for d, text in zip(self._chain, above, strict=True))
        )

    def _location(self, scope: Scope, key: Key) -> str:
        raw: bytes | None = scope.get("raw_path")
        path = raw.partition(b"?")[0].decode("latin-1") if raw else quote(scope["path"])
        kept = self._definition.schema.key_field.type.kind != "text"  # no other key needs quoting
        return f"{path.rstrip('/')}/{key if kept else quote(str(key), safe='')}"


def _several(scope: Scope, text: str) -> list[str]:
    """The keys in a path's last segment: separated by commas, unless those are written as %2C."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None or b"%2" not in raw:
        return text.split(",")
    last = raw.partition(b"?")[0].decode("latin-1").rstrip("/").rpartition("/")[2]
    return [unquote(part) for part in last.split(",")]


def _shown_only(exchange: Exchange) -> WrittenQuery:
    """The `fields`, `omit` and `include` of a read; a single record takes no other parameter."""
    if not exchange.scope["query_string"]:
        return EMPTY
    query = parse_url(exchange.parameters)
    given = {name.partition("[")[0] for name, _ in parameters_of(exchange.scope)} - {"fields", "omit", "include"}
    if given:
        faults = [Fault("unknown_parameter", f"{name} does not go with one record.", parameter=name) for name in given]
        raise Malformed(faults=sorted(faults, key=lambda fault: fault.detail))
    return query
