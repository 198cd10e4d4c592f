"""The tables, indexes and references of a catalog, and the store's own tables, as SQL text.

Columns have defaults and checks, so that any other program can insert a record naming only its own columns,
and cannot store what could not be read back.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from crudite.query.sql import quote
from crudite.schema import DELETED_AT, NO_DEFAULT, SAFE_INTEGER, FieldSpec, FieldType, Kind, ResourceSchema
from crudite.stores.postgresql.dialect import PostgresqlDialect, literal
from crudite.stores.postgresql.search import create_index
from crudite.types import Plain

FORMAT = 3
"""The version of the store's own tables and triggers, kept in `_schema`."""

TURNS = 4
"""The log goes round in so many tables: one is written, and one at least is empty, to be written next."""
TURN_BITS = 40
"""The numbers of changes say which turn they are of: each turn has 2 to this power of them."""

MICROSECONDS = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
NOW = "now()"
# version 7 over a random UUID (version 4): the milliseconds, and the two bits in which 7 differs from 4
UUID7 = (
    "encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send("
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), "
    "'hex')::uuid"
)
_RANDOM = "floor(random() * 9007199254740992)::bigint"


def _in_turns(table: str, number: str) -> str:
    """How a table is divided into one for each turn, by the column with the numbers of its changes.

    A table that nobody writes any more is emptied at once and leaves no dead rows behind.
    """
    divided = [f"PARTITION BY LIST ((({number} >> {TURN_BITS}) % {TURNS}))"]
    for turn in range(TURNS):
        part = quote(turn_table(table, turn))
        divided.append(f"CREATE TABLE {part} PARTITION OF {quote(table)} FOR VALUES IN ({turn})")
        divided.append(f"CREATE UNIQUE INDEX ON {part} (tx, {number})")
    return ";\n".join(divided)


LAST_NUMBER = '(SELECT last_value FROM "_numbers")'
"""The number that was taken last, by whomever: it says which turn it is."""


def turn_table(table: str, turn: int) -> str:
    """The name of the part of a table that a turn is written to."""
    return f"{table}_{turn % TURNS}"


SYSTEM_TABLES = {
    # one row for each change; `tx` is its transaction, `salt` tells it from a row that had its place in
    # another life of the database
    "_changes": f"""CREATE SEQUENCE "_numbers" CACHE 1;
CREATE TABLE "_changes" (
  tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  seq bigint NOT NULL DEFAULT nextval('"_numbers"'),
  salt bigint NOT NULL DEFAULT {_RANDOM},
  ts timestamptz NOT NULL DEFAULT clock_timestamp(),
  tbl text NOT NULL,
  pk text NOT NULL,
  before text,
  after text
) {_in_turns("_changes", "seq")}""",
    # who asked for which changes: one row for each of our transactions; of creates that went together, the first of
    # `actors`, of `requests` and of `interfaces` made the first of `keys`; without keys, all changes of the
    # transaction are theirs
    "_commits": f"""CREATE TABLE "_commits" (
  tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  number bigint NOT NULL,
  keys text[],
  actors text[] NOT NULL,
  requests text[] NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  interfaces text[]
) {_in_turns("_commits", "number")}""",
    # the tables whose changes are kept when the log is trimmed, for so many seconds (NULL: for ever)
    "_audited": """CREATE TABLE "_audited" (
  tbl text PRIMARY KEY,
  seconds double precision
)""",
    # their changes that are in the log no more, by their numbers there
    "_history": """CREATE TABLE "_history" (
  seq bigint PRIMARY KEY,
  tbl text NOT NULL,
  pk text NOT NULL,
  at timestamptz NOT NULL,
  actor text,
  interface text,
  request text,
  before text,
  after text
);
CREATE INDEX "_history of a record" ON "_history" (tbl, pk, seq);
CREATE INDEX "_history by age" ON "_history" (tbl, at)""",
    # the lives of the log; the one that has not ended is the current one, with the mark of its trimming;
    # `home` says which server and database it was written in, `triggers` what its triggers looked like there,
    # and `wanted` who may put them back: whoever wants just these
    "_logs": f"""CREATE TABLE "_logs" (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id bigint NOT NULL DEFAULT {_RANDOM},
  home text NOT NULL,
  triggers text NOT NULL DEFAULT '',
  wanted text NOT NULL DEFAULT '',
  ended text,
  trim_tx xid8 NOT NULL DEFAULT '0',
  trim_seq bigint NOT NULL DEFAULT 0,
  trim_salt bigint NOT NULL DEFAULT {_RANDOM}
);
CREATE UNIQUE INDEX "_logs one is current" ON "_logs" ((TRUE)) WHERE ended IS NULL""",
    # the log that is alive: a server that had to recover from a crash finds an unlogged table empty
    "_alive": """CREATE UNLOGGED TABLE "_alive" (
  log bigint NOT NULL
)""",
    # what cursors are sealed with, the same for every process
    "_secret": """CREATE TABLE "_secret" (
  value bytea NOT NULL
)""",
    # what the tables were made from: the text of `migration.describe`
    "_schema": """CREATE TABLE "_schema" (
  id integer PRIMARY KEY CHECK (id = 1),
  format integer NOT NULL,
  description text NOT NULL
)""",
}

