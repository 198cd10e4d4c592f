"""Random worlds for the query language: resources, records, filters and sorts, and a real SQLite to ask.

A world holds the same records twice: as rows of STRICT tables, made the way the SQLite dialect documents,
and as the plain records that SQLite's own JSON of them reads as, which is what images in the change log
are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, ClassVar

import apsw
import msgspec
from hypothesis import strategies as st

from crudite.query import tree
from crudite.query.aggregates import aggregate_json, aggregate_records, aggregate_statement
from crudite.query.dialect import Dialect
from crudite.query.match import compile_matcher
from crudite.query.order import compile_sort
from crudite.query.plan import Aggregate, Include, Mask, Measure, Plan, Selection, SortKey
from crudite.query.resolve import Resolver
from crudite.query.sql import Statement, quote, record_json, select
from crudite.query.tree import EVERYTHING, And, Condition, Filter, Not, Or, Path
from crudite.schema import Catalog, FieldSpec, FieldType, Link, Reference, ResourceSchema
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.types import Key, Plain, PlainRecord
from tests.unit.query.shop import Rights

DIALECT = SqliteDialect()

INTEGER, TEXT, FLOAT = FieldType("integer"), FieldType("text"), FieldType("float")
META = FieldType(
    "json",
    members={
        "n": INTEGER, "t": TEXT, "r": FLOAT, "b": FieldType("boolean"), "d": FieldType("date"),
        "u": FieldType("uuid"), "tags": FieldType("json", item=TEXT),
        "in": FieldType("json", members={"n": INTEGER}),
        "any": FieldType("json"), "scores": FieldType("json", values=FLOAT),
    },
)  # fmt: skip
TYPES: dict[str, FieldType] = {
    "text": TEXT,
    "state": FieldType("text", choices=("todo", "done", "TODO")),
    "level": FieldType("integer", choices=(1, 2, 3)),
    "number": INTEGER,
    "big": FieldType("bigint"),
    "ratio": FLOAT,
    "price": FieldType("decimal", places=2),
    "whole": FieldType("decimal", places=0),
    "flag": FieldType("boolean"),
    "day": FieldType("date"),
    "clock": FieldType("time"),
    "moment": FieldType("datetime"),
    "uid": FieldType("uuid"),
    "meta": META,
    "scores": FieldType("json", values=INTEGER),
    "tags": FieldType("json", item=TEXT),
    "numbers": FieldType("json", item=FLOAT),
    "flags": FieldType("json", item=FieldType("boolean")),
    "blob": FieldType("json"),
}
COLUMNS = {
    "integer": "INTEGER",
    "bigint": "INTEGER",
    "boolean": "INTEGER",
    "decimal": "INTEGER",
    "float": "REAL",
}

# Few values, chosen for what goes wrong with them, so that records and filters meet.
TEXTS = [
    "", "a", "A", "ab", "AB", "b", "aba", "é", "e\u0301", "É", "İ", "i", "I", "ı", "ß", "ẞ", "SS", "ſ", "s",
    "K", "k", "\u212a", "😀", "a😀b", "\ud7ff", "\ue000", "\uffff", "\U00010000", "%", "_",
    "a_", "'", '"', "\\",
    "\x01", "\x7f", "\u2028", "\ufeff", " ", "0", "1", "true", "null", "2026-11-20",
]  # fmt: skip
INTEGERS = [0, 1, -1, 2, 3, 10, 2**53 - 1, -(2**53) + 1]
BIGINTS = [0, 1, -1, 9, 10, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.1, 0.2, 0.30000000000000004, 5e-324, 2.2250738585072014e-308, 1e308, -1e308,
          1.7976931348623157e308, 9007199254740992.0, 9007199254740994.0]  # fmt: skip
DECIMALS = ["0.00", "0.01", "-0.01", "1.50", "-1.50", "9999999999999999.99", "-9999999999999999.99", "10.00"]
UUIDS = ["00000000-0000-0000-0000-000000000000", "0190b5a4-9d2e-7a3b-8c4d-5e6f708192a3",
         "ffffffff-ffff-ffff-ffff-ffffffffffff"]  # fmt: skip
NAMES = [
    "alice",
    "a b",
    'q"',
    "back\\slash",
    "it's",
    "[0]",
    "$",
    "*",
    "é",
    "😀",
    "\x01",
    "#-1",
    "\u2028",
    "\\u0061",
]

DATES = ["2026-11-20", "2026-11-21", "0001-01-01", "9999-12-31"]
TIMES = ["00:00:00.000000", "14:40:37.000001", "23:59:59.999999"]
MOMENTS = ["2026-11-20T14:40:37.123456Z", "2026-11-20T14:40:37.000000Z", "0001-01-01T00:00:00.000000Z",
           "9999-12-31T23:59:59.999999Z"]  # fmt: skip
HUGE = [
    2**53 + 1,
    2**53,
    2**64 + 1,
    2**64,
    2**63 + 1,
    2**63,
    2**63 - 1,
    -(2**63) - 1,
    10**300,
    10**310,
    -(10**310),
]
AWKWARD: dict[str, list[Plain]] = {
    "text": TEXTS, "integer": INTEGERS, "bigint": [str(n) for n in BIGINTS], "float": FLOATS, "uuid": UUIDS,
    "decimal": DECIMALS, "boolean": [True, False], "date": DATES, "time": TIMES, "datetime": MOMENTS,
}  # fmt: skip


def awkward(type: FieldType) -> Sequence[Plain]:
    """The awkward values of a type."""
    if type.kind == "decimal" and not type.places:
        return sorted({text[:-3].replace("-0", "0") for text in DECIMALS})
    return AWKWARD.get(type.kind, []) if type.choices is None else type.choices


texts = st.sampled_from(TEXTS) | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=4)
floats = st.sampled_from(FLOATS) | st.floats(allow_nan=False, allow_infinity=False)
_VALUES: dict[str, st.SearchStrategy[Plain]] = {
    "text": texts,
    "integer": st.sampled_from(INTEGERS) | st.integers(-(2**53) + 1, 2**53 - 1),
    "bigint": (st.sampled_from(BIGINTS) | st.integers(-(2**63), 2**63 - 1)).map(str),
    "float": floats,
    "boolean": st.booleans(),
    "date": st.sampled_from(DATES),
    "time": st.sampled_from(TIMES),
    "datetime": st.sampled_from(MOMENTS),
    "uuid": st.sampled_from(UUIDS),
}  # fmt: skip
_SCALARS: st.SearchStrategy[Plain] = (
    st.none()
    | st.booleans()
    | texts
    | st.sampled_from(FLOATS)
    | st.sampled_from([*INTEGERS, *HUGE])
    | st.sampled_from(UUIDS)
)
foreign_json = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(list(META.members or ())), inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=8,
)


def values(type: FieldType) -> st.SearchStrategy[Plain]:
    """Plain values of a type. Making a strategy takes far longer than drawing from it, so each is made once."""
    return _MADE[id(type)] if id(type) in _MADE else _made(type)


def _made(type: FieldType) -> st.SearchStrategy[Plain]:
    if type.choices is not None:
        return st.sampled_from(type.choices)
    if type.kind == "decimal":
        return st.sampled_from(awkward(type))
    if type.kind == "json":
        members: dict[str, st.SearchStrategy[Plain]] = {}
        for name, member in (type.members or {}).items():
            members[name] = st.none() | _made(member)
        tidy = st.fixed_dictionaries({}, optional=members) if members else st.nothing()
        if type.item is not None:
            tidy = st.lists(_made(type.item), max_size=3)
        if type.values is not None:
            tidy = st.dictionaries(st.sampled_from(NAMES), _made(type.values), max_size=3)
        return tidy | foreign_json
    return _VALUES[type.kind]


_MADE = {id(type): _made(type) for type in (*TYPES.values(), *(META.members or {}).values())}
"""The strategies of the types that there are always."""


@cache
def _or_none(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@dataclass(eq=False)
class World:
    """A catalog with its records, as rows and as plain data."""

    dialect: ClassVar[Dialect] = DIALECT

    catalog: Catalog
    database: apsw.Connection
    records: dict[str, list[PlainRecord]] = field(default_factory=dict)

    def get(self, schema: ResourceSchema, key: Key) -> PlainRecord | None:
        return next((r for r in self.records[schema.name] if r[schema.key] == key), None)

    def pointing(self, schema: ResourceSchema, field: str, key: Key) -> Iterable[PlainRecord]:
        return [r for r in self.records[schema.name] if r[field] == key]

    def resolver(self, name: str) -> Resolver:
        return Resolver(self.catalog[name], self.catalog)

    def resolved(self, name: str, written: Filter) -> Filter:
        resolver = self.resolver(name)
        filter = resolver.filter(written)
        resolver.check()
        return filter

    def matched(self, name: str, filter: Filter, sort: Sequence[SortKey] = ()) -> list[Key]:
        """The keys of the records that the matcher accepts, in the order of the sort."""
        holds = compile_matcher(filter, self)
        found = [record for record in self.records[name] if holds(record)]
        key = self.catalog[name].key
        return [record[key] for record in sorted(found, key=compile_sort(sort, self))]

    def rows(self, plan: Plan) -> list[tuple[Any, ...]]:
        """The rows of a plan, as the database gives them."""
        return list(self.database.execute(*select(plan, DIALECT)))

    def comes_to(self, name: str, filter: Filter, aggregate: Aggregate) -> Any:
        """What the records come to, as the database finds."""
        schema = self.catalog[name]
        statement = aggregate_statement(Selection(schema, filter, Mask((schema.key,))), aggregate, self.dialect)
        records = aggregate_records(aggregate, self.asked(statement), self.dialect)
        return msgspec.json.decode(aggregate_json(aggregate, records))

    def asked(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        return list(self.database.execute(*statement))

    def selected(self, name: str, filter: Filter, sort: Sequence[SortKey] = ()) -> list[Key]:
        """The keys of the records that the database finds, in its order."""
        schema = self.catalog[name]
        selection = Selection(schema, filter, Mask((schema.key,)))
        return [
            DIALECT.load(schema.key_field.type, row[0])
            for row in self.rows(Plan(selection=selection, sort=tuple(sort)))
        ]


def make_catalog(keys: Sequence[str], nullable: bool, names: Sequence[str]) -> Catalog:
    """Resources A, B and C, whose keys are of the given kinds, each with references to all and links back."""
    schemas: dict[str, ResourceSchema] = {}
    resources = ["A", "B", "C"][: len(keys)]
    for resource, kind in zip(resources, keys, strict=True):
        fields = {"id": FieldSpec("id", FieldType(kind))}  # type: ignore[arg-type]
        for name in names:
            fields[name] = FieldSpec(name, TYPES[name], nullable=nullable)
        for target, target_kind in zip(resources, keys, strict=True):
            name = f"to_{target.lower()}"
            type = FieldType(target_kind)  # type: ignore[arg-type]
            fields[name] = FieldSpec(name, type, nullable=True, reference=Reference(target, enforced=False))
        fields["version"] = FieldSpec("version", INTEGER)
        links = {f"from_{s.lower()}": Link(f"from_{s.lower()}", s, f"to_{resource.lower()}") for s in resources}
        schemas[resource] = ResourceSchema(resource, resource.lower(), f"{resource} table", fields, links=links)
    return Catalog(schemas)


def create_tables(database: apsw.Connection, catalog: Catalog) -> None:
    """The tables of a catalog, empty."""
    for schema in catalog.values():
        columns = [f"{quote(f.name)} {COLUMNS.get(f.type.kind, 'TEXT')}" for f in schema.fields.values()]
        database.execute(f"CREATE TABLE {quote(schema.table)} ({', '.join(columns)}, PRIMARY KEY (id)) STRICT")


def insert(database: apsw.Connection, schema: ResourceSchema, record: PlainRecord) -> None:
    """Puts a plain record into its table."""
    row = [DIALECT.store(f.type, record[f.name]) for f in schema.fields.values()]
    marks = ", ".join("?" * len(row))
    database.execute(f"INSERT INTO {quote(schema.table)} VALUES ({marks})", row)


def images(database: apsw.Connection, schema: ResourceSchema) -> list[PlainRecord]:
    """All records of a resource as SQLite's JSON of them reads."""
    json = record_json(schema, list(schema.fields), "t", DIALECT)
    return [msgspec.json.decode(row[0]) for row in database.execute(f"SELECT {json} FROM {quote(schema.table)} AS t")]


