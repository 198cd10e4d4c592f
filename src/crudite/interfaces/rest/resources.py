"""The routes of one resource: HTTP in, one of the six actions, HTTP out."""

from dataclasses import replace
from urllib.parse import quote

from crudite.changes import NO_VERSION
from crudite.errors import Forbidden, MethodNotAllowed, NotFound, PreconditionFailed, Problem, Unauthorized
from crudite.interfaces.addresses import key_in, nesting_in, split_keys
from crudite.interfaces.base import Host, Receive, Scope, Send
from crudite.interfaces.http import decode_json, read_body
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
from crudite.interfaces.rest.removals import Removal, removal_in
from crudite.interfaces.styles import DEFAULT, Asked, Body, Style
from crudite.messages import Found, Listed, Written
from crudite.query.parse import EMPTY, WrittenQuery, parse_json, parse_url
from crudite.resources.declaring.definition import Definition, Placement
from crudite.resources.request import AnyAction, Nesting, Request
from crudite.resources.writing.setting import settable_at
from crudite.types import Key

_DELETED = WrittenQuery(deleted="with")


class ResourceEndpoints:
    """The endpoints of a resource at one of its places, in a style."""

    def __init__(self, host: Host, place: Placement, style: Style = DEFAULT) -> None:
        self._host = host
        self._place = place
        self._definition = place.definition
        self._style = style

    async def collection(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`GET`, `QUERY` and `POST` of the resource itself."""
        await serve(self._host, scope, receive, send, self._collection, keys, self._style)

    async def query(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`POST …/query`: QUERY for those who cannot send that method."""
        await serve(self._host, scope, receive, send, self._query, keys, self._style)

    async def item(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`GET`, `PUT`, `PATCH` and `DELETE` of one record, `GET` of several."""
        await serve(self._host, scope, receive, send, self._item, keys, self._style)

    async def history(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`GET` of who changed what of one record."""
        await serve(self._host, scope, receive, send, self._history, keys, self._style)

    async def restore(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`POST …/restore` of a record that was deleted."""
        await serve(self._host, scope, receive, send, self._restore, keys, self._style)

    async def whole(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`PUT` of all records below a parent."""
        await serve(self._host, scope, receive, send, self._set, keys, self._style)

    @property
    def sets_whole(self) -> bool:
        """Whether all records below the parent can be set."""
        return settable_at(self._place) is not None

    async def _collection(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        match exchange.method:
            case "POST":
                await self._create(exchange, exchange.asks(self._place), keys)
            case "QUERY":
                await self._query(exchange, keys)
            case _:
                asked = exchange.asks(self._place)
                await self._list(exchange, asked, keys, self._style.listing(asked))

    async def _query(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        check_content_type(exchange.headers, "application/json")
        body = await read_body(exchange.receive, self._host.limits.body)
        asked = exchange.asks(self._place)
        query = parse_json(decode_json(body) if body else {})
        further = parse_url(exchange.parameters)
        if further.cursor is not None:
            query = replace(query, cursor=further.cursor)
        await self._list(exchange, asked, keys, query)

    async def _list(self, exchange: Exchange, asked: Asked, keys: tuple[str, ...], query: WrittenQuery) -> None:
        self._check_accept(exchange)
        request = self._request(exchange, "list", keys, query=query)
        listed = await exchange.perform(request)
        assert isinstance(listed, Listed)
        if self._style.misses_empty_sets and listed.json == "[]" and self.sets_whole:
            raise NotFound(f"There is no {self._definition.name} here.")
        headers = page_links(listed, exchange.scope["query_string"])
        if listed.etag is not None:
            headers.append((b"etag", f'"{listed.etag}"'.encode()))
            if is_not_modified(exchange.headers, f'"{listed.etag}"'):
                return await exchange.answer(304, None, headers)
        if listed.total is not None:
            headers.append((b"x-total-count", str(listed.total).encode()))
        await exchange.answer(200, self._style.shown(asked, query, listed), headers)

    async def _create(self, exchange: Exchange, asked: Asked, keys: tuple[str, ...]) -> None:
        check_content_type(exchange.headers, "application/json")
        minimal = preference(exchange.headers)
        self._style.reread(asked)  # what it refuses is refused before anything is written
        body = await self._body(exchange, asked)
        request = self._request(exchange, "create", keys, data=body, is_minimal=minimal is True)
        written = await exchange.perform(request)
        assert isinstance(written, Written)
        headers = exchange.after(written, minimal)
        if not written.many and written.keys:
            headers.append((b"location", self._location(exchange.scope, written.keys[0]).encode()))
        shown = Body(None) if minimal else self._style.written(asked, written)
        await exchange.answer(self._style.statuses["create"], shown.text, headers, shown.kind)

    async def _set(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        asked = exchange.asks(self._place)
        check_content_type(exchange.headers, "application/json")
        minimal = preference(exchange.headers)
        self._style.reread(asked)  # what it refuses is refused before anything is written
        wanted = entity_tags(exchange.headers, "if-match") not in (None, ["*"])
        if wanted or entity_tags(exchange.headers, "if-none-match") is not None:
            # The tag of a list says nothing that could be held until the commit, and nobody's condition is passed over.
            raise PreconditionFailed("All records of a place have no version together: give that of each in the body.")
        body = await self._body(exchange, asked)
        written = await exchange.perform(self._request(exchange, "set", keys, data=body, is_minimal=minimal is True))
        assert isinstance(written, Written)
        shown = Body(None) if minimal else self._style.written(asked, written)
        await exchange.answer(200, shown.text, exchange.after(written, minimal), shown.kind)

    async def _item(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        *above, text = keys
        several = split_keys(exchange.scope, text) if self._style.reads_several else [text]
        several[-1] = self._unformatted(several[-1])
        text = several[0] if len(several) == 1 else text
        asked = exchange.asks(self._place, text)
        if exchange.method not in ("GET", "HEAD"):
            if len(several) > 1:
                raise MethodNotAllowed("Several records are written one by one, or created together.", allowed=["GET"])
            await self._write(exchange, asked, tuple(above), text)
        elif len(several) > 1:
            read_several = self._read_found if self._style.gathers_found else self._read_many
            await read_several(exchange, asked, tuple(above), several)
        else:
            await self._read(exchange, asked, tuple(above), text)

    async def _read(self, exchange: Exchange, asked: Asked, above: tuple[str, ...], text: str) -> None:
        self._check_accept(exchange)
        query = self._style.reading(asked)
        found = await exchange.perform(self._request(exchange, "read", above, key=self._key(text), query=query))
        assert isinstance(found, Found)
        etag = f'"v{found.version}"'
        headers = [(b"etag", etag.encode())] if found.version != NO_VERSION else []
        if found.shared and is_not_modified(exchange.headers, etag):
            return await exchange.answer(304, None, headers)
        await exchange.answer(200, self._style.shown(asked, query, found), headers)

    async def _read_many(self, exchange: Exchange, asked: Asked, above: tuple[str, ...], texts: list[str]) -> None:
        self._check_accept(exchange)
        query = self._style.reading(asked)
        request = self._request(exchange, "read", above, query=query)
        request.keys = [self._key(text) for text in texts]
        listed = await exchange.perform(request)
        assert isinstance(listed, Listed)
        await exchange.answer(200, self._style.shown(asked, query, listed), [])

    async def _read_found(self, exchange: Exchange, asked: Asked, above: tuple[str, ...], texts: list[str]) -> None:
        """Those of several records that are there; a single one stands alone. Raises NotFound when none is."""
        self._check_accept(exchange)
        query = self._style.reading(asked)
        request = self._request(exchange, "read", above, query=query)
        request.keys = [one for text in texts if (one := _possible(text, self._definition)) is not None]
        request.takes_found = True
        if not request.keys:
            raise NotFound(f"{self._definition.name} has no such keys.")
        listed = await exchange.perform(request)
        assert isinstance(listed, Listed)
        found = Found(listed.records[0], NO_VERSION) if len(listed.records) == 1 else listed
        await exchange.answer(200, self._style.shown(asked, query, found), [])

    async def _history(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        self._check_accept(exchange)
        *above, text = keys
        exchange.asks(self._place, text)
        query = parse_url(exchange.parameters)
        request = self._request(exchange, "history", tuple(above), key=self._key(text), query=query)
        listed = await exchange.perform(request)
        assert isinstance(listed, Listed)
        await exchange.answer(200, listed.json, page_links(listed, exchange.scope["query_string"]))

    async def _write(self, exchange: Exchange, asked: Asked, above: tuple[str, ...], text: str) -> None:
        action = self._style.actions[exchange.method]
        reread = self._style.reread(asked)
        body = b""
        if action != "delete":
            kinds = ("application/json", "application/merge-patch+json")
            check_content_type(exchange.headers, *kinds[: 2 if exchange.method == "PATCH" else 1])
            body = await self._body(exchange, asked)
        elif self._style.reads_body_of_delete(asked):
            body = await read_body(exchange.receive, self._host.limits.body)
        minimal = preference(exchange.headers)
        removal = Removal()
        if action == "delete":
            removal = removal_in(exchange.parameters, passes_over=self._style.passes_over)
        purges = removal.purge and self._definition.schema.is_soft
        request = self._request(
            exchange, action, above, key=self._key(text), data=body, is_minimal=minimal is True,
            expect=await (self._expected_of_any if purges else self._expected)(exchange, above, text),
        )  # fmt: skip
        request.is_forced, request.is_purging = removal
        written = await exchange.perform(request)
        assert isinstance(written, Written)
        shown = Body(None) if minimal or action == "delete" else self._style.written(asked, written)
        if reread is not None and not minimal and not written.is_replaced:
            shown = await self._reread(exchange, asked, request, reread) or shown
        await exchange.answer(self._style.statuses[action], shown.text, exchange.after(written, minimal), shown.kind)

    async def _restore(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        *above, text = keys
        asked = exchange.asks(self._place, text)
        minimal = preference(exchange.headers)
        request = self._request(
            exchange, "restore", tuple(above), key=self._key(text), is_minimal=minimal is True,
            expect=await self._expected(exchange, tuple(above), text, _DELETED),
        )  # fmt: skip
        written = await exchange.perform(request)
        assert isinstance(written, Written)
        shown = Body(None) if minimal else self._style.written(asked, written)
        await exchange.answer(200, shown.text, exchange.after(written, minimal), shown.kind)

    async def _reread(self, exchange: Exchange, asked: Asked, written: Request, query: WrittenQuery) -> Body | None:
        """The record of a write as it is read behind it; None where it cannot be shown, since the writer may not read
        it or for any other reason: the write is done."""
        request = Request(
            "read", written.name, definition=written.definition, key=written.key, query=query, nesting=written.nesting,
            actor=written.actor, credentials=exchange.read_credentials, headers=exchange.headers, interface="rest",
            id=exchange.request_id, is_free=True, performers=self._host.performer,
        )  # fmt: skip
        try:
            found = await exchange.perform(request)
            assert isinstance(found, Found)
            return Body(self._style.shown(asked, query, found))
        except Problem:
            return None

    async def _body(self, exchange: Exchange, asked: Asked) -> bytes:
        """The body of a write. Raises TooLarge."""
        return self._style.given(asked, await read_body(exchange.receive, self._host.limits.body))

    def _check_accept(self, exchange: Exchange) -> None:
        if not self._style.takes_any_accept:
            check_accept(exchange.headers)

    async def _expected(
        self, exchange: Exchange, above: tuple[str, ...], text: str, query: WrittenQuery = EMPTY
    ) -> int | None:
        """The version that the record must have by the request's preconditions (RFC 9110, section 13.2), which `query`
        finds; None for any. Raises PreconditionFailed when they cannot be met."""
        wanted = entity_tags(exchange.headers, "if-match")
        unwanted = entity_tags(exchange.headers, "if-none-match")
        if unwanted is None and (wanted is None or len(wanted) == 1):
            return None if wanted in (None, ["*"]) else version_in(wanted[0])
        found = await exchange.perform(self._request(exchange, "read", above, key=self._key(text), query=query))
        assert isinstance(found, Found)
        is_wanted = wanted is None or wanted == ["*"] or found.version in map(version_in, wanted)
        weakly = {tag.removeprefix("W/") for tag in unwanted or ()}
        if not is_wanted or weakly & {"*", f'"v{found.version}"'}:
            raise PreconditionFailed("The record has another version than the request is made for.")
        return found.version

    async def _expected_of_any(self, exchange: Exchange, above: tuple[str, ...], text: str) -> int | None:
        """The same of a record that is there, or deleted where the asker may see such."""
        try:
            return await self._expected(exchange, above, text, _DELETED)
        except (Forbidden, Unauthorized):
            return await self._expected(exchange, above, text)

    def _request(
        self, exchange: Exchange, action: AnyAction, above: tuple[str, ...], *, key: Key | None = None,
        query: WrittenQuery = EMPTY, data: bytes | None = None, expect: int | None = None, is_minimal: bool = False,
    ) -> Request:  # fmt: skip
        around = self._style.around(exchange.asked) if exchange.asked is not None else None
        return Request(
            action, self._definition.path, definition=self._definition, key=key, query=query, data=data, expect=expect,
            nesting=self._nesting(exchange, action, above), credentials=exchange.read_credentials,
            headers=exchange.headers, interface="rest", id=exchange.request_id, is_minimal=is_minimal,
            performers=self._host.performer, around=around, most=self._style.most,
        )  # fmt: skip

    def _key(self, text: str) -> Key:
        """The key in a path. Raises NotFound for a text that can be no key of this resource."""
        return key_in(text, self._definition)

    def _nesting(self, exchange: Exchange, action: AnyAction, above: tuple[str, ...]) -> Nesting | None:
        """What the path says of the records above. Raises MethodNotAllowed for writing below several of them."""
        nesting = nesting_in(exchange.scope, self._place, above)
        if nesting is not None and not nesting.values and action not in ("list", "read", "history"):
            raise MethodNotAllowed("Below several records there is reading only.", allowed=["GET"])
        return nesting

    def _unformatted(self, text: str) -> str:
        """A key in a path without the format that may stand behind it."""
        if "." in text and (self._style.cuts_text_keys or self._definition.schema.key_field.type.kind != "text"):
            for format in self._style.formats:
                text = text.removesuffix(f".{format}")
        return text

    def _location(self, scope: Scope, key: Key) -> str:
        raw: bytes | None = scope.get("raw_path")
        path = raw.partition(b"?")[0].decode("latin-1") if raw else quote(scope["path"])
        for format in self._style.formats:
            path = path.removesuffix(f".{format}") if not self._place.pattern.endswith(f".{format}") else path
        text = str(key)
        if self._unformatted(text) != text:
            text = f"{text}.{self._style.formats[0]}"  # which is taken off in its place
        return f"{path.rstrip('/')}/{quote(text, safe='')}"


def _possible(text: str, definition: Definition) -> Key | None:
    """The key in a path; None for a text that can be no key of the resource."""
    try:
        return key_in(text, definition)
    except NotFound:
        return None
