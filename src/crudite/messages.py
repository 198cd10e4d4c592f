"""What goes round: a request of one action, its response, and a query that is to be kept live."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from crudite.changes import Mark
from crudite.query.plan import Plan
from crudite.types import Key

ActionName: TypeAlias = Literal[
    "list", "read", "create", "replace", "update", "delete", "history", "restore", "purge", "deleted", "list_deleted"
]  # fmt: skip
"""What rules are about: the six actions, and looking at the history of a record, where one is kept; where deleted
records are kept, bringing one back, deleting one for good, and seeing those that may be brought back."""
ACTIONS: tuple[ActionName, ...] = ("list", "read", "create", "replace", "update", "delete")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is asking. Nobody known is `ANONYMOUS`, whose `id` is None.

    `roles` and `claims` are what authentication found; rules speak of them as `me.roles` and `me.<claim>`.
    `expires` is the moment, with a time zone, from which the credentials count no longer: requests are refused
    then, and living connections closed. `session` names one of several sign-ins of the account, so that
    `App.revoke` can speak of it. `rests_on` are the records that the answer was read from, each with the fields that
    matter, or None for any: when one of them changes, whoever lives on the answer is asked about again, and shown
    nothing more by it from that commit on.

    Raises ValueError when `expires` has no time zone.
    """

    id: str | int | None = None
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)
    expires: datetime | None = None
    session: str | None = None
    rests_on: "tuple[tuple[type[Any], Key, frozenset[str] | None], ...]" = field(default=(), hash=False, compare=False)

    def __post_init__(self) -> None:
        if self.expires is not None and self.expires.tzinfo is None:
            raise ValueError(f"Actor.expires needs a time zone, got {self.expires!r}")

    @property
    def is_known(self) -> bool:
        """Whether somebody is signed in."""
        return self.id is not None


ANONYMOUS = Actor()
_STATUSES = {"create": 201, "delete": 204}


@dataclass(frozen=True, eq=False)
class LiveQuery:
    """A query that rules have been applied to, ready to be kept live.

    `identity` is equal for two of them exactly when the same records with the same fields are shown by the same
    schema, so that their subscribers can share one group: it holds the query, the mask, and the values of the
    actor that the rules used. `counts` asks for the number of records in place of the records. `rebind` is
    there when the query speaks of `now` or `today`: it makes the plan for another moment; `boundary_plans` are
    then the plans, for the plan's moment, whose first record's first sort value is a moment at which the result
    can change by itself (with `today`, the next midnight in UTC is one too).
    """

    plan: Plan
    identity: str
    counts: bool = False
    rebind: Callable[[datetime], "LiveQuery"] | None = None
    boundary_plans: tuple[Plan, ...] = ()
    wakes_at_midnight: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client showed to say who it is.

    `token` is a bearer token (RFC 6750), or the one of an `auth` message; `cookies` and `headers` (lower-case
    names) are those of the HTTP request or the WebSocket handshake; `address` is the peer's.
    """

    token: str | None = None
    cookies: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a client shows from now on: `token`, in the cookie `name` where it keeps cookies, until `expires`; None:
    nothing any more. `from_elsewhere`: he may have been sent here by another site, which is known to be in order; what
    another site makes a browser ask for gives it no cookie otherwise."""

    name: str
    token: str | None
    expires: datetime | None = None
    from_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """Records of one page as JSON texts in order, with the cursors of its neighbours.

    `etag` is an opaque text that is equal only while the list is, None when that cannot be promised. `shown` is the
    JSON text of what application code shows in place of a list; there are no `records` then.
    """

    records: Sequence[str]
    next: str | None = None
    prev: str | None = None
    first: bool = True
    total: int | None = None
    etag: str | None = None
    shown: str | None = None

    @property
    def json(self) -> str:
        """The JSON text of the array of records, or of what is shown in its place."""
        return f"[{','.join(self.records)}]" if self.shown is None else self.shown

    @property
    def status(self) -> int:
        """The status by which REST tells it in today's style."""
        return 200

    @property
    def data(self) -> Any:
        """The records, as data that JSON can hold: a copy."""
        return msgspec.json.decode(self.json)

    def with_data(self, data: Any) -> "Listed":
        """The same page with other records to show, or with anything else in place of a list that JSON can hold."""
        if _is_several(data):
            return replace(self, records=[_text(record) for record in data], etag=None, shown=None)
        return replace(self, records=(), etag=None, shown=_text(data))