_KEYS = {
    "text": ["", "a", "A", "é", "😀", "\uffff", "'"],
    "integer": [0, 1, -1, 5, 2**53 - 1],
    "bigint": ["0", "5", "10", "-1", str(2**63 - 1)],
    "uuid": UUIDS,
}
_KEYS_OF = {kind: st.sampled_from(keys) for kind, keys in _KEYS.items()}


@st.composite
def worlds(draw: st.DrawFn, *, resources: int = 2, most_fields: int = 5, most_records: int = 6) -> World:
    """A world of random resources and records."""
    keys = [draw(st.sampled_from(sorted(_KEYS))) for _ in range(resources)]
    names = draw(st.lists(st.sampled_from(sorted(TYPES)), unique=True, min_size=1, max_size=most_fields))
    nullable = draw(st.booleans())
    catalog = make_catalog(keys, nullable, names)
    world = World(catalog, apsw.Connection(":memory:"))
    create_tables(world.database, catalog)
    for schema in catalog.values():
        chosen = draw(st.lists(st.sampled_from(_KEYS[schema.key_field.type.kind]), unique=True, max_size=most_records))
        for key in chosen:
            insert(world.database, schema, draw(_record(schema, key, nullable)))
        world.records[schema.name] = images(world.database, schema)
    return world