_TYPES: dict[Kind, str] = {
    "text": 'text COLLATE "C"',
    "integer": "bigint",
    "float": "double precision",
    "datetime": "timestamptz",
    "json": "jsonb",
}
_ACTIONS = {"restrict": "", "force": "", "cascade": " ON DELETE CASCADE", "clear": " ON DELETE SET NULL"}
_MOST_BYTES = 63
NULLS_ALIKE = " NULLS NOT DISTINCT"
_dialect = PostgresqlDialect()


@dataclass(frozen=True)
class Column:
    """One column, in the parts that can be changed one by one."""

    name: str
    type: str
    identity: bool
    nullable: bool
    default: str
    check: str

    @property
    def definition(self) -> str:
        """The column as CREATE TABLE and ADD COLUMN take it."""
        parts = [quote(self.name), self.type]
        parts += ["GENERATED BY DEFAULT AS IDENTITY"] if self.identity else []
        parts += [] if self.nullable else ["NOT NULL"]
        parts += [f"DEFAULT ({self.default})"] if self.default else []
        parts += [f"CONSTRAINT {quote(self.name)} CHECK ({self.check})"] if self.check else []
        return " ".join(parts)


def short(name: str) -> str:
    """The name, or what stands for one that PostgreSQL would cut off at 63 bytes."""
    if len(name.encode()) <= _MOST_BYTES:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
    return f"{name.encode()[: _MOST_BYTES - 13].decode(errors='ignore')} {digest}"


def too_long(schema: ResourceSchema) -> list[str]:
    """The names of a resource that PostgreSQL would cut off."""
    return [name for name in (schema.table, *schema.fields) if len(name.encode()) > _MOST_BYTES]


def columns(schema: ResourceSchema) -> list[Column]:
    """The columns of a resource's table."""
    return [
        Column(
            f.name,
            column_type(f.type),
            f.name == schema.key and schema.is_numbered,
            f.nullable and f.name != schema.key,
            _default(f, schema),
            check(quote(f.name), f.type),
        )
        for f in schema.fields.values()
    ]


def column_type(type: FieldType) -> str:
    """The SQL type of a column."""
    return f"numeric(18, {type.places})" if type.kind == "decimal" else _TYPES.get(type.kind, type.kind)


def create_table(schema: ResourceSchema) -> str:
    """The statement that makes a resource's table, but for its indexes and references."""
    lines = [column.definition for column in columns(schema)]
    lines.append(f"CONSTRAINT {quote(key_name(schema.table))} PRIMARY KEY ({quote(schema.key)})")
    body = ",\n  ".join(lines)
    return f"CREATE TABLE {quote(schema.table)} (\n  {body}\n)"


def key_name(table: str) -> str:
    """The name of the constraint of a table's primary key."""
    return short(f"{table} key")


def check(value: str, type: FieldType) -> str:
    """The condition that a value of this type meets when it is kept in a column; not false for NULL."""
    if type.choices is not None and type.kind != "json":
        return f"{value} IN ({', '.join(_literal(type, choice) for choice in type.choices)})"
    match type.kind:
        case "integer":
            return f"{value} BETWEEN -{SAFE_INTEGER} AND {SAFE_INTEGER}"
        case "float":
            return f"{value} > '-Infinity' AND {value} < 'Infinity'"
        case "decimal":
            return f"{value} <> 'NaN'"
        case "date":
            return f"{value} BETWEEN '0001-01-01' AND '9999-12-31'"
        case "time":
            return f"{value} < '24:00'"
        case "datetime":
            return f"{value} >= '0001-01-01T00:00:00Z' AND {value} < '10000-01-01T00:00:00Z'"
    return ""


