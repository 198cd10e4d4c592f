"""Which record is shown by each row that a function of the application has made of records, even without its key."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, TypeAlias

from crudite.types import Key


class Whose(Enum):
    """What a row is that shows no record which is known: none at all, such as a sum, or one that nobody can name."""

    NOBODYS = "nobody's"
    UNKNOWN = "unknown"


Keyed: TypeAlias = list[tuple[Key | Whose, Any]]
"""Rows, each with the key of the record that it shows."""


def told_apart(made: Iterable[Any], given: Keyed, key: str) -> Keyed:
    """The rows that were made of those `given`. A row shows the record whose key it has, or that whose row it is
    itself; others beside such rows show none. Where there are none such, but as many as before, they are taken to be in
    the same order."""
    rows, own = list(made), {id(row): of for of, row in given}
    found: list[Key | Whose] = [
        row[key] if isinstance(row, Mapping) and key in row else own.get(id(row), Whose.NOBODYS) for row in rows
    ]
    if given and all(one is Whose.NOBODYS for one in found):
        found = [of for of, _ in given] if len(rows) == len(given) else [Whose.UNKNOWN] * len(rows)
    return list(zip(found, rows, strict=True))
