"""Links: what a class declares as `Many` or `One`, found in the fields of other resources; and which can be set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import pydantic
from pydantic_core import PydanticCustomError

from crudite.resources.declaring.body import BodyField
from crudite.resources.declaring.collect import is_needed
from crudite.resources.declaring.fields import ABSENT, FieldOptions, ManyOf
from crudite.resources.declaring.gather import Gathered, nearest
from crudite.resources.declaring.shapes import Shape
from crudite.schema import Link, ResourceSchema

_WRITES = ("create", "replace", "update", "delete")
MOST_SET = 1000
"""The most keys that a link is set to at once."""

Shapes: TypeAlias = Mapping[type[Any], Mapping[str, Shape]]


@dataclass(frozen=True, eq=False)
class Settable:
    """A link that is set as a whole by keys of the kind of `key`. What is taken out of it `clears` its reference, else
    it is deleted: the record that joins the two, or the one that points here."""

    link: Link
    key: Shape
    clears: bool = False

    @property
    def body_field(self) -> BodyField:
        """The link as a body takes it: a list of keys, or for a link to one a key or null."""
        convert = self.key.convert
        if self.link.is_one:
            return BodyField(self.link.name, self.key.body | None, False, convert)
        about = pydantic.Field(max_length=MOST_SET, json_schema_extra={"uniqueItems": True})
        keys = Annotated[list[self.key.body], about, pydantic.AfterValidator(_each_once)]  # type: ignore[name-defined]
        each = None if convert is None else lambda values: [convert(value) for value in values]
        return BodyField(self.link.name, keys, False, each)


def links_of(found: Gathered, shapes: Shapes) -> dict[str, Link]:
    """The links of a class by name; faults go to what was gathered of it."""
    links = {}
    for name, many in list(found.links.items()):
        try:
            links[name] = _link(name, found, many, shapes)
        except ValueError as error:
            found.fault(name, str(error))
    return links


def settable_links(
    gathered: Mapping[type[Any], Gathered], schemas: Mapping[type[Any], ResourceSchema], shapes: Shapes
) -> dict[type[Any], dict[str, Settable]]:
    """Of every class the links that can be set. Faults, also of a `One` whose other side is not unique, go to what was
    gathered of it."""
    settable: dict[type[Any], dict[str, Settable]] = {cls: {} for cls in gathered}
    classes = {cls.__name__: cls for cls in gathered}
    for cls, found in gathered.items():
        for link in schemas[cls].links.values():
            other = gathered[classes[link.target]]
            try:
                if link.is_one:
                    _check_unique(link, other)
                if found.fields[link.name].settable and "id" in shapes[other.cls]:
                    _check_passed_by(other)
                    settable[cls][link.name] = _settable(link, other, schemas[other.cls], shapes)
            except ValueError as error:
                found.fault(link.name, str(error))
    return settable


def _link(name: str, found: Gathered, many: ManyOf, shapes: Shapes) -> Link:
    options = found.fields[name]
    target = _given(many.target, shapes)
    if options.through is None:
        if options.to is not None:
            raise ValueError("`to` goes with `through` only")
        by = _pointing(shapes, target, found.cls, many.by, None, "by")
        return Link(name, target.__name__, by, is_one=many.is_one, may_include=options.include)
    if many.is_one:
        raise ValueError("a link through another resource leads to many: write Many in place of One")
    joining = _joining(options, shapes)
    named = None if options.to is None else _pointing(shapes, joining, target, options.to, None, "to")
    by = _pointing(shapes, joining, found.cls, many.by, named, "by")
    to = named or _pointing(shapes, joining, target, None, by, "to")
    return Link(name, joining.__name__, by, to=to, end=target.__name__, may_include=options.include)


def _given(target: Any, shapes: Shapes) -> type[Any]:
    if target not in shapes:
        shown = target.__name__ if isinstance(target, type) else repr(target)
        raise ValueError(f"it leads to {shown}, which is not given to App(…)")
    found: type[Any] = target
    return found


def _joining(options: FieldOptions, shapes: Shapes) -> type[Any]:
    """The resource that a link goes through, given as a class or as its name."""
    if not isinstance(options.through, str):
        return _given(options.through, shapes)
    classes = {cls.__name__: cls for cls in shapes}
    if options.through not in classes:
        near = nearest(options.through, classes)
        raise ValueError(f"it goes through {options.through}, which is not given to App(…){near}")
    return classes[options.through]


def _pointing(
    shapes: Shapes, source: type[Any], target: type[Any], named: str | None, other: str | None, word: str
) -> str:
    """The field of `source` that points at `target`: the one that is named, or the only one besides the `other`."""
    where = "here" if word == "by" else f"at {target.__name__}"
    ways = [name for name, shape in shapes[source].items() if shape.target is target and name != other]
    if named is not None and named not in ways:
        raise ValueError(f"{source.__name__}.{named} does not point {where}{nearest(named, ways)}")
    if named is None and not ways:
        raise ValueError(f"no field of {source.__name__} points {where}, such as Ref[{target.__name__}]")
    if named is None and len(ways) > 1:
        names = " and ".join(ways)
        raise ValueError(f"{names} of {source.__name__} point {where}: say Field({word}={ways[0]!r})")
    return named or ways[0]


def _check_unique(link: Link, other: Gathered) -> None:
    """Raises ValueError where several records could point at the same one."""
    groups = other.options.get("unique", ())
    if not other.fields[link.field].unique and (link.field,) not in [tuple(group) for group in groups]:
        way = f"{other.name}.{link.field}"
        raise ValueError(f"several {other.name} could point here: {way} says Field(unique=True), or write Many")


def _check_passed_by(other: Gathered) -> None:
    """Raises ValueError where code goes around what setting a link writes: it would be passed by."""
    around = [action for kind, action in other.hooks if kind == "around" and action in _WRITES]
    if around:
        named = ", ".join(around)
        raise ValueError(
            f"setting it would pass by what goes around {other.name} ({named}): use @before and @after there, or leave "
            "settable away"
        )


def _settable(link: Link, other: Gathered, schema: ResourceSchema, shapes: Shapes) -> Settable:
    fields = shapes[other.cls]
    if link.to is None:
        clears = schema.fields[link.field].nullable
        if not clears and not fields[link.field].is_parent:
            way, here = f"{other.name}.{link.field}", fields[link.field].target.__name__
            raise ValueError(
                f"what is set can also be taken out, and {way} cannot be null: write Ref[{here} | None] there, or "
                f"Parent[{here}], with which what is taken out is deleted"
            )
        return Settable(link, fields["id"], clears)
    given = (link.field, link.to)
    asked = [n for n in other.fields if n in fields and n not in given and n not in other.by_us]
    needed = [n for n in asked if is_needed(n, other.fields[n])]
    key = other.fields["id"]
    if fields["id"].type.kind == "text" and key.default is ABSENT and key.default_factory is None:
        needed.insert(0, "id")
    if needed:
        raise ValueError(f"keys alone do not make a {other.name}: {' and '.join(needed)} of it would need a default")
    return Settable(link, fields[link.to])


def _each_once(keys: list[Any]) -> list[Any]:
    if len(set(keys)) != len(keys):
        raise PydanticCustomError("repeated", "A key comes twice.")
    return keys
