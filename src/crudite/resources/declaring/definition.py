"""What an application declares, compiled: all that the layers above need to know of its resources."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter

from crudite.errors import Fault, Invalid
from crudite.messages import ActionName, Actor
from crudite.query.tree import Filter
from crudite.resources.declaring.body import Body
from crudite.resources.declaring.cascades import CarriedField
from crudite.resources.declaring.collect import HookKind
from crudite.resources.declaring.default_filters import DefaultFilter
from crudite.resources.declaring.field_validators import Asked
from crudite.resources.declaring.links import Settable
from crudite.resources.declaring.shapes import Convert
from crudite.resources.hooks import Hook
from crudite.resources.judging import Tally
from crudite.schema import Catalog, Link, Reference, ResourceSchema
from crudite.types import Plain, PlainRecord

BodyName: TypeAlias = Literal["create", "replace", "update"]
MakeDefault: TypeAlias = Callable[[Actor, datetime], Plain]
"""Makes the plain default of a field for who asks and when; None when the asker has no such value."""

REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """Between the Python value of one field and its plain one; `from_plain` None: they are the same."""

    name: str
    nullable: bool
    to_plain: Convert
    from_plain: Convert | None


@dataclass(frozen=True, eq=False)
class Definition:
    """One resource, compiled. Compared by identity: an application makes each one once.

    `rules` has a resolved rule for every action; `field_read` and `field_write` for those fields that have
    one. `hooks` are in the order of declaration, those of a base class first; `field_hooks` are those around a field at
    its own path. `passwords` are the fields
    whose text is to be hashed before it is stored. `validators` are asked of fields that are about to be
    written, `default_filters` hold for lists that say nothing of a field, `cascades` say where changed fields are
    carried. `settable` are the links that bodies may set. `memo` is for whoever wants to keep something with the
    definition.
    """

    cls: type[Any]
    schema: ResourceSchema
    parents: tuple[str, ...]
    only_nested: bool
    rules: Mapping[ActionName, Filter]
    field_read: Mapping[str, Filter]
    field_write: Mapping[str, Filter]
    immutable: frozenset[str]
    defaults: Mapping[str, MakeDefault]
    static_defaults: Mapping[str, Plain]
    hooks: Mapping[tuple[HookKind, ActionName], tuple[Hook, ...]]
    field_hooks: Mapping[tuple[ActionName, str], tuple[Hook, ...]]
    limit: int
    max_limit: int
    bodies: Mapping[BodyName, Body]
    whole: Body
    shown: TypeAdapter[Any]
    passwords: tuple[str, ...]
    codecs: tuple[Codec, ...]
    validators: Mapping[str, tuple[Asked, ...]] = field(default_factory=dict)
    default_filters: Mapping[str, DefaultFilter] = field(default_factory=dict)
    cascades: Mapping[str, tuple[CarriedField, ...]] = field(default_factory=dict)
    settable: Mapping[str, Settable] = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.schema.name

    @property
    def path(self) -> str:
        """The name in URLs."""
        return self.schema.path

    @property
    def links(self) -> Mapping[str, Link]:
        """The references of other resources that are declared here as `Many`."""
        return self.schema.links

    @cached_property
    def references(self) -> tuple[tuple[str, Reference], ...]:
        """The fields that point at other records."""
        return tuple((f.name, f.reference) for f in self.schema.fields.values() if f.reference is not None)

    def make_defaults(self, actor: Actor, now: datetime, given: Collection[str] | None = None) -> PlainRecord:
        """The plain defaults of the fields that are not among `given`.

        A default such as `me.id` that the actor has no value for is left out; with `given`, Invalid is raised
        when the field then has no value though it needs one.
        """
        present = given if given is not None else ()
        values = {name: value for name, value in self.static_defaults.items() if name not in present}
        faults = []
        for name, make in self.defaults.items():
            if name in present:
                continue
            value = make(actor, now)
            if value is not None or self.schema.fields[name].nullable:
                values[name] = value
            elif given is not None:
                faults.append(Fault("missing", "This field is required.", pointer=f"/{name}"))
        if faults:
            raise Invalid(faults=faults)
        return values

    def without_links(self, values: PlainRecord) -> tuple[PlainRecord, PlainRecord | None]:
        """The values of a body that are those of fields, and those that are for links, if any are."""
        if not self.settable or self.settable.keys().isdisjoint(values):
            return values, None
        links = {name: value for name, value in values.items() if name in self.settable}
        return {name: value for name, value in values.items() if name not in links}, links

    def without_ours(self, action: BodyName, values: PlainRecord) -> tuple[PlainRecord, PlainRecord]:
        """The values of a body that are to be written, and those that only repeat what the server has set."""
        repeated = self.bodies[action].repeated
        if repeated.isdisjoint(values):
            return values, {}
        ours = {name: value for name, value in values.items() if name in repeated}
        return {name: value for name, value in values.items() if name not in ours}, ours

    def from_plain(self, record: PlainRecord) -> Any:
        """An instance of the class with the values of a plain record; what is not there is not set."""
        instance: Any = object.__new__(self.cls)
        values = instance.__dict__
        for codec in self.codecs:
            if codec.name in record:
                plain = record[codec.name]
                convert = codec.from_plain
                values[codec.name] = plain if plain is None or convert is None else convert(plain)
        return instance

    def to_plain(self, instance: Any) -> PlainRecord:
        """The plain values of an instance, as far as they are set. Raises Invalid with the fault of each
        value that is not of its field's type; limits such as lengths are checked by `validated`."""
        values: dict[str, Any] = instance.__dict__
        plain: PlainRecord = {}
        faults: list[Fault] = []
        for codec in self.codecs:
            if codec.name not in values:
                continue
            value = values[codec.name]
            if value is None and codec.nullable:
                plain[codec.name] = None
                continue
            try:
                plain[codec.name] = codec.to_plain(value)
            except Exception as error:  # a model's own serializer may raise anything
                text = str(error) if type(error) is ValueError else "it is not of the field's type"
                faults.append(Fault("bad_value", f"{codec.name}: {text}.", pointer=f"/{codec.name}"))
        if faults:
            raise Invalid(faults=faults)
        return plain

    def validated(self, values: Mapping[str, Plain]) -> PlainRecord:
        """Plain values, such as those that a hook has set, when they keep all limits. Raises Invalid with
        every fault; `version`, `created_at` and `updated_at` cannot be among them."""
        return self.whole.parse_python(values)

    def json_schema(self, action: ActionName) -> dict[str, Any]:
        """The JSON Schema (2020-12) of what an action takes, or for reading gives: a reference to the
        component `Task`, `TaskCreate`, `TaskReplace` or `TaskUpdate`."""
        return {"$ref": REF.format(model=self.component(action))}

    def component(self, action: ActionName) -> str:
        """The name of that component."""
        return f"{self.name}{action.capitalize()}" if action in self.bodies else self.name

    def __repr__(self) -> str:
        return f"<Definition {self.name}>"


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a resource stands: at the path `pattern`, such as `/posts/{key}/comments`, in which each `{key}` is that of
    a record in `above`, outermost first, which the named field of the one below it points at.

    `definition` is the resource with the rules that hold here, `actions` is what can be done here. A body that
    `says_parent` must name the nearest record above it; else it gets it from the path.
    """

    pattern: str
    above: tuple[tuple[Definition, str], ...]
    definition: Definition
    actions: frozenset[str]
    says_parent: bool = False


class Definitions:
    """All resources of one application, in the order they were given: iterate for the definitions. `places` are where
    each of them stands, none for one that no client gets at."""

    def __init__(
        self,
        definitions: Mapping[type[Any], Definition],
        catalog: Catalog,
        places: Mapping[Definition, tuple[Placement, ...]],
    ) -> None:
        self._by_class = dict(definitions)
        self.catalog = catalog
        self.places = places
        self.by_path: Mapping[str, Definition] = {d.path: d for d in self._by_class.values()}
        self.by_name: Mapping[str, Definition] = {d.name: d for d in self._by_class.values()}
        self.tally = Tally()
        self.provided: dict[Any, Any] = {}
        """What application code is given by type, once the application has started."""

    def __getitem__(self, cls: type[Any]) -> Definition:
        """The definition of a class. Raises TypeError for what is no resource of the application."""
        found = self._by_class.get(cls)
        if found is None:
            name = cls.__name__ if isinstance(cls, type) else repr(cls)
            raise TypeError(f"{name} is no resource of this application: App(…) was not given it")
        return found

    def get(self, cls: type[Any]) -> Definition | None:
        """The definition of a class; None when the application does not know it."""
        return self._by_class.get(cls)

    def __contains__(self, cls: object) -> bool:
        return cls in self._by_class

    def __iter__(self) -> Iterator[Definition]:
        return iter(self._by_class.values())

    def __len__(self) -> int:
        return len(self._by_class)

    @cached_property
    def components(self) -> Mapping[str, dict[str, Any]]:
        """The JSON Schemas of all bodies and records, and of what is nested in them, by their names:
        OpenAPI's `components.schemas`."""
        wanted: list[tuple[str, Literal["validation", "serialization"], TypeAdapter[Any]]] = []
        for definition in self:
            wanted.append((definition.name, "serialization", definition.shown))
            wanted += [(body.name, "validation", body.adapter) for body in definition.bodies.values()]
        _, made = TypeAdapter.json_schemas(wanted, ref_template=REF)
        schemas: dict[str, dict[str, Any]] = made.get("$defs", {})
        return schemas
