"""A small catalog for tests with values written by hand, and the shortest ways to ask it."""

from typing import Any

from crudite.query.match import compile_matcher
from crudite.query.parse import where
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.resolve import Access, FullAccess, Resolver
from crudite.query.tree import EVERYTHING, Filter
from crudite.schema import Catalog, FieldSpec, FieldType, Link, Reference, ResourceSchema
from crudite.types import PlainRecord

TEXT, INTEGER, UUID = FieldType("text"), FieldType("integer"), FieldType("uuid")


def _fields(*specs: FieldSpec) -> dict[str, FieldSpec]:
    return {spec.name: spec for spec in (FieldSpec("id", INTEGER), *specs, FieldSpec("version", INTEGER))}


ACCOUNT = ResourceSchema(
    "Account", "accounts", "account",
    _fields(
        FieldSpec("name", TEXT), FieldSpec("email", TEXT), FieldSpec("password", TEXT, secret=True),
        FieldSpec("salary", INTEGER, nullable=True), FieldSpec("archived", FieldType("boolean")),
    ),
    links={"memberships": Link("memberships", "Membership", "user"),
           "projects": Link("projects", "Project", "owner")},
)  # fmt: skip
PROJECT = ResourceSchema(
    "Project", "projects", "project",
    _fields(
        FieldSpec("name", TEXT), FieldSpec("open", FieldType("boolean")),
        FieldSpec("owner", INTEGER, nullable=True, reference=Reference("Account", enforced=False)),
    ),
    links={"members": Link("members", "Membership", "project"), "tasks": Link("tasks", "Task", "project")},
)  # fmt: skip
MEMBERSHIP = ResourceSchema(
    "Membership", "memberships", "membership",
    _fields(
        FieldSpec("project", INTEGER, reference=Reference("Project")),
        FieldSpec("user", INTEGER, reference=Reference("Account")), FieldSpec("role", TEXT),
    ),
)  # fmt: skip
TASK = ResourceSchema(
    "Task", "tasks", "task",
    _fields(
        FieldSpec("project", INTEGER, nullable=True, reference=Reference("Project", enforced=False)),
        FieldSpec("title", TEXT), FieldSpec("status", FieldType("text", choices=("todo", "doing", "done"))),
        FieldSpec("due", FieldType("date"), nullable=True),
        FieldSpec("at", FieldType("datetime"), nullable=True),
        FieldSpec("effort", FieldType("float"), nullable=True),
        FieldSpec("price", FieldType("decimal", places=2)),
        FieldSpec("ticket", FieldType("bigint")), FieldSpec("done", FieldType("boolean")),
        FieldSpec("ref", UUID),
        FieldSpec("count", INTEGER, nullable=True),
        FieldSpec("tags", FieldType("json", item=TEXT)),
        FieldSpec("amounts", FieldType("json", item=FieldType("decimal", places=2))),
        FieldSpec("scores", FieldType("json", values=INTEGER)),
        FieldSpec("meta", FieldType("json", members={
            "color": TEXT, "size": INTEGER, "at": FieldType("datetime"),
            "inner": FieldType("json", members={"x": TEXT}),
        })),
    ),
)  # fmt: skip
CATALOG = Catalog({schema.name: schema for schema in (ACCOUNT, PROJECT, MEMBERSHIP, TASK)})


class Rights:
    """An access made of two mappings; what is not named may be read."""

    def __init__(self, records: dict[str, Filter] | None = None, fields: dict[str, Filter] | None = None) -> None:
        self._records, self._fields = records or {}, fields or {}

    def records(self, schema: ResourceSchema) -> Filter:
        return self._records.get(schema.name, EVERYTHING)

    def field(self, schema: ResourceSchema, name: str) -> Filter:
        return self._fields.get(f"{schema.name}.{name}", FullAccess().field(schema, name))


def resolve(written: Filter, schema: ResourceSchema = TASK, access: Access | None = None) -> Filter:
    """The resolved filter; raises what is wrong with it."""
    resolver = Resolver(schema, CATALOG, access or FullAccess())
    filter = resolver.filter(written)
    resolver.check()
    return filter


def asked(schema: ResourceSchema = TASK, **conditions: Any) -> Filter:
    """The resolved filter of Python keywords."""
    return resolve(where(**conditions), schema)


def faults(written: Filter, schema: ResourceSchema = TASK, access: Access | None = None) -> list[tuple[str, str]]:
    """Code and detail of everything that is wrong with a filter."""
    resolver = Resolver(schema, CATALOG, access or FullAccess())
    resolver.filter(written)
    return [(fault.code, fault.detail) for fault in resolver.faults]


def plan(filter: Filter, schema: ResourceSchema = TASK, *, sort: tuple[str, ...] = (), **more: Any) -> Plan:
    """A plan for a resolved filter that shows the key."""
    selection = Selection(schema, filter, Mask((schema.key,)))
    return Plan(selection=selection, sort=Resolver(schema, CATALOG).sort(sort), **more)


class Tables:
    """Records of the shop, for matchers that look at others."""

    def __init__(self, **records: list[PlainRecord]) -> None:
        self.records = records

    def get(self, schema: ResourceSchema, key: Any) -> PlainRecord | None:
        return next((r for r in self.records.get(schema.name, []) if r["id"] == key), None)

    def pointing(self, schema: ResourceSchema, field: str, key: Any) -> list[PlainRecord]:
        return [r for r in self.records.get(schema.name, []) if r[field] == key]

    def found(self, schema: ResourceSchema, filter: Filter) -> list[Any]:
        """The keys of the records of a resource for which a filter holds."""
        holds = compile_matcher(filter, self)
        return [record["id"] for record in self.records[schema.name] if holds(record)]
