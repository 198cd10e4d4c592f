"""What a query includes: paths along references and links, to what an asker may see of the records there."""

from collections.abc import Iterable
from typing import TypeAlias

from crudite.query.faults import Complain, shown
from crudite.query.paths import MAX_PATH, Access, Paths
from crudite.query.plan import MOST_INCLUDED, Include, Mask, Selection, Through
from crudite.query.simplify import guard
from crudite.query.tree import EVERYTHING, NOTHING, Hop, is_judged
from crudite.schema import Catalog, Link, ResourceSchema

MAX_INCLUDES = 10
"""The most paths that one query includes."""

_Tree: TypeAlias = dict[str, "_Tree"]


def includes(
    written: Iterable[str],
    schema: ResourceSchema,
    catalog: Catalog,
    access: Access,
    complain: Complain,
    most: int = MOST_INCLUDED,
) -> tuple[Include, ...]:
    """What the paths with dots among `written` include for an asker, each name once: `project.owner` includes the
    project too; along a link to many at most so many records. A complaint for each path that leads nowhere, or that is
    refused."""
    tree: _Tree = {}
    for text in written:
        names = text.split(".")
        if len(names) > MAX_PATH:
            complain("path_too_long", f"A path has at most {MAX_PATH} names, and {shown(text)} has {len(names)}.")
            continue
        branch = tree
        for name in names:
            branch = branch.setdefault(name, {})
    return _Including(catalog, access, complain, most).of(tree, schema, within_many=False)


def everything_seen(schema: ResourceSchema, access: Access) -> Selection:
    """All that an asker may see of a resource."""
    fields = [(name, access.field(schema, name)) for name in schema.fields]
    always = tuple([name for name, seen in fields if seen == EVERYTHING])
    sometimes = tuple([(name, seen) for name, seen in fields if seen not in (EVERYTHING, NOTHING)])
    return Selection(schema, access.records(schema), Mask(always, sometimes))


class _Including:
    def __init__(self, catalog: Catalog, access: Access, complain: Complain, most: int) -> None:
        self._most = most
        self._catalog = catalog
        self._access = access
        self._complain = complain
        self._paths = Paths(catalog, access)

    def of(self, tree: _Tree, schema: ResourceSchema, *, within_many: bool) -> tuple[Include, ...]:
        found = (self._one(name, inner, schema, within_many) for name, inner in tree.items())
        return tuple([include for include in found if include is not None])

    def _one(self, name: str, inner: _Tree, schema: ResourceSchema, within_many: bool) -> Include | None:
        along = self._paths.step(name, schema, self._complain)
        if along is None:
            return None
        if not _may_include(along):
            self._complain("bad_include", f"{shown(name)} of {schema.name} is not for including.")
            return None
        if isinstance(along, Hop):
            seen = self._seen(name, along.target)
            where = self._access.field(schema, name)
            return None if seen is None else Include(along, self._with(seen, inner, within_many), where)
        if within_many and not along.is_one:
            text = f"{shown(name)} of {schema.name} leads to many records within many: one link is followed in a path."
            self._complain("bad_include", text)
            return None
        return self._linked(along, inner, within_many=within_many or not along.is_one)

    def _linked(self, link: Link, inner: _Tree, *, within_many: bool) -> Include | None:
        target, onward = self._catalog[link.target], self._paths.onward(link)
        seen = self._seen(link.name, target)
        if seen is None:
            return None
        pointing = guard(self._paths.pointing(link), seen.filter)
        if onward is None:
            selection = Selection(target, pointing, seen.mask)
            return Include(link, self._with(selection, inner, within_many), most=self._most)
        reached = self._seen(link.name, onward.target)
        if reached is None:
            return None
        along = Through(link, target, onward.field.name, pointing)
        return Include(along, self._with(reached, inner, within_many), most=self._most)

    def _seen(self, name: str, target: ResourceSchema) -> Selection | None:
        """All that the asker may see of a resource that is included; None, and a complaint, where only a function can
        tell."""
        seen = everything_seen(target, self._access)
        if not is_judged(seen.filter):
            return seen
        text = f"{shown(name)} cannot be included: a function decides which records of {target.name} may be read."
        self._complain("bad_include", text)
        return None

    def _with(self, seen: Selection, inner: _Tree, within_many: bool) -> Selection:
        within = self.of(inner, seen.schema, within_many=within_many)
        return Selection(seen.schema, seen.filter, Mask(seen.mask.always, seen.mask.sometimes, within))


def _may_include(along: Hop | Link) -> bool:
    """Whether the declaration lets queries ask for what a reference or a link leads to."""
    if isinstance(along, Link):
        return along.may_include
    return along.field.reference is None or along.field.reference.may_include
