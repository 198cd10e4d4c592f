"""The schema of a resource and the catalog of all of them."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

import msgspec

from crudite.schema.fields import FieldType
from crudite.types import Plain

NO_DEFAULT: Final = msgspec.UNSET
"""Stands in `FieldSpec.default` where a field has no default that the database could fill in."""

DELETED_AT: Final = "deleted_at"
"""The field of resources with `soft_delete` that says when a record was deleted; null in all that are there."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A field that holds the key of a record of another resource.

    `target` is the name of that resource. `enforced` references are foreign keys of the database; what happens
    to this record when its target is deleted is `on_delete` (`force`: as `restrict`, unless the delete says that it
    goes too). A parent also gives the nested path. `may_include`: queries may ask for the record that it points at.
    """

    target: str
    parent: bool = False
    enforced: bool = True
    on_delete: Literal["restrict", "cascade", "clear", "force"] = "restrict"
    may_include: bool = True


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field. `default` is plain; `default=None` on a nullable field is a default like any other.

    A `secret` field never leaves the store but for the server's own code: it is in no image of the change log.
    `quiet` fields do not move `version` and `updated_at` when they change (they have a rule for reading, and a
    new version would tell everybody that something changed).
    """

    name: str
    type: FieldType
    nullable: bool = False
    default: Plain = field(default=NO_DEFAULT, hash=False)
    unique: bool = False
    indexed: bool = False
    secret: bool = False
    quiet: bool = False
    reference: Reference | None = None
    renamed_from: str | None = None

    def __hash__(self) -> int:
        return hash(self.name)  # a hash of everything would be made anew for every query


@dataclass(frozen=True, slots=True)
class Link:
    """A reference followed backwards: the records of `target` whose `field` holds this record's key.

    `source_key` is the name of the key field of this record's resource. With `to` the link goes on from there: to the
    records of `end` that this reference of the target points at. `is_one`: there is at most one record of the target.
    `may_include`: queries may ask for what it leads to.
    """

    name: str
    target: str
    field: str
    source_key: str = "id"
    to: str | None = None
    end: str | None = None
    is_one: bool = False
    may_include: bool = True

    @property
    def leads_to(self) -> str:
        """The name of the resource of the records that it leads to."""
        return self.end or self.target


@dataclass(frozen=True, eq=False)
class ResourceSchema:
    """What a store needs to know of a resource. Compared by identity: an application makes each one once.

    `fields` holds every stored field in order, the key first, `version`, `created_at` and `updated_at` last.
    `unique` are groups of fields whose values together occur once, `alike` those of them in which null is a value.
    Without `logged` its changes are in no log. `search` are the fields of text in which words are searched. `history`
    says for how many seconds the changes of its records are kept beyond the log, for ever when it is infinite; None:
    no longer than the log is. `soft_delete` says for how many seconds deleted records are kept, with the moment in
    DELETED_AT; None: they are not.
    A record made without a key gets a new UUIDv7 or, where the key is an integer, the store's next number.
    """

    name: str
    path: str
    table: str
    fields: Mapping[str, FieldSpec]
    key: str = "id"
    links: Mapping[str, Link] = field(default_factory=dict)
    unique: tuple[tuple[str, ...], ...] = ()
    logged: bool = True
    renamed_from: str | None = None
    search: tuple[str, ...] = ()
    history: float | None = None
    soft_delete: float | None = None
    alike: frozenset[tuple[str, ...]] = frozenset()

    @property
    def is_soft(self) -> bool:
        """Whether a deleted record is kept, and can be restored."""
        return self.soft_delete is not None

    @property
    def key_field(self) -> FieldSpec:
        """The field that holds the key."""
        return self.fields[self.key]

    @property
    def is_numbered(self) -> bool:
        """Whether the key is an integer, so that the store can number the records."""
        return self.key_field.type.kind in ("integer", "bigint")

    @cached_property
    def beside_version(self) -> tuple[FieldSpec, ...]:
        """The fields that somebody reads and of which the version says nothing."""
        return tuple(one for one in self.fields.values() if one.quiet and not one.secret)

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The fields that nobody reads."""
        return frozenset(name for name, one in self.fields.items() if one.secret)

    @cached_property
    def fingerprint(self) -> str:
        """A short text that differs when anything changes that a client of this resource could see."""
        seen = [
            (f.name, f.type.kind, f.type.places, f.type.choices, f.nullable)
            for f in self.fields.values()
            if not f.secret
        ]
        return hashlib.blake2b(repr((self.name, self.path, seen)).encode(), digest_size=8).hexdigest()


class Catalog(Mapping[str, ResourceSchema]):
    """All resources of one application, by name."""

    def __init__(self, schemas: Mapping[str, ResourceSchema]) -> None:
        self._schemas = dict(schemas)
        self.by_path: Mapping[str, ResourceSchema] = {s.path: s for s in self._schemas.values()}
        self.by_table: Mapping[str, ResourceSchema] = {s.table: s for s in self._schemas.values()}

    @cached_property
    def referrers(self) -> Mapping[str, tuple[tuple["ResourceSchema", FieldSpec], ...]]:
        """The fields that point at the records of each resource and are kept from pointing at nothing."""
        found: dict[str, list[tuple[ResourceSchema, FieldSpec]]] = {name: [] for name in self._schemas}
        for schema in self._schemas.values():
            for spec in schema.fields.values():
                if spec.reference is not None and spec.reference.enforced and spec.reference.target in found:
                    found[spec.reference.target].append((schema, spec))
        return {name: tuple(fields) for name, fields in found.items()}

    def __getitem__(self, name: str) -> ResourceSchema:
        return self._schemas[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._schemas)

    def __len__(self) -> int:
        return len(self._schemas)