@st.composite
def _record(draw: st.DrawFn, schema: ResourceSchema, key: Key, nullable: bool) -> PlainRecord:
    record: PlainRecord = {"id": key, "version": 1}
    for spec in schema.fields.values():
        if spec.reference is not None:
            record[spec.name] = draw(_or_none(_KEYS_OF[spec.type.kind]))
        elif spec.name not in record:
            record[spec.name] = draw(_or_none(values(spec.type)) if nullable else values(spec.type))
    return record


OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "between")
TEXT_OPERATORS = ("contains", "icontains", "startswith", "istartswith", "endswith")


@st.composite
def conditions(draw: st.DrawFn, world: World, name: str, *, most_hops: int = 2) -> Condition:
    """A condition that fits the schema."""
    path, schema = [], world.catalog[name]
    for _ in range(draw(st.integers(0, most_hops))):
        ways = [*schema.links, *(f.name for f in schema.fields.values() if f.reference is not None)]
        step = draw(st.sampled_from(ways))
        path.append(step)
        target = schema.links[step].target if step in schema.links else None
        schema = world.catalog[target or schema.fields[step].reference.target]  # type: ignore[union-attr]
    if path and path[-1].startswith("from_") and draw(st.integers(0, 3)) == 0:
        return Condition(tuple(path), draw(st.sampled_from(("exists", "isnull"))), draw(st.booleans()))
    spec = draw(st.sampled_from([f for f in schema.fields.values() if f.name != "version"]))
    path.append(spec.name)
    type = spec.type
    while type.kind == "json" and (type.members or type.values) and draw(st.integers(0, 5)):
        step = draw(st.sampled_from(sorted(type.members) if type.members else NAMES))
        path.append(step)
        type = type.members[step] if type.members else type.values  # type: ignore[assignment]
    return draw(_comparison(tuple(path)[-6:], type))


