"""Intended and committed changes, and places in the log of all changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import msgspec

from crudite.query.plan import Need, Selection
from crudite.query.tree import Filter
from crudite.schema import Catalog, ResourceSchema
from crudite.types import Key, Plain, PlainRecord

ChangeKind: TypeAlias = Literal["created", "updated", "deleted"]

ResetReason: TypeAlias = Literal["gap", "epoch", "schema", "rights", "too_many", "window", "undecodable"]
"""Why what a client holds is void: the log was trimmed; it is another log; the schema changed; rights changed;
the step is too large; the kind of query cannot be resumed; a row of the log could not be decoded."""

NO_VERSION = 2**63 - 1
"""A version that no record has; what is larger than a store can compare stands for this."""

Mark: TypeAlias = str
"""The place of one commit in the log, opaque: what a write answers, what `covers` understands."""


class Guard(msgspec.Struct, frozen=True):
    """A further condition on the stored record, for writing `fields` of it."""

    fields: tuple[str, ...]
    filter: Filter


class Along(msgspec.Struct, frozen=True):
    """What else happens with a record that is deleted or restored, at `moment` (plain), to those that point at it.

    - `delete`: for good. Those that `force` who deletes to say so go first, with what points at them by a reference
      that cascades or forces. (What foreign keys do by themselves needs no word.)
    - `hide`: the record, and those that go along, get the moment as DELETED_AT, or are deleted where none are kept;
      references that are cleared become null; where one stays that points at any of them, all is refused as
      `referenced`. `is_forced` makes those go along that force, too.
    - `restore`: the record, and those that went along with it, lose their DELETED_AT; where one would point at a record
      that is deleted, all is refused as `reference`.
    """

    how: Literal["delete", "hide", "restore"]
    catalog: Catalog
    moment: str
    is_forced: bool = False


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One intended change, with all that it depends on; everything is checked inside its transaction.

    `values` are the plain values of the fields to set (for `create`, of every field that is not left to the
    database's default). The store sets `version`, `created_at` and `updated_at`.

    - `expect`: the version that the stored record must have.
    - `seen`: what of the stored record must be as it was seen and does not move its version (update, delete).
    - `where`: a bound filter that must hold for the stored record (update, delete).
    - `guards`: further ones for single fields.
    - `needs`: records of other resources that must be there.
    - `check_after`: a bound filter that must hold for the record as it would be stored (create, update).
    - `returning`: what to return of the record as it is stored now; nothing when the selection excludes it.
    - `along`: a delete, or an update that restores, takes other records along.
    """

    action: Literal["create", "update", "delete"]
    schema: ResourceSchema
    key: Key | None
    values: Mapping[str, Plain] = {}
    expect: int | None = None
    seen: Mapping[str, Plain] = {}
    where: Filter | None = None
    guards: tuple[Guard, ...] = ()
    needs: tuple[Need, ...] = ()
    check_after: Filter | None = None
    returning: Selection | None = None
    along: Along | None = None


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """The writes of one request: all of them are committed, in order, or none. `actor`, `request` and `interface` say
    who asked for them, in which request, and how it came in."""

    writes: tuple[Write, ...]
    actor: str | None = None
    request: str | None = None
    interface: str | None = None


class Stored(msgspec.Struct, frozen=True):
    """The outcome of one write: the record's key and version now, and `json`, the text of what was asked for by
    `returning` (None when nothing was asked, or the selection does not hold the record)."""

    key: Key
    version: int
    json: str | None = None


class Commit(msgspec.Struct, frozen=True):
    """A unit that is committed and durable: its mark (None when it wrote nothing that is logged) and what came
    of each of its writes."""

    mark: Mark | None
    stored: tuple[Stored, ...]


RefusalKind: TypeAlias = Literal[
    "missing", "version", "where", "guard", "need", "after", "unique", "reference", "referenced", "check"
]


class Refused(Exception):
    """A unit was not committed: its write number `index` (from 0) could not be made, and nothing changed.

    `kind`: there is no such record (`missing`); it has another `version`, or other values than were `seen` in `fields`
    (`version`, too); `where`, a `guard`, a `need` or
    `check_after` (`after`) does not hold; a value is not `unique` (the key included); a foreign key points at
    nothing (`reference`); other records still point here (`referenced`); a check of the database (`check`).
    `fields` are the fields concerned, as far as they are known.
    """

    def __init__(self, index: int, kind: RefusalKind, fields: tuple[str, ...] = (), detail: str = "") -> None:
        super().__init__(f"write {index}: {kind} {', '.join(fields)} {detail}".rstrip())
        self.index = index
        self.kind: RefusalKind = kind
        self.fields = fields
        self.detail = detail


class Position(Protocol):
    """A place in the change log: everything up to here is known."""

    @property
    def token(self) -> bytes:
        """The position as bytes, for a cursor; only its own store understands them."""
        ...

    def covers(self, mark: Mark) -> bool:
        """Whether the commit with that mark is at or before this position."""
        ...


class Undecodable(ValueError):
    """An image in the log cannot be parsed: another program wrote what is no JSON, or no UTF-8."""


class Change:
    """One committed change of one record, with its images before and after.

    The images are the JSON texts of all fields but the secret ones; `before` and `after` parse them at first
    use, and raise Undecodable when that cannot be. `mark` is its commit's place.
    """

    __slots__ = ("_after", "_before", "after_json", "before_json", "key", "kind", "mark", "schema")

    def __init__(
        self,
        schema: ResourceSchema,
        key: Key,
        kind: ChangeKind,
        before_json: str | None,
        after_json: str | None,
        mark: Mark,
    ) -> None:
        self.schema = schema
        self.key = key
        self.kind: ChangeKind = kind
        self.before_json = before_json
        self.after_json = after_json
        self.mark = mark
        self._before: PlainRecord | None = None
        self._after: PlainRecord | None = None

    @property
    def before(self) -> PlainRecord | None:
        """The record before the change; None when it was created."""
        if self._before is None and self.before_json is not None:
            self._before = self._parse(self.before_json)
        return self._before

    @property
    def after(self) -> PlainRecord | None:
        """The record after the change; None when it was deleted."""
        if self._after is None and self.after_json is not None:
            self._after = self._parse(self.after_json)
        return self._after

    def _parse(self, image: str) -> PlainRecord:
        try:
            record: PlainRecord = msgspec.json.decode(image)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Undecodable(f"{self!r}: {error}") from error
        return record

    def __repr__(self) -> str:
        return f"<{self.schema.name} {self.key!r} {self.kind} at {self.mark}>"


@dataclass(frozen=True, slots=True)
class Reset:
    """The log does not lead from where somebody stands to now; what he holds is void."""

    reason: ResetReason
