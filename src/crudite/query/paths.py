"""Where a path of names leads: along references, into JSON, and through what an asker may see.

A name that does not exist and one that the asker may never see are the same to him. What he may see in some
records becomes a guard, a filter that holds exactly there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from crudite.query.faults import Complain, is_unstorable, nearest, shown
from crudite.query.simplify import there_and
from crudite.query.tree import EVERYTHING, NOTHING, Filter, Hop, Path, is_judged
from crudite.schema import Catalog, FieldSpec, Link, ResourceSchema

MAX_PATH = 6
"""The largest number of names in one path."""
MAX_NAME = 200
"""The most characters of one name in a path: names inside JSON can be anything."""

_IMPASSABLE = "A path cannot go through {}: a function decides which of its records may be read."


class Access(Protocol):
    """What one asker may read, as bound filters."""

    def records(self, schema: ResourceSchema) -> Filter:
        """The records of a resource that he may read."""
        ...

    def field(self, schema: ResourceSchema, name: str) -> Filter:
        """The records in which he may read a field, apart from `records`; NOTHING: never."""
        ...


class FullAccess:
    """Everything but secret fields may be read: for rules, and for the server's own queries."""

    def records(self, schema: ResourceSchema) -> Filter:
        """Every record."""
        return EVERYTHING

    def field(self, schema: ResourceSchema, name: str) -> Filter:
        """Every record, but for a secret field none."""
        return NOTHING if schema.fields[name].secret else EVERYTHING


@dataclass(frozen=True, slots=True)
class One:
    """The path leads to one value; the asker may see it where all of the guards hold."""

    path: Path
    guards: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Many:
    """The path leads over a link to many records, and goes on there with `rest`.

    The asker may follow it where the guards hold, and sees those of the records for which `visible` holds.
    """

    hops: tuple[Hop, ...]
    link: Link
    target: ResourceSchema
    rest: tuple[str, ...]
    guards: tuple[Filter, ...]
    visible: tuple[Filter, ...]


@dataclass(slots=True)
class Paths:
    """Finds where paths lead for one asker."""

    catalog: Catalog
    access: Access
    _guards: list[Filter] = field(default_factory=list)

    def find(self, names: tuple[str, ...], schema: ResourceSchema, complain: Complain) -> One | Many | None:
        """Where a path leads from a record of a resource; None, and a complaint, when it leads nowhere."""
        if len(names) > MAX_PATH:
            complain("path_too_long", f"A path has at most {MAX_PATH} names, and this one has {len(names)}.")
            return None
        guards: list[Filter] = []
        hops: tuple[Hop, ...] = ()
        for index, name in enumerate(names):
            rest = names[index + 1 :]
            if name in schema.links and self._may_follow(schema.links[name]):
                return self._many(schema.links[name], hops, rest, guards, complain)
            spec = self.field(name, schema, complain)
            if spec is None:
                return None
            self._guard(guards, self.access.field(schema, name), hops)
            if not rest or spec.reference is None:
                return _inside(spec, rest, hops, tuple(guards), complain)
            schema = self.catalog[spec.reference.target]
            hops = (*hops, Hop(spec, schema))
            seen = self.access.records(schema)
            if is_judged(seen):
                complain("unreadable_path", _IMPASSABLE.format(schema.name))
                return None
            self._guard(guards, seen, hops)
        raise AssertionError("a path has at least one name")

    def step(self, name: str, schema: ResourceSchema, complain: Complain) -> Hop | Link | None:
        """The reference or the link of that name, if the asker may see it anywhere; else None, and a complaint."""
        if name in schema.links and self._may_follow(schema.links[name]):
            return schema.links[name]
        spec = self.field(name, schema, complain)
        if spec is None:
            return None
        if spec.reference is None:
            complain("bad_include", f"{shown(name)} of {schema.name} leads to no other records.")
            return None
        return Hop(spec, self.catalog[spec.reference.target])

    def field(self, name: str, schema: ResourceSchema, complain: Complain) -> FieldSpec | None:
        """The field of that name, if the asker may see it anywhere."""
        spec = schema.fields.get(name)
        if spec is not None and self.access.field(schema, name) != NOTHING:
            return spec
        complain("unknown_field", f"{schema.name} has no field {shown(name)}{nearest(name, self._names(schema))}")
        return None

    def _guard(self, guards: list[Filter], filter: Filter, hops: tuple[Hop, ...]) -> None:
        if filter != EVERYTHING:
            guards.append(there_and(filter, hops))

    def _may_follow(self, link: Link) -> bool:
        return self.access.field(self.catalog[link.target], link.field) != NOTHING

    def _many(
        self, link: Link, hops: tuple[Hop, ...], rest: tuple[str, ...], guards: list[Filter], complain: Complain
    ) -> Many | None:
        target = self.catalog[link.target]
        visible = (self.access.records(target), self.access.field(target, link.field))
        if is_judged(visible[0]):
            complain("unreadable_path", _IMPASSABLE.format(target.name))
            return None
        return Many(hops, link, target, rest, tuple(guards), visible)

    def _names(self, schema: ResourceSchema) -> Iterable[str]:
        yield from (name for name in schema.fields if self.access.field(schema, name) != NOTHING)
        yield from (link.name for link in schema.links.values() if self._may_follow(link))


def _inside(
    spec: FieldSpec,
    rest: tuple[str, ...],
    hops: tuple[Hop, ...],
    guards: tuple[Filter, ...],
    complain: Complain,
) -> One | None:
    type = spec.type
    for name in rest:
        inner = type.members.get(name) if type.members is not None else type.values
        if inner is None:
            what = f"{spec.name!r} has no declared value {shown('.'.join(rest))} inside"
            complain("unknown_field", what + nearest(name, type.members or ()))
            return None
        if type.members is None and not _may_be_asked(name, complain):
            return None
        type = inner
    return One(Path(hops, spec, rest, type), guards)


def _may_be_asked(name: str, complain: Complain) -> bool:
    """Whether a name that nobody has declared, the key of a dictionary, can be part of a query."""
    if len(name) > MAX_NAME:
        complain("name_too_long", f"A name has at most {MAX_NAME} characters, and this one has {len(name)}.")
    elif is_unstorable(name):
        complain("bad_text", "A name must not hold U+0000 or a lone surrogate.")
    else:
        return True
    return False
