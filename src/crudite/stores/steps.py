"""What the migrations of all databases share: what columns were, what they become, and why a step may not be taken."""

import logging
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import msgspec

from crudite.errors import StoreOutdated
from crudite.query.sql import quote
from crudite.schema import DELETED_AT, Catalog, FieldSpec, FieldType, Kind, ResourceSchema
from crudite.stores.base import Step

OTHER_SCHEMA = "the schema is not what this process declares: maybe another version of the application has migrated it"
"""What it means that a column or a table is not there which a statement names."""

_log = logging.getLogger("crudite.store")

_INDEX = re.compile(r'CREATE (UNIQUE )?INDEX "(?:[^"]|"")+" ON "(?:[^"]|"")+" \((.*)\)')
_NAME = re.compile(r'"((?:[^"]|"")+)"(?: NULLS FIRST)?')
_SECONDS_OF_A_DAY = 86_400
_IS_LEFT = "is not declared: `crudite db migrate --lose` takes it away"


class OldField(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column as it was made. Of one that no application has declared, it is not known whether it is `secret`."""

    kind: Kind
    places: int = 0
    choices: list[Any] | None = None
    secret: bool | None = None
    quiet: bool = False
    unique: bool = False

    @classmethod
    def of(cls, field: FieldSpec) -> "OldField":
        """The column that a field is made into today."""
        choices = field.type.choices
        listed = list(choices) if choices is not None else None
        return cls(field.type.kind, field.type.places, listed, field.secret, field.quiet, field.unique)

    @property
    def type(self) -> FieldType:
        """Its type, as far as a column's values depend on it."""
        return FieldType(self.kind, self.places, tuple(self.choices) if self.choices is not None else None)

    def holds(self, field: FieldSpec) -> bool:
        """Whether it keeps values as the field does."""
        return self.type == OldField.of(field).type


class OldTable(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table as it was made: for a resource, with columns for its fields.

    `left` are columns that earlier versions of the application declared, or other programs made, and this one does
    not. A table that `is_left` is of a resource that it does not declare. One that is `soft` keeps deleted records.
    """

    resource: str
    fields: dict[str, OldField]
    left: list[str] = []
    is_left: bool = False
    soft: bool = False


OldTables: TypeAlias = Mapping[str, OldTable]
"""What the tables of a database were made from, by their names."""


def columns_of(schema: ResourceSchema, was: OldTable | None, left: Mapping[str, OldField]) -> dict[str, OldField]:
    """The columns of a resource's table, with what is left in it: then in the order of old, so that several versions
    of the application want the same triggers."""
    now = {**{field.name: OldField.of(field) for field in schema.fields.values()}, **left}
    before = was.fields if was is not None and left else {}
    return {name: now[name] for name in dict.fromkeys((*before, *now)) if name in now}


def watched(schema: ResourceSchema, table: OldTable | None) -> ResourceSchema:
    """The resource as the log's triggers see it: with the columns that are left, for the servers that still declare
    them. What nobody has ever declared is nobody's business."""
    if table is None or not table.left:
        return schema
    fields = {
        name: schema.fields[name] if name in schema.fields
        else FieldSpec(name, old.type, nullable=True, unique=old.unique, secret=bool(old.secret), quiet=old.quiet)
        for name, old in table.fields.items()
        if name in schema.fields or old.secret is not None
    }  # fmt: skip
    return replace(schema, fields=fields)


def tell_left(old: OldTables, new: OldTables) -> None:
    """Says in the log what nobody declares any more, when it is found for the first time."""
    for table, now in new.items():
        was = old.get(table)
        if now.is_left and not (was is not None and was.is_left):
            _log.warning("table %s %s", table, _IS_LEFT)
        elif not now.is_left:
            for name in now.left:
                if was is None or name not in was.left:
                    _log.warning("column %s.%s %s", table, name, _IS_LEFT)


ConversionRule: TypeAlias = Callable[[str, FieldType, FieldType], tuple[str, str]]
"""From a column, its old type and its new one to what a `Conversion` consists of."""


class Conversion(NamedTuple):
    """A column's values as they are in its new type, as SQL, and the condition on which a value (not NULL) can be
    converted without a loss."""

    value: str
    fits: str

    def misfits(self, column: str) -> str:
        """The condition for the values of the column that cannot."""
        return f"({column} IS NOT NULL AND ({self.fits}) IS NOT TRUE)"


def count_repeated(table: str, values: Sequence[str], among: str, *, alike: bool = False) -> str:
    """The SELECT of how many combinations of values, each an SQL expression, occur more than once in the records of a
    table for which a condition holds; one with a NULL in it does not count unless nulls are alike."""
    given = [] if alike else [f"({value}) IS NOT NULL" for value in values]
    there = " AND ".join((among, *given))
    together = ", ".join(f"({value})" for value in values if value != "NULL")
    grouped = f" GROUP BY {together}" if together else ""
    repeated = f"SELECT 1 FROM {quote(table)} WHERE {there}{grouped} HAVING count(*) > 1"
    return f"SELECT count(*) FROM ({repeated}) AS d"


def old_name(field: FieldSpec, schema: ResourceSchema, old: Collection[str]) -> str | None:
    """The column that becomes a field: of the same name, or of the name that the field had."""
    if field.name in old:
        return field.name
    renamed = field.renamed_from
    return renamed if renamed in old and renamed not in schema.fields else None


def needs_default(field: FieldSpec, records: int) -> str:
    """Says that so many records have no value for a field that must have one."""
    return f"{field.name} needs a default: {records} records have no value for it"


def cannot_become(field: FieldSpec, name: str, values: int) -> str:
    """Says that so many values of the column do not fit the type of a field that must have one."""
    return f"{values} values of {name} cannot become {field.type.described}, and {field.name} has no default instead"


def those_there(schema: ResourceSchema, was: OldTable) -> str:
    """The condition, as SQL, for the records of a table that were not deleted."""
    is_known = DELETED_AT in was.fields and (was.soft or schema.is_soft)
    return f"{quote(DELETED_AT)} IS NULL" if is_known else "TRUE"


def shows_deleted(schema: ResourceSchema, was: OldTable) -> bool:
    """Whether records that were deleted would be there again, since their resource does not keep such any more."""
    return was.soft and not schema.is_soft and DELETED_AT in was.fields


def let_deleted_go(schema: ResourceSchema, table: str, records: int) -> Step:
    """The step that deletes for good what was deleted, before it would be there again."""
    sql = f"DELETE FROM {quote(table)} WHERE {quote(DELETED_AT)} IS NOT NULL"
    what = f"{records} deleted records of {schema.name}"
    return Step(f"{schema.table}: delete for good what is deleted, since it is not kept any more", (sql,), what)


def occurs_repeatedly(group: Sequence[str], count: int) -> str:
    """Says that so many combinations of values of some columns, which must be unique, occur more than once."""
    return f"{count} values of {', '.join(group)} occur more than once"


def count_lost(values: Mapping[str, int]) -> str:
    """Says what goes with columns of which so many values are there."""
    told = (f"{count} values of {name}" if count else f"{name}, which is empty" for name, count in values.items())
    return ", ".join(told)


def count_records(resource: str, records: int) -> str:
    """Says what goes with a table of so many records."""
    return f"{records} records of {resource}" if records else f"the table of {resource}, which is empty"


def tell_indexes(dropped: Mapping[str, str], made: Mapping[str, str]) -> str:
    """Says which indexes go and which come, each given by its name and the statement that makes it."""
    told = []
    for name, text in dropped.items():
        if name not in made:
            is_unique, fields = _told(text)
            told.append(f"let {fields} be repeated" if is_unique else f"drop the index on {fields}")
    for name, text in made.items():
        is_unique, fields = _told(text)
        if name in dropped:
            told.append(f"renew the index on {fields}")
        else:
            told.append(f"make {fields} unique" if is_unique else f"make an index on {fields}")
    return "; ".join(told)


def indexed(text: str) -> tuple[bool, list[str]]:
    """Whether a statement makes a unique index, and on which columns; none for an index of words."""
    found = _INDEX.match(text)
    if found is None:
        return False, []
    return found[1] is not None, [name.replace('""', '"') for name in dict.fromkeys(_NAME.findall(found[2]))]


def _told(text: str) -> tuple[bool, str]:
    is_unique, names = indexed(text)
    return is_unique, ", ".join(names) or "its words"


class AuditChange(NamedTuple):
    """How a table begins or ends to be audited, or for how long its history is kept: in words, and what `_audited` is
    told by. It may take the history of another table along, its `source`."""

    table: str
    description: str
    sql: tuple[str, ...]
    source: str | None = None
    begins: bool = False
    ends: bool = False
    loses: str = ""

    def step(self, *further: str) -> Step:
        """The step that does it, with what else belongs to it. What loses something is in nobody's way."""
        text = f"{self.table}: {self.description}"
        return Step(text, (*self.sql, *further), self.loses, may_stay=bool(self.loses))


def audit_changes(
    catalog: Catalog, audited: Mapping[str, float | None], sources: Mapping[str, str | None], *, removing: bool
) -> Iterator[AuditChange]:
    """What is to change where the history of the tables named is kept for so many seconds (None: for ever). `sources`
    says which table becomes one of the catalog's.

    Only a migration that may lose something ends an audit, or lets a history be shorter: servers of another version of
    the application, which run beside this one, may count on it.
    """
    audited = dict(audited)
    for schema in catalog.values():
        source = sources.get(schema.table)
        if source is not None and source != schema.table and source in audited:
            audited[schema.table] = seconds = audited.pop(source)
            sql = _audit(schema.table, seconds), _end_audit(source)
            yield AuditChange(schema.table, "take its history along", sql, source)
        if schema.history is not None:
            yield from _audit_longer(schema, schema.history, audited, removing=removing)
    if removing:
        declared = {schema.table for schema in catalog.values() if schema.history is not None}
        for table in sorted(audited.keys() - declared):
            loses = "the history of what changes from then on"
            yield AuditChange(table, "keep its history no more", (_end_audit(table),), ends=True, loses=loses)


def _audit_longer(
    schema: ResourceSchema, wanted: float, audited: Mapping[str, float | None], *, removing: bool
) -> Iterator[AuditChange]:
    table, lasting = schema.table, "for ever" if math.isinf(wanted) else f"for {wanted / _SECONDS_OF_A_DAY:g} days"
    sql = (_audit(table, None if math.isinf(wanted) else wanted),)
    was = audited.get(table, 0)
    if table not in audited:
        yield AuditChange(table, f"keep its history {lasting}", sql, begins=True)
    elif was is not None and wanted > was:
        yield AuditChange(table, f"keep its history for longer, {lasting}", sql)
    elif removing and (was is None or wanted < was) and not (was is None and math.isinf(wanted)):
        yield AuditChange(table, f"keep its history {lasting} only", sql, loses="what is older in it")


def tell_audited(steps: Sequence[Step], catalog: Catalog) -> None:
    """Says in the log which steps about the histories of a catalog's tables are not taken, since that would lose
    something."""
    for step in steps:
        if step.may_stay and step.description.partition(":")[0] in catalog.by_table:
            _log.warning("%s: only `crudite db migrate --lose` does that", step.description)


def _audit(table: str, seconds: float | None) -> str:
    values = f"{_literal(table)}, {'NULL' if seconds is None else float(seconds)}"
    again = "ON CONFLICT (tbl) DO UPDATE SET seconds = excluded.seconds"
    return f'INSERT INTO "_audited" (tbl, seconds) VALUES ({values}) {again}'


def _end_audit(table: str) -> str:
    return f'DELETE FROM "_audited" WHERE tbl = {_literal(table)}'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def refuse(steps: Sequence[Step]) -> None:
    """Raises StoreOutdated that lists the steps, when there are any that may not stay undone."""
    steps = [step for step in steps if not step.may_stay]
    if steps:
        lines = [f"- {step.description}" + (f" (loses {step.loses})" if step.loses else "") for step in steps]
        text = "The database is older than what the application declares:\n" + "\n".join(lines)
        raise StoreOutdated(text, is_blocked=any(step.is_blocked for step in steps))