@st.composite
def _comparison(draw: st.DrawFn, path: tuple[str, ...], type: FieldType) -> Condition:
    operators: tuple[str, ...] = ("isnull", "exists")
    if type.item is not None:
        operators = (*operators, "contains", "contains", "contains")
    elif type.kind != "json":
        operators = (*operators, *OPERATORS, *(TEXT_OPERATORS if type.kind == "text" else ()))
    operator = draw(st.sampled_from(operators))
    value = values(type.item or type)
    match operator:
        case "isnull" | "exists":
            value = st.booleans()
        case "eq" | "ne":
            value = _or_none(value)
        case "in" | "nin":
            value = st.lists(_or_none(value), max_size=4)
        case "between":
            value = st.lists(value, min_size=2, max_size=2)
    return Condition(path, operator, draw(value))  # type: ignore[arg-type]


@lru_cache(maxsize=32)  # one example asks for those of its world again and again
def filters(world: World, name: str, *, most_hops: int = 2) -> st.SearchStrategy[Filter]:
    """Written filters that fit the schema."""
    return st.recursive(
        conditions(world, name, most_hops=most_hops),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda terms: And(tuple(terms)))
            | st.lists(inner, max_size=3).map(lambda terms: Or(tuple(terms)))
            | inner.map(Not)
        ),
        max_leaves=6,
    )


