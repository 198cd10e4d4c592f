"""The six actions, joined: a request in, its response out."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from crudite.clock import Clock
from crudite.errors import Forbidden, NotFound, Unauthorized
from crudite.messages import Found, Listed, Live, Response, Written
from crudite.query.parse import WrittenQuery
from crudite.query.plan import Mask, Selection
from crudite.query.tree import EVERYTHING
from crudite.resources.access import Rulebook
from crudite.resources.around import hooks_around, perform_around, write_around
from crudite.resources.declaring.definition import Definition, Definitions
from crudite.resources.field_values import perform_field
from crudite.resources.histories import Histories
from crudite.resources.keys import plain_key
from crudite.resources.live_queries import LiveQueries
from crudite.resources.reading import Reading
from crudite.resources.records import Intent
from crudite.resources.request import Request
from crudite.resources.writing import Writing
from crudite.resources.writing.creating import PlainCreate, plain_create
from crudite.resources.writing.passwords import hashing_of
from crudite.stores.base import Store
from crudite.tokens import Sealer
from crudite.types import Key


class Actions:
    """Performs requests on the resources of one application."""

    def __init__(self, definitions: Definitions, store: Store, sealer: Sealer, clock: Clock) -> None:
        self.definitions = definitions
        self.store = store
        self._rulebook = Rulebook(definitions, clock)
        self.reading = Reading(self._rulebook, store, sealer)
        self.live_queries = LiveQueries(self._rulebook, sealer)
        self.writing = Writing(self._rulebook, store)
        self.histories = Histories(self._rulebook, store, sealer)

    def plain_create(self, definition: Definition) -> PlainCreate | None:
        """How anybody creates records of a resource without waiting, None where he cannot."""
        return plain_create(definition, self._rulebook)

    async def perform(self, request: Request) -> Response:
        """Performs a request of an action, `restore` and `history` among them. Raises its problem; then nothing has
        changed."""
        if request.field is not None:
            return await perform_field(request, self._within, self.definitions)
        return await self._within(request)

    async def _within(self, request: Request) -> Response:
        if request.around is not None:
            return await request.around(request, self._perform)
        return await self._perform(request)

    async def _perform(self, request: Request) -> Response:
        if request.nesting is not None:
            await self.reading.check_parents(request, request.nesting)
        if request.action == "history":
            return await self.histories.read(request)
        if request.action not in ("list", "read"):
            return (await self.write_all([request]))[0]
        return await self.read(request)

    async def read(self, request: Request, *, trusted: bool = False) -> Response:
        """Performs a request of a reading action. A `trusted` query has no limit but its own."""
        hooks = hooks_around(request)
        if not hooks:
            return await self._read(request, trusted)
        return await perform_around(hooks, request, lambda: self._read(request, trusted), self.definitions)

    async def write_all(self, requests: Sequence[Request]) -> list[Written]:
        """Performs several requests of writing actions in one transaction: all of them, or none."""
        if any(hooks_around(request) for request in requests):
            return await write_around(requests, self.writing.write_all, self.definitions)
        return await self.writing.write_all(requests)

    async def _read(self, request: Request, trusted: bool) -> Response:
        if request.is_live:
            return Live(self.live_queries.of(request))
        if request.action == "list":
            return await self.reading.list(request, trusted=trusted)
        if request.keys is not None:
            return await self.reading.read_many(request)
        return await self.reading.read(request)

    def performer(self, request: Request) -> "RequestPerformer":
        """The records API's way to act as the actor of a request."""
        return RequestPerformer(self, request)


class RequestPerformer:
    """Acts for application code as the actor of a request, or as the server (`resources.records.Performer`)."""

    def __init__(self, actions: Actions, request: Request) -> None:
        self._actions = actions
        self._request = request

    async def select(self, resource: type[Any], query: WrittenQuery) -> list[Any]:
        """The records of a query; without a limit of its own, all of them."""
        request = self._derived("list", resource, query=query)
        definition = cast(Definition, request.definition)
        page = await self._actions.read(request, trusted=True)
        assert isinstance(page, Listed)
        if page.shown is not None:
            raise TypeError(f"a hook around the list of {definition.path} shows something else than records")
        return [definition.from_plain(msgspec.json.decode(text)) for text in page.records]

    async def count(self, resource: type[Any], query: WrittenQuery) -> int:
        """How many records a query holds."""
        return await self._actions.reading.count(self._derived("list", resource, query=query))

    async def read(self, resource: type[Any], key: Any) -> Any:
        """The record with a key. Raises NotFound."""
        request = self._derived("read", resource, key=key)
        found = await self._actions.read(request)
        assert isinstance(found, Found)
        return cast(Definition, request.definition).from_plain(msgspec.json.decode(found.json))

    async def write(self, intents: Sequence[Intent]) -> list[Any]:
        """Performs writes in one transaction; the records as stored, None where there is nothing to show."""
        requests = [
            self._derived(
                intent.action,
                intent.resource,
                key=intent.key,
                data=intent.data,
                expect=intent.expect,
                is_forced=intent.is_forced,
                is_purging=intent.is_purging,
            )
            for intent in intents
        ]
        results = await self._actions.write_all(requests)
        return [
            None if text is None else cast(Definition, request.definition).from_plain(msgspec.json.decode(text))
            for request, written in zip(requests, results, strict=True)
            for text in written.records
        ]

    async def verify(self, resource: type[Any], key: Any, passwords: Mapping[str, str]) -> bool:
        """Whether these are the passwords of a record that may be read."""
        definition = self._actions.definitions[resource]
        if strange := [name for name in passwords if name not in definition.passwords]:
            raise TypeError(f"{definition.name} has no Password called {' or '.join(strange)}")
        if not passwords:
            raise TypeError(f"verify needs a password: {' or '.join(definition.passwords)} of {definition.name}")
        stored = await self._hashes(definition, resource, key, tuple(passwords))
        hashing = hashing_of(definition)
        return all([await hashing.verify(stored.get(name), plain) for name, plain in passwords.items()])

    async def _hashes(
        self, definition: Definition, resource: type[Any], key: Any, names: tuple[str, ...]
    ) -> dict[str, Any]:
        try:
            await self.read(resource, key)
        except (NotFound, Forbidden, Unauthorized):
            return {}
        selection = Selection(definition.schema, EVERYTHING, Mask(names))
        row = await self._actions.store.lookup(selection, plain_key(definition, key))
        return {} if row is None else cast(dict[str, Any], msgspec.json.decode(row.json))

    def _derived(self, action: Any, resource: type[Any], *, key: Any = None, **more: Any) -> Request:
        definition = self._actions.definitions[resource]
        request = self._request
        plain: Key | None = None if key is None else plain_key(definition, key)
        derived = Request(
            action, definition.path, definition=definition, key=plain, actor=request.actor, id=request.id,
            credentials=request.credentials, interface=request.interface, headers=request.headers,
            is_system=request.is_system, performers=self._actions.performer, **more,
        )  # fmt: skip
        derived.inside = request.inside
        return derived
