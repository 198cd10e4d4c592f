"""The triggers that write the change log, as SQL text.

A change of one row is one row of `_changes` with its images before and after; no image before means created,
none after means deleted; a change of key is deleted and created. A BEFORE trigger moves the `version` of an
update by another program, which leaves it as it is, before the AFTER trigger logs both as one change.
TRUNCATE is logged as the deletion of every row.

PostgreSQL runs triggers by name. What logs comes first, so that the changes that other triggers make to the same
record come after the one that they answer; what moves the version comes last, when others have had their say. What
logs does so too for what is replicated from elsewhere (`session_replication_role`).

The functions run in other people's sessions: they name every table with its schema, and what writes floats
sets the one setting that their text depends on.
"""

from collections.abc import Sequence
from typing import NamedTuple

from crudite.query.sql import quote, record_json
from crudite.schema import FieldSpec, ResourceSchema
from crudite.stores.postgresql.ddl import column_type, short
from crudite.stores.postgresql.dialect import PostgresqlDialect, literal, plain_text

OURS = "^[!~]?crudite "
"""What the names of our triggers and of their functions begin with, as a regular expression."""

_FIRST, _LAST = "!", "~"
_dialect = PostgresqlDialect()


class Trigger(NamedTuple):
    """A trigger and the function that it calls, both of one name; `body` is how it is recognised, `mode` when it
    runs."""

    name: str
    event: tuple[str, str]
    table: str
    body: str
    settings: str
    mode: str

    @property
    def statements(self) -> tuple[str, ...]:
        """The statements that make the function and the trigger, or put them back."""
        function = (
            f"CREATE OR REPLACE FUNCTION {quote(self.name)}() RETURNS trigger LANGUAGE plpgsql"
            f"{self.settings} AS {literal(self.body)}"
        )
        event, for_each = self.event
        at = f"{event} ON {quote(self.table)} FOR EACH {for_each}"
        trigger = f"CREATE OR REPLACE TRIGGER {quote(self.name)} {at} EXECUTE FUNCTION {quote(self.name)}()"
        return function, trigger, f"ALTER TABLE {quote(self.table)} ENABLE {self.mode} TRIGGER {quote(self.name)}"


def create_triggers(schema: ResourceSchema, place: str) -> list[Trigger]:
    """A resource's triggers; `place` is the schema of the database that all tables are in."""
    triggers = [_trigger(schema, "bump", ("BEFORE UPDATE", "ROW"), _bump(schema))]
    if schema.logged:
        every_change = ("AFTER INSERT OR UPDATE OR DELETE", "ROW")
        triggers.append(_trigger(schema, "log", every_change, _log(schema, place)))
        truncate = ("BEFORE TRUNCATE", "STATEMENT")
        triggers.append(_trigger(schema, "truncate", truncate, _truncate(schema, place)))
    return triggers


def _trigger(schema: ResourceSchema, what: str, event: tuple[str, str], body: str) -> Trigger:
    has_floats = any(f.type.kind == "float" and not f.secret for f in schema.fields.values())
    settings = " SET extra_float_digits = 1" if has_floats and what != "bump" else ""
    is_bump = what == "bump"
    name = short(f"{_LAST if is_bump else _FIRST}crudite {what} {schema.table}")
    return Trigger(name, event, schema.table, f"{_types(schema)}\n{body}", settings, "" if is_bump else "ALWAYS")


def _types(schema: ResourceSchema) -> str:
    """A remark that differs where a column has another type: a session that has planned a function for the old one goes
    on failing until the function is another, and a pooler hands such sessions on."""
    return f"-- {', '.join(column_type(field.type) for field in schema.fields.values())}"


def _bump(schema: ResourceSchema) -> str:
    return f"""BEGIN
  IF NEW."version" IS NOT DISTINCT FROM OLD."version" AND ({_differs(_loud(schema))}) THEN
    NEW."version" := OLD."version" + 1;
    IF NEW."updated_at" IS NOT DISTINCT FROM OLD."updated_at" THEN
      NEW."updated_at" := now();
    END IF;
  END IF;
  RETURN NEW;
END"""


def _log(schema: ResourceSchema, place: str) -> str:
    key = quote(schema.key)
    new, old = _image(schema, "NEW"), _image(schema, "OLD")
    seen = [*schema.beside_version, schema.fields["version"]]
    return f"""BEGIN
  IF TG_OP = 'INSERT' THEN
    {_insert(schema, place, "NEW", "NULL", new)};
  ELSIF TG_OP = 'DELETE' THEN
    {_insert(schema, place, "OLD", old, "NULL")};
  ELSIF OLD.{key} IS DISTINCT FROM NEW.{key} THEN
    {_insert(schema, place, "OLD", old, "NULL")};
    {_insert(schema, place, "NEW", "NULL", new)};
  ELSIF {_differs(seen)} THEN
    {_insert(schema, place, "NEW", old, new)};
  END IF;
  RETURN NULL;
END"""


def _truncate(schema: ResourceSchema, place: str) -> str:
    rows = f"FROM {quote(place)}.{quote(schema.table)} AS t"
    columns = f"{literal(schema.table)}, {_key(schema, 't')}, {_image(schema, 't')}"
    return f"""BEGIN
  INSERT INTO {quote(place)}."_changes" (tbl, pk, before) SELECT {columns} {rows};
  RETURN NULL;
END"""


def _insert(schema: ResourceSchema, place: str, row: str, before: str, after: str) -> str:
    values = f"{literal(schema.table)}, {_key(schema, row)}, {before}, {after}"
    return f'INSERT INTO {quote(place)}."_changes" (tbl, pk, before, after) VALUES ({values})'


def _key(schema: ResourceSchema, row: str) -> str:
    return plain_text(f"{row}.{quote(schema.key)}", schema.key_field.type)


def _image(schema: ResourceSchema, row: str) -> str:
    return record_json(schema, [f.name for f in schema.fields.values() if not f.secret], row, _dialect)


def _loud(schema: ResourceSchema) -> list[FieldSpec]:
    return [f for f in schema.fields.values() if not f.quiet and f.name not in (schema.key, "version")]


def _differs(fields: Sequence[FieldSpec]) -> str:
    return " OR ".join(f"OLD.{quote(f.name)} IS DISTINCT FROM NEW.{quote(f.name)}" for f in fields)