@st.composite
def sorts(draw: st.DrawFn, world: World, name: str) -> tuple[SortKey, ...]:
    """Resolved sorts, also through references and into JSON, ending with the key."""
    schema = world.catalog[name]
    paths = [f.name for f in schema.fields.values() if f.type.kind != "json"]
    for reference in [f for f in schema.fields.values() if f.reference is not None]:
        target = world.catalog[reference.reference.target]  # type: ignore[union-attr]
        paths += [f"{reference.name}.{f.name}" for f in target.fields.values() if f.type.kind != "json"]
    if "meta" in schema.fields:
        paths += ["meta.n", "meta.t", "meta.r", "meta.b", "meta.d", "meta.in.n"]
    chosen = draw(st.lists(st.sampled_from(paths), max_size=3))
    resolver = world.resolver(name)
    keys = resolver.sort([draw(st.sampled_from(("", "-"))) + path for path in chosen])
    resolver.check()
    return keys


@st.composite
def includes(draw: st.DrawFn, world: World, name: str) -> tuple[Include, ...]:
    """What a query includes for somebody who may not see everything."""
    records = {
        one: world.resolved(one, draw(st.just(EVERYTHING) | filters(world, one, most_hops=1))) for one in world.catalog
    }
    fields: dict[str, Filter] = {}
    for resource, schema in world.catalog.items():
        for spec in list(schema.fields.values())[1:]:
            if draw(st.integers(0, 1 if spec.reference is not None else 5)) == 0:
                seen = draw(filters(world, resource, most_hops=1))
                fields[f"{resource}.{spec.name}"] = world.resolved(resource, seen)
    resolver = Resolver(world.catalog[name], world.catalog, Rights(records, fields))
    found = resolver.includes(draw(st.lists(_ways(world, name), min_size=1, max_size=3)))
    assert {fault.code for fault in resolver.faults} <= {"unknown_field"}, "what may never be seen, and nothing else"
    return found


@st.composite
def _ways(draw: st.DrawFn, world: World, name: str) -> str:
    """A path along references and at most one link."""
    schema, path = world.catalog[name], []
    for _ in range(draw(st.integers(1, 3))):
        ways = [f.name for f in schema.fields.values() if f.reference is not None]
        ways += [] if any(step in world.catalog["A"].links for step in path) else schema.links
        step = draw(st.sampled_from(ways))
        path.append(step)
        schema = world.catalog[f"{step[-1].upper()}"]
    return ".".join(path)


@st.composite
def masks(draw: st.DrawFn, world: World, name: str) -> Mask:
    """A mask that shows some fields always, others sometimes, and includes others' records."""
    names = list(world.catalog[name].fields)
    sometimes = draw(st.lists(st.sampled_from(names[1:]), unique=True, max_size=3))
    conditions = tuple((one, world.resolved(name, draw(filters(world, name)))) for one in sometimes)
    always = tuple(one for one in names if one not in sometimes)
    return Mask(always, conditions, draw(includes(world, name) | st.just(())))


