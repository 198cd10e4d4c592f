"""The style of wheelhouse-resource 0.2: 206 and the id after writes, `{code, message}`, and the options of a
collection."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import msgspec

from crudite.errors import (
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    PreconditionFailed,
    Problem,
    TooLarge,
    Unauthorized,
    Unexpected,
)
from crudite.interfaces.base import Told
from crudite.interfaces.styles.deciding import Decision
from crudite.interfaces.styles.models import links_in, model_in, spread, without_unknown
from crudite.interfaces.styles.options import Permissions, Row, Rows, WheelhouseOptions
from crudite.interfaces.styles.returned import row_of, rows_of
from crudite.interfaces.styles.shaping import Shape
from crudite.interfaces.styles.style import (
    JSON_TYPE,
    Asked,
    Body,
    Shown,
    StreamWords,
    Style,
    declared,
    unknown_resources,
)
from crudite.interfaces.styles.telling_apart import Keyed, Whose, told_apart
from crudite.messages import ActionName, Found, Listed, Response, Written
from crudite.query.parse import WrittenQuery
from crudite.query.presence import is_all_there
from crudite.resources.declaring.collect import SYSTEM_FIELDS
from crudite.resources.declaring.definition import Definition, Definitions
from crudite.resources.hooks import call
from crudite.resources.request import AnyAction, Around, Perform, Request
from crudite.types import Key

_log = logging.getLogger("crudite")

_SHOWN = WrittenQuery(omit=SYSTEM_FIELDS)
_TRIES = 3
_NO_OPTIONS = WheelhouseOptions()
_ERRORS = {"POST": "create error", "PUT": "update error", "DELETE": "delete error"}


@dataclass(frozen=True)
class Wheelhouse(Style):
    """Speaks REST and server-sent events as wheelhouse-resource did: `Rest(style="wheelhouse")` and
    `Sse(style="wheelhouse")`, or both with one `Wheelhouse(resources={Post: WheelhouseOptions(…)})`.

    - `resources`: what is said of each; it holds where this style speaks, and nowhere else: what is to hold everywhere
      are rules.
    - `most`: how many records a list holds, and how many functions are given; more of them are refused with 413.
    """

    name: ClassVar[str] = "wheelhouse"
    actions: ClassVar[Mapping[str, AnyAction]] = {"POST": "create", "PUT": "update", "DELETE": "delete"}
    statuses: ClassVar[Mapping[str, int]] = {"create": 206, "update": 206, "delete": 204}
    reads_several: ClassVar[bool] = False
    takes_any_accept: ClassVar[bool] = True
    passes_over: ClassVar[bool] = True
    paths: ClassVar[frozenset[str]] = frozenset()
    words: ClassVar[StreamWords | None] = StreamWords(
        several={"added": "add", "changed": "change", "removed": "remove"},
        single={"changed": "change", "removed": "destroy"},
        opening=b":ok\n\n",
    )

    resources: Mapping[type[Any], WheelhouseOptions] = field(default_factory=dict)
    most: int | None = 1_000

    def faults(self, definitions: Definitions) -> list[str]:
        if not isinstance(self.resources, Mapping):
            return ["The wheelhouse style's resources are options by class: {Post: WheelhouseOptions(…)}."]
        faults = unknown_resources(self.resources, definitions, self.name)
        for cls, options in self.resources.items():
            name = cls.__name__ if isinstance(cls, type) else str(cls)
            if isinstance(options, WheelhouseOptions):
                faults += options.faults(name, definitions[cls].schema.fields if cls in definitions else {})
            else:
                faults.append(f"The wheelhouse style's options for {name} are WheelhouseOptions(…), and nothing else.")
        return faults

    @property
    def narrowing(self) -> object:
        given = self.resources.items() if isinstance(self.resources, Mapping) else ()
        return {cls: options for cls, options in given if options != _NO_OPTIONS} or None

    def narrows(self, definition: Definition, action: ActionName) -> bool:
        options = self._options(definition)
        is_shaped = action in ("list", "read") and bool(options.filter or options.pick or options.read)
        return options.permissions is not None or is_shaped

    def listing(self, asked: Asked) -> WrittenQuery:
        return _SHOWN

    def reading(self, asked: Asked) -> WrittenQuery:
        return _SHOWN

    def shows(self, asked: Asked) -> Collection[str]:
        return declared(asked.definition)

    def reads_body_of_delete(self, asked: Asked) -> bool:
        return self._options(asked.definition).permissions is not None

    def around(self, asked: Asked) -> "Around | None":
        options, shape = self._options(asked.definition), Shape.of(asked.parameters)
        if options is _NO_OPTIONS and shape == Shape() and asked.method not in ("POST", "PUT"):
            return None
        return _Around(options, shape, asked, self.most, self._is_decided_apart)

    def written(self, asked: Asked, written: Written) -> Body:
        if written.action == "delete":
            return Body(None)
        if not written.keys and not written.many:  # a step or a hook of the application has answered by itself
            return Body(written.json)
        reduced = [{asked.definition.schema.key: key} for key in written.keys]
        return Body(msgspec.json.encode(reduced if written.many else reduced[0]).decode())

    def retold(self, asked: Asked) -> Shown | None:
        options, shape = self._options(asked.definition), Shape.of(asked.parameters)
        if options is _NO_OPTIONS and shape == Shape():
            return None
        around = _Around(options, shape, asked, self.most, self._is_decided_apart)
        of = around.shown_of_all if asked.text is None else partial(around.shown_of_one, key=_key(asked))
        return Shown(of, each_alone=not options.asks_functions)

    def problem(self, problem: Problem, request_id: str, root: str, asked: Asked | None = None) -> Told:
        status = Forbidden.status if isinstance(problem, Unauthorized) else problem.status  # such a client knows no 401
        told: dict[str, Any] = {"code": status, "message": _message(problem, asked)}
        if isinstance(problem, Invalid) and asked is not None and asked.text is not None:
            told["model"] = _key(asked)
        return Told(status, JSON_TYPE, msgspec.json.encode(told))

    def _is_decided_apart(self, definition: Definition) -> bool:
        """Whether permissions decide about the records of a resource, which are asked of one request for each."""
        return self._options(definition).permissions is not None

    def _options(self, definition: Definition) -> WheelhouseOptions:
        return self.resources.get(definition.cls, _NO_OPTIONS)


class _Around:
    """What stands around the actions of one request: the permissions before them, the shape of what is shown behind."""

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
            action, request.name, definition=request.definition, query=_SHOWN, nesting=request.nesting,
            actor=request.actor, credentials=request.credentials, headers=request.headers, interface=request.interface,
            id=request.id, performers=request.performers, **more,
        )  # fmt: skip
        derived.style = request.style
        return derived


def _key(asked: Asked) -> Key:
    """The key of the record that is asked for, which has been found to be one."""
    key: Key = asked.definition.schema.key_field.type.parse(asked.text or "")
    return key


def _message(problem: Problem, asked: Asked | None) -> str:
    if isinstance(problem, Forbidden | Unauthorized):
        is_read = asked is not None and asked.method in ("GET", "HEAD")
        return f"No permission for {asked.text or asked.definition.path}" if asked and is_read else "Permission denied."
    if isinstance(problem, NotFound) and asked is not None and asked.text is not None:
        return f"Model {asked.text} does not exist."
    if isinstance(problem, Unexpected) and asked is not None and asked.method in _ERRORS:
        return _ERRORS[asked.method]
    return "; ".join(map(_sentence, problem.faults)) or problem.detail or problem.title


def _sentence(fault: Fault) -> str:
    """What is wrong, behind the name of what it is wrong with."""
    place = (fault.pointer or "")[1:] or fault.parameter
    is_named = not place or fault.detail.startswith(f"{place}: ")  # as of what stands in a URL
    return fault.detail if is_named else f"{place}: {fault.detail}"


WHEELHOUSE = Wheelhouse()
