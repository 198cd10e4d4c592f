"""What the migrations of all databases share: what columns were, what they become, and why a step may not be taken."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from crudite.errors import StoreOutdated
from crudite.query.sql import quote
from crudite.schema import FieldSpec, FieldType, Kind, ResourceSchema
from crudite.stores.base import Step


class OldField(msgspec.Struct, frozen=True):
    """A column as it was made."""

    kind: Kind
    places: int = 0
    choices: list[Any] | None = None

    @classmethod
    def of(cls, field: FieldSpec) -> "OldField":
        """The column that a field is made into today."""
        choices = field.type.choices
        return cls(field.type.kind, field.type.places, list(choices) if choices is not None else None)

    @property
    def type(self) -> FieldType:
        """Its type, as far as a column's values depend on it."""
        return FieldType(self.kind, self.places, tuple(self.choices) if self.choices is not None else None)


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


def count_repeated(table: str, values: Sequence[str]) -> str:
    """The SELECT of how many combinations of values, each an SQL expression, occur more than once in a table; one with
    a NULL in it does not count."""
    there = " AND ".join(f"({value}) IS NOT NULL" for value in values)
    together = ", ".join(f"({value})" for value in values)
    repeated = f"SELECT 1 FROM {quote(table)} WHERE {there} GROUP BY {together} HAVING count(*) > 1"
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


def occurs_repeatedly(group: Sequence[str], count: int) -> str:
    """Says that so many combinations of values of some columns, which must be unique, occur more than once."""
    return f"{count} values of {', '.join(group)} occur more than once"


def refuse(steps: Sequence[Step]) -> None:
    """Raises StoreOutdated that lists the steps, when there are any."""
    if steps:
        lines = [f"- {step.description}" + (f" (loses {step.loses})" if step.loses else "") for step in steps]
        text = "The database is older than what the application declares:\n" + "\n".join(lines)
        raise StoreOutdated(text, is_blocked=any(step.is_blocked for step in steps))