@st.composite
def aggregates(draw: st.DrawFn, world: World, name: str) -> Aggregate:
    """What records come to, in all or in groups by fields of their own and of others."""
    schema = world.catalog[name]
    kinds = {f.name: f.type.kind for f in schema.fields.values() if f.type.kind != "json"}
    for reference in [f for f in schema.fields.values() if f.reference is not None]:
        target = world.catalog[reference.reference.target]  # type: ignore[union-attr]
        kinds |= {f"{reference.name}.{f.name}": f.type.kind for f in target.fields.values() if f.type.kind != "json"}
    numbers = [path for path, kind in kinds.items() if kind in ("integer", "bigint", "float", "decimal")]
    ordered = [path for path, kind in kinds.items() if kind not in ("boolean", "uuid")]
    measures: st.SearchStrategy[Any] = (
        st.just(("count", None))
        | st.tuples(st.sampled_from(("sum", "avg")), st.sampled_from(numbers))
        | st.tuples(st.sampled_from(("min", "max")), st.sampled_from(ordered))
    )
    by = draw(st.lists(st.sampled_from(sorted(kinds)), unique=True, max_size=2))
    resolver = world.resolver(name)
    found = resolver.aggregate(by, draw(st.lists(measures, unique=True, min_size=1, max_size=4 if by else 1)))
    resolver.check()
    return found


def aggregated(world: World, name: str, filter: Filter, aggregate: Aggregate) -> Any:
    """What Python makes of the records: of a sum of floats its exact value and how far one may be off."""
    holds = compile_matcher(filter, world)
    records = [record for record in world.records[name] if holds(record)]
    if not aggregate.by:
        return measured(world, aggregate.measures[0], records)
    groups: dict[Any, list[PlainRecord]] = {}
    for record in sorted(records, key=compile_sort([SortKey(path) for path in aggregate.by], world)):
        values = [value_at(world, path, record) for path in aggregate.by]
        groups.setdefault(tuple(values), []).append(record)
    return [
        dict(zip(aggregate.names, (*key, *(measured(world, m, group) for m in aggregate.measures)), strict=True))
        for key, group in groups.items()
    ]


def value_at(world: World, path: Path, record: PlainRecord) -> Plain:
    """The value at a path along references."""
    there: PlainRecord | None = record
    for hop in path.hops:
        there = None if there[hop.field.name] is None else world.get(hop.target, there[hop.field.name])
        if there is None:
            return None
    return there[path.field.name]


def measured(world: World, measure: Measure, records: list[PlainRecord]) -> Any:
    """One measure of some records, by Python's own arithmetic."""
    if measure.path is None:
        return len(records)
    type = measure.path.type
    values = [value for value in (value_at(world, measure.path, r) for r in records) if value is not None]
    if measure.function in ("min", "max"):
        chosen = min if measure.function == "min" else max
        return chosen(values, key=type.comparable, default=None)
    exact = sum((Fraction(value) for value in values), Fraction(0))
    if type.kind == "float":
        return Nearly(exact, values, len(values) if measure.function == "avg" else 1)
    if measure.function == "avg":
        return float(exact / len(values)) if values else None
    match type.kind:
        case "bigint":
            return str(exact)
        case "decimal":
            units = int(exact * 10**type.places)
            return str(Decimal(units).scaleb(-type.places))
    return int(exact) if abs(exact) < 2**53 else float(exact)


@dataclass
class Nearly:
    """A sum or average of floats, as near as adding them in any order comes to it."""

    exact: Fraction
    values: list[float]
    count: int

    def __eq__(self, other: object) -> bool:
        size = sum(map(abs, map(Fraction, self.values)))
        if not self.count or size > Fraction(1.7e308):
            return other is None or bool(self.count)
        assert isinstance(other, float)
        return abs(Fraction(other) - self.exact / self.count) <= size / 2**40


__all__ = ["DIALECT", "World", "conditions", "filters", "masks", "sorts", "tree", "values", "worlds"]