@dataclass(frozen=True, slots=True)
class Found:
    """One record: its JSON text and its version."""

    json: str
    version: int
    shared: bool = True
    """Whether every actor who may read the record sees exactly this."""

    @property
    def status(self) -> int:
        """The status by which REST tells it in today's style."""
        return 200

    @property
    def data(self) -> Any:
        """The record, as data that JSON can hold: a copy."""
        return msgspec.json.decode(self.json)

    def with_data(self, record: Any) -> "Found":
        """The same record, shown as something else that JSON can hold."""
        return replace(self, json=_text(record), shared=False)


@dataclass(frozen=True, slots=True)
class Written:
    """What a create, replace, update, delete or restore did, or the setting of a whole.

    `records` are the JSON texts of the written records as the asker may see them, None where he may not (and
    after a delete); `many` tells an array from one record. `mark` is the commit's place in the change log. Where it
    `is_replaced`, application code shows something else in their place; without `keys`, in place of the write, too.
    `shown` is the JSON text of what it shows in place of an array.
    """

    action: Literal["create", "replace", "update", "delete", "restore", "set"]
    keys: Sequence[Key]
    versions: Sequence[int]
    records: Sequence[str | None]
    many: bool = False
    mark: Mark | None = None
    is_replaced: bool = False
    shown: str | None = None

    @property
    def json(self) -> str | None:
        """The JSON text of the record, or of the array of records; None when there is nothing to show."""
        if self.shown is not None:
            return self.shown
        if not self.many:
            return self.records[0]
        return f"[{','.join(r for r in self.records if r is not None)}]"

    @property
    def status(self) -> int:
        """The status by which REST tells it in today's style."""
        return _STATUSES.get(self.action, 200)

    @property
    def data(self) -> Any:
        """The record, or a list of the records, as data that JSON can hold: a copy; None when there is nothing to
        show."""
        return None if self.json is None else msgspec.json.decode(self.json)

    def with_data(self, data: Any) -> "Written":
        """The same writes, shown as something else that JSON can hold. A list in place of several records is as long as
        they are: raises ValueError for one of another length."""
        if self.many and not _is_several(data):
            return replace(self, is_replaced=True, shown=_text(data))
        shown = list(data) if self.many else [data]
        if len(shown) != len(self.records):
            raise ValueError(f"{len(self.records)} records were written, {len(shown)} are to be shown")
        records = [None if one is None else _text(one) for one in shown]
        return replace(self, records=records, is_replaced=True, shown=None)


@dataclass(frozen=True, slots=True)
class Redirect:
    """What a handler returns to send a browser elsewhere: HTTP answers 303 (RFC 9110, section 15.4.4), all else tells
    the `location`, a URL or a path. Whoever takes that from a request makes sure first where it leads.

    Raises ValueError for what is no URL in ASCII.
    """

    location: str

    def __post_init__(self) -> None:
        if not self.location or not all("!" <= one <= "~" for one in self.location):
            raise ValueError(f"a location is a URL, in which all else is escaped with %; got {self.location!r}")


@dataclass(frozen=True, slots=True)
class Answered:
    """What a handler answered, as data that JSON can hold, and where it sends a browser, if it does."""

    value: Any
    location: str | None = None

    @property
    def json(self) -> str:
        """The answer's JSON text."""
        return _text(self.value)

    @property
    def status(self) -> int:
        """The status by which REST tells it in today's style."""
        return 200 if self.location is None else 303

    @property
    def data(self) -> Any:
        """The answer itself."""
        return self.value

    def with_data(self, value: Any) -> "Answered":
        """Another answer, which is what JSON can hold."""
        return replace(self, value=value)


@dataclass(frozen=True, slots=True)
class Live:
    """The answer to a subscription: the query to keep live."""

    query: LiveQuery

    @property
    def status(self) -> int:
        """The status by which REST tells it in today's style."""
        return 200

    @property
    def data(self) -> None:
        """Nothing: records come later, as events."""
        return None

    def with_data(self, _: Any) -> "Live":
        """Raises TypeError: events are not made here."""
        raise TypeError(
            "a live query shows what the rules let its subscriber see; nothing else can be put in its place"
        )


def _is_several(data: Any) -> bool:
    return isinstance(data, Iterable) and not isinstance(data, Mapping | str | bytes)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


Response: TypeAlias = Listed | Found | Written | Answered | Live