def create_indexes(schema: ResourceSchema) -> dict[str, str]:
    """The statements that make the table's indexes, by index name."""
    return dict(_indexes(schema))


def unique_groups(schema: ResourceSchema) -> dict[str, tuple[str, ...]]:
    """Every group of fields whose values together occur once, by the name of the index that sees to it."""
    singles = [(f.name,) for f in schema.fields.values() if f.unique and f.name != schema.key]
    groups = {_index_name(schema, group, unique=True): group for group in (*singles, *schema.unique)}
    return {key_name(schema.table): (schema.key,), **groups}


def create_references(schema: ResourceSchema, targets: dict[str, ResourceSchema]) -> dict[str, str]:
    """The statements that make a table's references foreign keys, by constraint name.

    `targets` are the schemas that references name.
    """
    texts = {}
    for field in schema.fields.values():
        target = targets.get(field.reference.target) if field.reference is not None else None
        if field.reference is None or target is None or not field.reference.enforced:
            continue
        name = reference_name(field.name)
        points = f"FOREIGN KEY ({quote(field.name)}) REFERENCES {quote(target.table)} ({quote(target.key)})"
        action = _ACTIONS[field.reference.on_delete]
        texts[name] = f"ALTER TABLE {quote(schema.table)} ADD CONSTRAINT {quote(name)} {points}{action}"
    return texts


def reference_name(field: str) -> str:
    """The name of the constraint that makes a field a foreign key."""
    return short(f"{field} reference")


def stored_default(field: FieldSpec) -> str:
    """The field's default as an SQL expression; the field must have one."""
    return _literal(field.type, field.default)


def _literal(type: FieldType, value: Plain) -> str:
    if value is None:
        return "NULL"
    if type.kind == "json":
        text: str = _dialect.store(type, list(value) if isinstance(value, tuple) else value)
        return f"{literal(text)}::jsonb"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{literal(text)}::{column_type(type)}"


def _default(field: FieldSpec, schema: ResourceSchema) -> str:
    if field.name == schema.key:
        return {"uuid": UUID7, "text": f"({UUID7})::text"}.get(field.type.kind, "")
    if field.name == "version":
        return MICROSECONDS
    if field.name in ("created_at", "updated_at"):
        return NOW
    return "" if field.default is NO_DEFAULT else stored_default(field)


def _indexes(schema: ResourceSchema) -> Iterator[tuple[str, str]]:
    for name, group in unique_groups(schema).items():
        if group != (schema.key,):
            yield name, _index(schema, name, group, "UNIQUE INDEX", NULLS_ALIKE if group in schema.alike else "")
    for field in schema.fields.values():
        covered = field.unique or field.name == schema.key
        if (field.indexed or field.reference is not None) and not covered:
            name = _index_name(schema, (field.name,), unique=False)
            yield name, _index(schema, name, (field.name,), "INDEX")
    if schema.is_soft:  # few records are in it: those that may be restored, and are let go of in time
        name = _index_name(schema, (DELETED_AT,), unique=False)
        yield name, f"{_index(schema, name, (DELETED_AT,), 'INDEX')} WHERE {quote(DELETED_AT)} IS NOT NULL"
    if schema.search:
        name = short(f"{schema.table} words")
        yield name, create_index(schema, name)


def _index_name(schema: ResourceSchema, fields: tuple[str, ...], *, unique: bool) -> str:
    return short(f"{schema.table} {'unique' if unique else 'by'} {' '.join(fields)}")


def _index(schema: ResourceSchema, name: str, fields: tuple[str, ...], kind: str, nulls: str = "") -> str:
    # null first, as queries sort; a column without nulls has the order that they ask for without these words
    terms = [quote(n) + (" NULLS FIRST" if schema.fields[n].nullable else "") for n in fields]
    there = f" WHERE {quote(DELETED_AT)} IS NULL" if kind.startswith("UNIQUE") and schema.is_soft else ""
    return f"CREATE {kind} {quote(name)} ON {quote(schema.table)} ({', '.join(terms)}){nulls}{there}"
