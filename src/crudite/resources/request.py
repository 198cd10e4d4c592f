"""One call of one action or handler: who asks for what, and what application code may use meanwhile."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from crudite.messages import ANONYMOUS, Actor, Credentials, Response, SignIn
from crudite.query.parse import EMPTY, WrittenQuery
from crudite.query.tree import EVERYTHING, And, Condition, Filter
from crudite.resources.declaring.definition import Definition, Placement
from crudite.resources.records import Batch, Intent, Performer, Records
from crudite.types import Key, PlainRecord

AnyAction: TypeAlias = Literal[
    "list", "read", "create", "replace", "update", "delete", "restore", "set", "history", "call"
]


Performers: TypeAlias = "Callable[[Request], Performer]"
"""Makes the performer that acts as the actor of a request."""

Shows: TypeAlias = Callable[[Definition], Collection[str]]
"""The names of the fields that are shown of the records of a resource."""

Perform: TypeAlias = "Callable[[Request], Awaitable[Response]]"
"""Performs a request whose actor is known. Raises its problem."""
Around: TypeAlias = "Callable[[Request, Perform], Awaitable[Response]]"
"""What an interface does around an action: it performs the request, and others if it wants."""

_NO_CREDENTIALS = Credentials()


class Above(NamedTuple):
    """A record on a nested path, or several: the resource, their keys, and what must hold of each, which is that it
    belongs to those above it."""

    definition: Definition
    keys: tuple[Key, ...]
    filter: Filter


@dataclass(frozen=True, slots=True)
class Nesting:
    """A nested path such as `/projects/7/tasks`: the condition that it sets, the values that it gives to a new
    record, and the records above it that must be there, outermost first. With `is_said` a body must repeat the values.
    """

    filter: Filter
    values: PlainRecord
    parents: tuple[Above, ...]
    is_said: bool = False

    @classmethod
    def below(cls, place: Placement, keys: Sequence[Sequence[Key]]) -> "Nesting":
        """The nesting of what stands at a place, given the keys of each resource above, outermost first. Several keys
        of one of them mean the records below any of these."""
        parents: list[Above] = []
        condition: Filter = EVERYTHING
        for (definition, field), own in zip(place.above, keys, strict=True):
            parents.append(Above(definition, tuple(own), condition))
            here = Condition((field,), "in", tuple(own)) if len(own) > 1 else Condition((field,), "eq", own[0])
            condition = here if condition == EVERYTHING else And((here, _seen_from(condition, field)))
        nearest, field = parents[-1], place.above[-1][1]
        values: PlainRecord = {field: nearest.keys[0]} if len(nearest.keys) == 1 else {}
        return cls(condition, values, tuple(parents), place.says_parent)


def _seen_from(condition: Filter, field: str) -> Filter:
    """A condition on the record that a field points at, as one on the record that has the field."""
    if isinstance(condition, And):
        return And(tuple(_seen_from(term, field) for term in condition.terms))
    assert isinstance(condition, Condition)
    return replace(condition, path=(field, *condition.path))


class Request:
    """What is asked. Interfaces make one for each call; middleware, hooks and handlers read it.

    `action` is one of the six actions, `restore`, `set` (all records below a parent), `history`, or `call` for a
    handler. `name` is the path of the resource, or the name of the handler; `resource` the resource's class (None for a
    handler). `key` or `keys` say which records, `query` which of them, `data` is the body: JSON as bytes (or as
    `msgspec.Raw`), or plain Python data; middleware may put either in its place. `args` are a handler's arguments;
    `args_at` is the JSON Pointer of the object that holds them, None when they are texts from a URL. `expect` is the
    version that the record must still have. A delete that `is_forced` goes on where a reference says
    `on_delete="force"`, one that `is_purging` is for good though its resource keeps deleted records. `actor` is known
    once the credentials have been looked at, before any middleware. `interface` names the way it came in, `id` is
    unique for it. `style` names how that interface speaks, where it is another way than today's (`default`): `booster`,
    `wheelhouse`; what the application's own code asks for is of today's.
    `verdicts` are what the rates have said that hold for it; none does where it `is_free`: the server asks by itself.
    Where it `takes_found`, of several keys those are read that are there, in the order of the keys.
    `shows` says which fields of a resource's records are shown in what application code answers; None is for all.
    Interfaces of another style set `around`, what stands around the action, behind all middleware, and `most`, how many
    records a list without a limit holds in place of what its resource says; more of them are refused with 413.

    `field` is the one field that is read or updated at its own path: what is answered is its value. `inside` are the
    `around` hooks from within which it is asked: they do not stand around it once more.

    `records` acts as the actor: his rules hold. `batch` takes further writes into the same transaction; in a
    `before` hook they are committed together with the write at hand, or not at all. A handler sets `signs_in` to what
    the client is to show from now on: HTTP gives it a cookie, and a WebSocket is whoever that is at once.
    """

    __slots__ = (
        "_batch", "_credentials", "action", "actor", "args", "args_at", "around", "data", "definition", "expect",
        "field", "headers", "id", "inside", "interface", "is_forced", "is_free", "is_live", "is_minimal", "is_purging",
        "is_system", "is_written", "key", "keys", "most", "name", "nesting", "performers", "query", "shows", "signs_in",
        "style", "takes_found", "verdicts",
    )  # fmt: skip

    def __init__(
        self,
        action: AnyAction,
        name: str,
        *,
        definition: Definition | None = None,
        key: Key | None = None,
        keys: Sequence[Key] | None = None,
        query: WrittenQuery = EMPTY,
        data: Any = None,
        args: Mapping[str, Any] | None = None,
        args_at: str | None = "",
        expect: int | None = None,
        nesting: Nesting | None = None,
        actor: Actor = ANONYMOUS,
        credentials: Credentials | Callable[[], Credentials] = _NO_CREDENTIALS,
        headers: Mapping[str, str] | None = None,
        interface: str = "python",
        id: str = "",
        is_forced: bool = False,
        is_free: bool = False,
        is_live: bool = False,
        is_minimal: bool = False,
        is_purging: bool = False,
        is_system: bool = False,
        performers: "Performers | None" = None,
        around: "Around | None" = None,
        most: int | None = None,
        field: str | None = None,
    ) -> None:
        self.action: AnyAction = action
        self.name = name
        self.definition = definition
        self.key = key
        self.keys = keys
        self.query = query
        self.data = data
        self.args: Mapping[str, Any] = args if args is not None else {}
        self.args_at = args_at
        self.expect = expect
        self.nesting = nesting
        self.actor = actor
        self._credentials = credentials
        self.headers: Mapping[str, str] = headers if headers is not None else {}
        self.interface = interface
        self.id = id
        self.is_forced = is_forced
        self.is_free = is_free
        self.is_live = is_live
        self.is_minimal = is_minimal
        self.is_purging = is_purging
        self.is_system = is_system
        self.performers = performers
        self.around = around
        self.most = most
        self.takes_found = False
        self.field = field
        self.style = "default"
        self.shows: Shows | None = None
        self.signs_in: SignIn | None = None
        self.verdicts: Sequence[Any] = ()
        self.inside: Sequence[Any] = ()
        self.is_written = False
        self._batch: Batch | None = None

    @property
    def credentials(self) -> Credentials:
        """What the client showed to say who it is."""
        if not isinstance(self._credentials, Credentials):
            self._credentials = self._credentials()
        return self._credentials

    @property
    def records(self) -> Records:
        """The records API, acting as the actor of this request."""
        if self.performers is None:
            raise RuntimeError("the request has no application to act through")
        return Records(self.performers(self))

    @property
    def batch(self) -> Batch:
        """Further writes for the same transaction, made by the server itself: no rule holds for them.

        Raises RuntimeError where there is none, or none any more, so that nothing would make them."""
        if self.is_written or self.action in ("list", "read", "history"):
            why = "its transaction has been committed" if self.is_written else f"a {self.action} writes nothing"
            raise RuntimeError(f"request.batch takes no writes, for {why}: write by request.records")
        if self._batch is None:
            self._batch = Batch(None)
        return self._batch

    @property
    def batched(self) -> list[Intent]:
        """The writes that have been put into the batch; whoever performs them takes them out."""
        return self._batch.intents if self._batch is not None else []

    @property
    def resource(self) -> type[Any] | None:
        """The class of the resource; None for a handler."""
        return self.definition.cls if self.definition is not None else None

    def __repr__(self) -> str:
        who = repr(self.actor.id) if self.actor.is_known else "nobody"
        return f"<Request {self.action} {self.name} by {who} over {self.interface}>"
