"""A resource class from data: the narrowest type that every value of a column has, written as Python."""

import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

from crudite.cli.data.source import Source, snake_case
from crudite.cli.failures import Failure
from crudite.schema import INT64, SAFE_INTEGER

_TAKEN = {"where", "version", "created_at", "updated_at"}
_IMPORTS = {
    "date": "from datetime import date", "datetime": "from datetime import datetime",
    "time": "from datetime import time", "Decimal": "from decimal import Decimal",
    "UUID": "from uuid import UUID", "Any": "from typing import Any",
}  # fmt: skip
_KEYS = {"UUID": "Resource", "str": "Record[str]", "int": "Record[int]"}


@dataclass(slots=True)
class Column:
    """What has been seen of one column: `possible` are the types that all its values have, narrowest
    first."""

    possible: list[str]
    is_nullable: bool = False
    values: set[Any] | None = field(default_factory=set)
    """The values, as long as no two rows have the same one."""

    @property
    def type(self) -> str:
        """The narrowest type that all values have; text when there were none."""
        return self.possible[0] if self.values != set() else "str"


@dataclass(frozen=True, slots=True)
class Inferred:
    """A resource made up from data: its source text, and the field of each column."""

    code: str
    fields: Mapping[str, str]
    key: str | None


def infer(source: Source, name: str, *, key: str | None = None, ignored: Iterable[str] = ()) -> Inferred:
    """Reads all of a file and writes a class that fits it. `key` is the column with the key; without it a
    column `id` without gaps and repeats is taken, or else every record gets a new UUID.

    Raises Failure when the name is none, or the key's column has gaps, repeats or values that can be no key.
    """
    if not re.fullmatch(r"[A-Z]\w*", name) or keyword.iskeyword(name):
        raise Failure(f"{name} is no name for a class.", "Such as Flight or LineItem.")
    columns = _scan(source, frozenset(ignored))
    if not columns:
        raise Failure(f"{source.path.name} has no rows to learn from.")
    key = _key(columns, key, source)
    names = _field_names(columns, key)
    return Inferred(_code(name, source, columns, names, key), names, key)


def _scan(source: Source, ignored: frozenset[str]) -> dict[str, Column]:
    checks: Mapping[str, Callable[[Any], bool]] = _TEXT_CHECKS if source.is_text else _JSON_CHECKS
    columns: dict[str, Column] = {}
    count = 0
    for row in source.rows():
        if row.fault:
            continue
        for name, value in row.values.items():
            if name not in ignored:
                if name not in columns:
                    columns[name] = Column(list(checks), is_nullable=count > 0)
                _see(columns[name], value, checks)
        for name in columns.keys() - row.values.keys():
            columns[name].is_nullable = True
        count += 1
    return columns


def _see(column: Column, value: Any, checks: Mapping[str, Callable[[Any], bool]]) -> None:
    if value is None or value == "":
        column.is_nullable = True
        return
    column.possible = [type for type in column.possible if checks[type](value)]
    if column.values is not None:
        if isinstance(value, list | dict) or value in column.values:
            column.values = None
        else:
            column.values.add(value)


def _key(columns: Mapping[str, Column], asked: str | None, source: Source) -> str | None:
    if asked is None:
        return "id" if "id" in columns and _can_be_key(columns["id"]) else None
    if asked not in columns:
        raise Failure(f"{source.path.name} has no column {asked}.", f"It has {', '.join(columns)}.")
    if not _can_be_key(columns[asked]):
        raise Failure(f"{asked} is no key: it has gaps, repeats, or values that are neither text nor integers.")
    return asked


def _can_be_key(column: Column) -> bool:
    return not column.is_nullable and column.values is not None and column.type in _KEYS


def _field_names(columns: Iterable[str], key: str | None) -> dict[str, str]:
    names: dict[str, str] = {}
    for column in columns:
        name = snake_case(column) or "column"
        if column == key:
            name = "id"
        elif name == "id" or name in _TAKEN:
            name = f"own_{name}"
        elif keyword.iskeyword(name):
            name += "_"
        elif not name.isidentifier():
            name = f"field_{name}"
        number, unique = 2, name
        while unique in names.values():
            unique, number = f"{name}_{number}", number + 1
        names[column] = unique
    return names


def _code(name: str, source: Source, columns: Mapping[str, Column], names: Mapping[str, str], key: str | None) -> str:
    base = _KEYS[columns[key].type] if key is not None else "Resource"
    used = {"App", "allow", base.partition("[")[0]}
    fields, imports = [], set()
    for column, seen in columns.items():
        if column == key:
            continue
        fields.append(f"    {names[column]}: {_annotation(seen, is_text=source.is_text)}")
        imports |= {_IMPORTS[word] for word in re.findall(r"\w+", seen.type) if word in _IMPORTS}
        used |= {word for word in ("BigInt", "Field") if word in _annotation(seen, is_text=source.is_text)}
    parts = [f'"""{name}: made from {source.path.name} by `crudite import`."""', ""]
    parts += [*sorted(imports), ""] if imports else []
    parts += [f"from crudite import {', '.join(sorted(used, key=str.lower))}", "", ""]
    parts += ["# Everyone may do everything: say who may before you publish it."]
    parts += [f"class {name}({base}, rules=allow.everyone):"]
    parts += [f'    """`id` is the column {key}."""', ""] if key is not None and key != "id" else []
    parts += fields or ["    pass"]
    return "\n".join([*parts, "", "", f"app = App({name})", ""])


def _annotation(column: Column, *, is_text: bool) -> str:
    if column.type == "Decimal":
        optional = " | None" if column.is_nullable else ""
        default = "default=None, " if column.is_nullable else ""
        return f"Decimal{optional} = Field({default}decimal_places=2)"
    if column.is_nullable:
        return 'str = ""' if column.type == "str" and is_text else f"{column.type} | None = None"
    return column.type


def _reads(read: Callable[[str], Any]) -> Callable[[Any], bool]:
    def check(text: Any) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return check


def _matches(pattern: str) -> Callable[[Any], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _between(text: str, limit: int) -> bool:
    return re.fullmatch(r"-?(0|[1-9][0-9]{0,18})(\.0+)?", text) is not None and abs(int(text.split(".")[0])) <= limit


_TEXT_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "bool": _matches("(?i)true|false|yes|no"),
    "Decimal": _matches(r"-?(0|[1-9][0-9]{0,15})\.[0-9]{2}"),
    "int": lambda text: _between(text, SAFE_INTEGER),
    "BigInt": lambda text: _between(text, INT64) and "." not in text,
    "float": _matches(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"),
    "date": lambda text: len(text) == 10 and _reads(date.fromisoformat)(text),
    "datetime": lambda text: len(text) > 10 and _reads(datetime.fromisoformat)(text),
    "time": lambda text: ":" in text and _reads(time.fromisoformat)(text),
    "UUID": lambda text: len(text) == 36 and _reads(UUID)(text),
    "str": lambda _: True,
}
"""The types that a text may have, narrowest first; every text is a `str`."""

_JSON_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: type(value) is int and abs(value) <= SAFE_INTEGER,
    "float": lambda value: type(value) in (int, float),
    "date": lambda value: isinstance(value, str) and _TEXT_CHECKS["date"](value),
    "datetime": lambda value: isinstance(value, str) and _TEXT_CHECKS["datetime"](value),
    "UUID": lambda value: isinstance(value, str) and _TEXT_CHECKS["UUID"](value),
    "str": lambda value: isinstance(value, str),
    "list[Any]": lambda value: isinstance(value, list),
    "dict[str, Any]": lambda value: isinstance(value, dict),
    "Any": lambda _: True,
}
