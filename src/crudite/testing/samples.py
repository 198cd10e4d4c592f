"""A small application's schemas, for proving a store: every type, every kind of reference, every option."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from crudite.changes import Commit, Unit, Write
from crudite.query.plan import Mask, Plan, Selection, SortKey, everything
from crudite.query.tree import EVERYTHING, Filter, Path, Test
from crudite.schema import Catalog, FieldSpec, FieldType, Reference, ResourceSchema
from crudite.types import Key, Plain

SYSTEM_FIELDS = (
    FieldSpec("version", FieldType("integer")),
    FieldSpec("created_at", FieldType("datetime")),
    FieldSpec("updated_at", FieldType("datetime")),
)


def text(name: str, **more: Any) -> FieldSpec:
    """A field of text."""
    return FieldSpec(name, FieldType("text"), **more)


def schema(name: str, fields: Iterable[FieldSpec], key: str = "uuid", **more: Any) -> ResourceSchema:
    """A resource `Name` in the table `names`, with a key of the kind `key`."""
    table = more.pop("table", f"{name.lower()}s")
    whole = [FieldSpec("id", FieldType(key)), *fields, *SYSTEM_FIELDS]  # type: ignore[arg-type]
    by_name: Mapping[str, FieldSpec] = {field.name: field for field in whole}
    return ResourceSchema(name=name, path=table, table=table, fields=by_name, **more)


def catalog(*schemas: ResourceSchema) -> Catalog:
    """The schemas by name."""
    return Catalog({one.name: one for one in schemas})


SAMPLE = schema(
    "Sample",
    [
        text("text", nullable=True),
        FieldSpec("integer", FieldType("integer"), nullable=True),
        FieldSpec("bigint", FieldType("bigint"), nullable=True),
        FieldSpec("float", FieldType("float"), nullable=True),
        FieldSpec("decimal", FieldType("decimal", places=4), nullable=True),
        FieldSpec("money", FieldType("decimal", places=2), default="0.50"),
        FieldSpec("boolean", FieldType("boolean"), nullable=True),
        FieldSpec("date", FieldType("date"), nullable=True),
        FieldSpec("time", FieldType("time"), nullable=True),
        FieldSpec("datetime", FieldType("datetime"), nullable=True),
        FieldSpec("uuid", FieldType("uuid"), nullable=True),
        FieldSpec("choice", FieldType("text", choices=("red", "green")), default="red"),
        FieldSpec("json", FieldType("json"), nullable=True),
        FieldSpec("tags", FieldType("json", item=FieldType("text")), default=[]),
    ],
)
AUTHOR = schema(
    "Author",
    [
        text("name"),
        text("email", nullable=True, unique=True),
        text("hash", default="", secret=True),
        text("note", default="", quiet=True),
    ],
)
BOOK = schema(
    "Book",
    [
        text("title"),
        FieldSpec("year", FieldType("integer"), nullable=True, indexed=True),
        FieldSpec("author", FieldType("uuid"), nullable=True, reference=Reference("Author")),
    ],
    unique=(("author", "title"),),
)
LOAN = schema(
    "Loan",
    [
        FieldSpec("book", FieldType("uuid"), reference=Reference("Book", on_delete="cascade")),
        FieldSpec("by", FieldType("uuid"), nullable=True, reference=Reference("Author", on_delete="clear")),
    ],
    key="integer",
)
VISIT = schema("Visit", [text("page")], logged=False)
LIBRARY = catalog(SAMPLE, AUTHOR, BOOK, LOAN, VISIT)


def where(schema: ResourceSchema, name: str, value: Plain, operator: Any = "eq") -> Test:
    """The resolved filter that compares one field."""
    field = schema.fields[name]
    return Test(Path((), field, (), field.type), operator, value)


def select(schema: ResourceSchema, filter: Filter = EVERYTHING, *names: str) -> Selection:
    """A selection that shows the named fields, or all but the secret ones."""
    mask = Mask(names) if names else everything(schema).mask
    return Selection(schema, filter, mask)


def listing(schema: ResourceSchema, *sort: str, filter: Filter = EVERYTHING, **more: Any) -> Plan:
    """A plan in the order of fields (`-name` descending) and then of the key."""
    keys = []
    for word in (*sort, f"{'-' if sort and sort[-1].startswith('-') else ''}id"):
        field = schema.fields[word.removeprefix("-")]
        keys.append(SortKey(Path((), field, (), field.type), word.startswith("-")))
    return Plan(selection=select(schema, filter), sort=tuple(keys), **more)


def create(schema: ResourceSchema, key: Key | None = None, **values: Plain) -> Write:
    """A write that makes a record and returns all of it."""
    return Write(action="create", schema=schema, key=key, values=values, returning=everything(schema))


def update(schema: ResourceSchema, key: Key, *, expect: int | None = None, **values: Plain) -> Write:
    """A write that changes fields and returns all of the record."""
    returning = everything(schema)
    return Write(action="update", schema=schema, key=key, values=values, expect=expect, returning=returning)


def delete(schema: ResourceSchema, key: Key, **more: Any) -> Write:
    """A write that takes a record away."""
    return Write(action="delete", schema=schema, key=key, **more)


def unit(*writes: Write, **more: Any) -> Unit:
    """Writes that belong together."""
    return Unit(writes=writes, **more)


def key_of(commit: Commit, index: int = 0) -> Key:
    """The key of one of a commit's records."""
    return commit.stored[index].key


def plain(json: str | None) -> dict[str, Any]:
    """A record from its JSON text."""
    assert json is not None
    record: dict[str, Any] = msgspec.json.decode(json)
    return record
