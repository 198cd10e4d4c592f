"""Where a path of names leads: along references, into JSON, and through what an asker may see.

A name that does not exist and one that the asker may never see are the same to him. What he may see in some
records becomes a guard, a filter that holds exactly there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from crudite.query.faults import Complain, is_unstorable, nearest, shown
from crudite.query.presence import present
from crudite.query.simplify import there_and
from crudite.query.tree import EVERYTHING, NOTHING, Filter, Hop, Path, Test, is_judged
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
        """Every record that is there."""
        return present(schema)

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
    """The path leads over a link to other records, and goes on there with `rest`.

    `target` are the records that point back; where the link goes on, `rest` begins with their reference. `way` is what
    was written of the path so far. The asker may follow it where the guards hold, and sees those of the records for
    which `visible` holds.
    """

    hops: tuple[Hop, ...]
    link: Link
    target: ResourceSchema
    way: tuple[str, ...]
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
                return self._many(schema.links[name], hops, names[: index + 1], rest, guards, complain)
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
        hint = nearest(name, self._names(schema))
        if name == "deleted" and schema.is_soft:
            hint = "; deleted records are asked for with deleted=only, or together with the others with deleted=with."
        complain("unknown_field", f"{schema.name} has no field {shown(name)}{hint}")
        return None

    def _guard(self, guards: list[Filter], filter: Filter, hops: tuple[Hop, ...]) -> None:
        if filter != EVERYTHING:
            guards.append(there_and(filter, hops))

    def pointing(self, link: Link) -> tuple[Filter, ...]:
        """Where, in the records of a link's target, the asker may see that they point here, and onward."""
        target = self.catalog[link.target]
        fields = (link.field,) if link.to is None else (link.field, link.to)
        return tuple([self.access.field(target, name) for name in fields])

    def onward(self, link: Link) -> Hop | None:
        """The step from a link's target to where the link goes on; None when it ends there."""
        reference = None if link.to is None else self.catalog[link.target].fields[link.to]
        if reference is None or reference.reference is None:
            return None
        return Hop(reference, self.catalog[reference.reference.target])

    def _may_follow(self, link: Link) -> bool:
        return NOTHING not in self.pointing(link)

    def _many(
        self, link: Link, hops: tuple[Hop, ...], way: tuple[str, ...], rest: tuple[str, ...], guards: list[Filter],
        complain: Complain,
    ) -> Many | None:  # fmt: skip
        target, onward = self.catalog[link.target], self.onward(link)
        visible = (self.access.records(target), *self.pointing(link))
        if is_judged(visible[0]):
            complain("unreadable_path", _IMPASSABLE.format(target.name))
            return None
        if onward is None:
            return Many(hops, link, target, way, rest, tuple(guards), visible)
        seen = self.access.records(onward.target)
        if is_judged(seen):
            complain("unreadable_path", _IMPASSABLE.format(onward.target.name))
            return None
        if rest:
            return Many(hops, link, target, way, (onward.field.name, *rest), tuple(guards), (*visible, _there(onward)))
        there = _there(onward)
        return Many(hops, link, target, way, rest, tuple(guards), (*visible, there, there_and(seen, (onward,))))

    def _names(self, schema: ResourceSchema) -> Iterable[str]:
        yield from (name for name in schema.fields if self.access.field(schema, name) != NOTHING)
        yield from (link.name for link in schema.links.values() if self._may_follow(link))


def _there(hop: Hop) -> Filter:
    """That a reference leads to a record; nothing is asked where it cannot but."""
    reference, key = hop.field.reference, hop.target.key_field
    if not hop.field.nullable and reference is not None and reference.enforced:
        return EVERYTHING
    return Test(Path((hop,), key, (), key.type), "isnull", True, negated=True)


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
