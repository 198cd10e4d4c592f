"""What stands around the actions of a wheelhouse collection: its permissions before them, the shape of what is shown
behind them."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from crudite.errors import (
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    PreconditionFailed,
    Problem,
    TooLarge,
    Unauthorized,
)
from crudite.interfaces.styles.deciding import Decision
from crudite.interfaces.styles.models import links_in, model_in, spread, without_unknown
from crudite.interfaces.styles.options import Permissions, Row, Rows, WheelhouseOptions
from crudite.interfaces.styles.returned import row_of, rows_of
from crudite.interfaces.styles.shaping import Shape
from crudite.interfaces.styles.style import Asked
from crudite.interfaces.styles.telling_apart import Keyed, Whose, told_apart
from crudite.messages import Found, Listed, Response
from crudite.query.parse import WrittenQuery
from crudite.query.presence import is_all_there
from crudite.resources.declaring.collect import SYSTEM_FIELDS
from crudite.resources.declaring.definition import Definition
from crudite.resources.hooks import call
from crudite.resources.request import AnyAction, Perform, Request
from crudite.types import Key

_log = logging.getLogger("crudite")

SHOWN = WrittenQuery(omit=SYSTEM_FIELDS)
_TRIES = 3


class CollectionAround:
    """What stands around the action of one request."""

    def __init__(
        self, options: WheelhouseOptions, shape: Shape, asked: Asked, most: int | None,
        is_decided_apart: Callable[[Definition], bool],
    ) -> None:  # fmt: skip
        self._is_decided_apart = is_decided_apart
        self._options = options
        self._shape = shape
        self._definitions = asked.definitions
        self._definition = asked.definition
        self._key = asked.definition.schema.key
        self._most = most

    async def __call__(self, request: Request, perform: Perform) -> Response:
        async def collection() -> Rows:
            return await self._collection(request, perform)

        given = await self._options.given_to(request, collection)
        decision = given.decision(request.action)
        match request.action:
            case "list":
                return await self._list(request, perform, given)
            case "read":
                if decision is not None:
                    await self._check_readable(request, perform, given, decision)
                    if request.is_live:  # what is shown of it from now on depends on all
                        request.action, request.key = "list", None
                return await self._read(request, perform)
            case "create":
                if decision is not None:
                    records = await collection() if "records" in decision.takes else []
                    if not await decision(request, records=records, body=self._body(request)):
                        raise Forbidden("Permission denied.")
                return await self._perform(request, perform)
        if decision is None:
            return await self._perform(request, perform)
        return await self._change(request, perform, decision)

    async def shown_of_all(self, request: Request, rows: Rows) -> Mapping[Key, Any]:
        """What a list shows of all records that the asker may read, by their keys. Raises Malformed where nobody can
        say which record is shown by what."""
        keyed = await self._shaped(request, await self._readable(request, list(map(self._spread, rows))))
        if any(key is Whose.UNKNOWN for key, _ in keyed):
            path = self._definition.path
            raise Malformed(f"What is shown of {path} does not say of which record it is, so it cannot be followed.")
        return {key: row for key, row in keyed if not isinstance(key, Whose)}

    async def shown_of_one(self, request: Request, rows: Rows, key: Key) -> Mapping[Key, Any]:
        """What is shown of the record with a key, if it is among them and anything is."""
        rows = await self._readable(request, list(map(self._spread, rows)))
        row = next((row for row in rows if row[self._key] == key), None)
        if row is None:
            return {}
        try:
            return {key: await self._shown(request, row)}
        except NotFound:
            return {}

    async def _list(self, request: Request, perform: Perform, given: Permissions) -> Response:
        response = await self._performed(request, perform)
        if not isinstance(response, Listed):  # live: each of its events is shaped
            return response
        if response.shown is not None:  # by the application, to whom may read at all
            await given.readable(request, [], self._key)
            return response
        rows = await given.readable(request, self._decoded_all(response), self._key)
        return Listed([msgspec.json.encode(row).decode() for _, row in await self._shaped(request, rows)])

    async def _read(self, request: Request, perform: Perform) -> Response:
        response = await perform(request)
        if not isinstance(response, Found):
            return response
        row = await self._shown(request, self._decoded(response))
        return Found(msgspec.json.encode(row).decode(), response.version, shared=False)

    async def _perform(self, request: Request, perform: Perform) -> Response:
        """Performs a write of what is a field in its body; whoever decided about it has seen the whole."""
        if request.action == "delete":
            request.data = None  # whoever decided has seen it, and nothing is written of it
        else:
            self._check_links(request)
            request.data = without_unknown(request.data, self._definition, request.action, self._options.extra)
        try:
            return await perform(request)
        except Invalid:
            await self._check_there(request, perform)
            raise

    async def _check_there(self, request: Request, perform: Perform) -> None:
        """Raises NotFound for a change of a record that is not there, whatever is wrong with the body. Where a record
        may be changed that cannot be read, nobody can tell."""
        rules, schema = self._definition.rules, self._definition.schema
        if request.key is None or not (is_all_there(rules["read"], schema) or rules["read"] == rules["update"]):
            return
        try:
            await perform(self._derived(request, "read", key=request.key))
        except NotFound:
            raise
        except Problem:
            return

    def _check_links(self, request: Request) -> None:
        """Raises Forbidden for a body that would write, by a link, records of which permissions decide."""
        for name in links_in(request.data, self._definition):
            target = self._definitions.by_name[self._definition.settable[name].link.target]
            if self._is_decided_apart(target):
                raise Forbidden("Permission denied.")

    async def _change(self, request: Request, perform: Perform, decision: Decision) -> Response:
        """A change that a function allows for the record as it is: of the version that it has seen, and no other."""
        body = self._body(request)
        if request.expect is not None:
            await self._check_change(request, perform, decision, body)
            return await self._perform(request, perform)
        for _ in range(_TRIES):
            request.expect = await self._check_change(request, perform, decision, body)
            try:
                return await self._perform(request, perform)
            except PreconditionFailed:
                continue
        raise Conflict("The record keeps changing.")

    async def _check_change(self, request: Request, perform: Perform, decision: Decision, body: Row) -> int:
        """The version of the record, when the function allows the change of it. Raises Forbidden; for a record that is
        not there as well, which nobody can tell from one that may not be changed."""
        found = await self._found(request, perform)
        if not await decision(request, record=self._decoded(found), body=body):
            raise Forbidden("Permission denied.")
        return found.version

    async def _found(self, request: Request, perform: Perform) -> Found:
        """The record that a function decides about. Raises Forbidden where it is not there."""
        try:
            found = await perform(self._derived(request, "read", key=request.key))
        except NotFound:
            raise Forbidden("Permission denied.") from None
        assert isinstance(found, Found)
        return found

    async def _readable(self, request: Request, rows: Rows) -> Rows:
        async def collection() -> Rows:
            return rows

        given: Permissions = await self._options.given_to(request, collection)
        return await given.readable(request, rows, self._key)

    async def _check_readable(self, request: Request, perform: Perform, given: Permissions, decision: Decision) -> None:
        """Raises Forbidden unless the record of a request is among those that may be read."""
        if request.is_live or "records" in decision.takes:
            rows = await self._collection(request, perform)
        else:
            rows = [self._decoded(await self._found(request, perform))]
        if not any(row[self._key] == request.key for row in await given.readable(request, rows, self._key)):
            raise Forbidden("Permission denied.")

    async def _shaped(self, request: Request, rows: Rows) -> Keyed:
        keyed: Keyed = [(row[self._key], row) for row in rows]
        if self._options.filter is not None:
            filtered = rows_of(await call(self._options.filter, request, rows), "filter", self._definition.name)
            keyed = told_apart(filtered, keyed, self._key)
        keyed = [(key, shown) for key, row in keyed if self._shape.looks_for(shown := self._shape.one(row))]
        return told_apart(await self._hooked(request, [row for _, row in keyed]), keyed, self._key)

    async def _shown(self, request: Request, row: dict[str, Any]) -> Any:
        if self._options.pick is not None:
            row = row_of(await call(self._options.pick, request, row), "pick", self._definition.name)
        rows = await self._hooked(request, [self._shape.one(row)])
        if not rows:
            raise NotFound("There is nothing to show of this record.")
        return rows[0]

    async def _hooked(self, request: Request, rows: Rows) -> Rows:
        shown = await call(self._options.read, request, rows) if self._options.read is not None else None
        return rows if shown is None else rows_of(shown, "read", self._definition.name)

    async def _collection(self, request: Request, perform: Perform) -> Rows:
        """All records that the asker may read, as plain data."""
        try:
            listed = await self._performed(self._derived(request, "list", most=self._most), perform)
        except (Forbidden, Unauthorized):
            return []
        assert isinstance(listed, Listed)
        return self._decoded_all(listed)

    async def _performed(self, request: Request, perform: Perform) -> Response:
        """What comes of a list of all records; where there are too many of them, the log says what to do about it."""
        try:
            return await perform(request)
        except TooLarge:
            _log.warning(
                "%r is refused: %s has more than the %s records that a list holds and functions are given. "
                "Wheelhouse(most=…) says how many these are; functions that take no `records` need none.",
                request, self._definition.name, self._most,
            )  # fmt: skip
            raise

    def _decoded(self, found: Found) -> Row:
        return self._spread(msgspec.json.decode(found.json))

    def _decoded_all(self, listed: Listed) -> Rows:
        return [self._spread(msgspec.json.decode(record)) for record in listed.records]

    def _spread(self, row: Row) -> Row:
        return spread(row, self._definition, self._options.extra)

    def _body(self, request: Request) -> Row:
        return model_in(request.data, self._definitions)

    def _derived(self, request: Request, action: AnyAction, **more: Any) -> Request:
        derived = Request(
            action, request.name, definition=request.definition, query=SHOWN, nesting=request.nesting,
            actor=request.actor, credentials=request.credentials, headers=request.headers, interface=request.interface,
            id=request.id, performers=request.performers, **more,
        )  # fmt: skip
        derived.style = request.style
        return derived
