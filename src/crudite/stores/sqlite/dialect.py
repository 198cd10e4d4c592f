"""How SQLite keeps each type of field, and how it spells the leaves of a query.

Everything is plain SQLite 3.40 with its built-in functions, so that any other program can write the file.

| type | column | kept as |
|---|---|---|
| text, uuid, enumerations of text | TEXT | itself |
| date, time, datetime | TEXT | fixed-width, UTC, with microseconds: sorts as text |
| integer, bigint | INTEGER | itself |
| boolean | INTEGER | 0 or 1 |
| float | REAL | itself |
| decimal | INTEGER | times ten to the power of its decimal places |
| json | TEXT | JSON |
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from crudite.schema import FieldType, ResourceSchema
from crudite.stores.sqlite.search import found
from crudite.types import Plain

_encode = msgspec.json.Encoder().encode
_PLAIN_KINDS = frozenset(("text", "integer", "date", "time", "datetime", "uuid"))
_JSON_TYPES = {
    "integer": "= 'integer'",
    "float": "IN ('integer', 'real')",
    "boolean": "IN ('true', 'false')",
}

_LARGEST = "1.7976931348623157e308"
"""The largest double."""

_HALF = 2**32

_MOST_MEMBERS = 60
"""An SQLite function takes 127 arguments, by default in older versions."""


class SqliteDialect:
    """The SQLite dialect of the query compiler."""

    name = "sqlite"

    def store(self, type: FieldType, value: Plain) -> Any:
        """What is bound for a plain value; for a tuple of values their JSON list."""
        kind = type.kind
        if value.__class__ is tuple:
            return _encode([self.store(type, one) for one in value]).decode()
        if kind in _PLAIN_KINDS or value is None:
            return value
        if kind == "boolean":
            return int(value)
        if kind == "float":  # an integer from inside JSON stays exact
            return value if value.__class__ is int else float(value)
        if kind == "bigint":
            return int(value)
        if kind == "decimal":
            return int(value.replace(".", ""))
        return _encode(value).decode()

    def load(self, type: FieldType, value: Any) -> Plain:
        """The plain value of a column's."""
        kind = type.kind
        if kind in _PLAIN_KINDS or value is None or kind == "float":
            return value
        if kind == "boolean":
            return bool(value)
        if kind == "bigint":
            return str(value)
        if kind == "decimal":
            digits = f"{abs(value):0{type.places + 1}d}"
            text = f"{digits[: -type.places]}.{digits[-type.places :]}" if type.places else digits
            return f"-{text}" if value < 0 else text
        return msgspec.json.decode(value)

    def parameter(self, number: int, type: FieldType, is_list: bool = False) -> str:
        """Parameter `number`, from 1."""
        return f"?{number}"

    def inside(self, column: str, path: tuple[str, ...], type: FieldType) -> str:
        """The value at a path inside a JSON column; NULL when it is null, of another type or not there."""
        at = _json_path(path)
        fits = f"json_type({column}, {at}) {_is_json_type(type)}"
        if type.kind in (
            "integer",
            "float",
        ):  # infinity, which SQLite reads in huge numbers, fits in no cursor
            fits += f" AND json_extract({column}, {at}) BETWEEN -{_LARGEST} AND {_LARGEST}"
        return f"CASE WHEN {fits} THEN json_extract({column}, {at}) END"

    def present(self, column: str, path: tuple[str, ...]) -> str:
        """Whether there is anything at the path, JSON null included."""
        return f"json_type({column}, {_json_path(path)}) IS NOT NULL"

    def one_of(self, value: str, parameter: str, type: FieldType) -> str:
        """Whether the value is in the JSON list that is bound to a parameter."""
        return f"{value} IN (SELECT value FROM json_each({parameter}))"

    def holds(self, column: str, path: tuple[str, ...], item: FieldType, parameter: str) -> str:
        """Whether the JSON list at the path has the parameter's value as an element."""
        each = f"json_each({column}, {_json_path(path)})" if path else f"json_each({column})"
        kind = f"json_type({column}{', ' + _json_path(path) if path else ''}) = 'array'"
        found = f"SELECT 1 FROM {each} AS e WHERE e.type {_is_json_type(item)} AND e.value = {parameter}"
        return f"{kind} AND EXISTS ({found})"

    def text_test(self, operator: str, value: str, parameter: str) -> str:
        """Text comparison by code point; SQLite's lower() folds ASCII only, as the `i` operators promise."""
        if operator.startswith("i"):
            value, parameter, operator = f"lower({value})", f"lower({parameter})", operator[1:]
        if operator == "contains":
            return f"instr({value}, {parameter}) > 0"
        if operator == "startswith":
            # the bound is implied by the rest, and lets an index start there
            return f"{value} >= {parameter} AND substr({value}, 1, length({parameter})) = {parameter}"
        return f"substr({value}, length({value}) - length({parameter}) + 1) = {parameter}"

    def search(self, schema: ResourceSchema, alias: str, parameter: str) -> str:
        """Whether all of the words are in the row, by the index of words."""
        return found(schema, alias, parameter)

    def json_value(self, column: str, type: FieldType) -> str:
        """The column's value as an argument for json_object."""
        kind = type.kind
        if kind == "boolean":
            return f"json(CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"
        if kind == "float":
            return f"json({_float_text(column)})"
        if kind == "bigint":
            return f"CAST({column} AS TEXT)"
        if kind == "decimal":
            return _decimal_text(column, type.places)
        return f"json({column})" if kind == "json" else column

    def json_object(self, members: Sequence[tuple[str, str]]) -> str:
        """The text of a JSON object of names and `json_value` expressions, in order."""
        first, rest = members[:_MOST_MEMBERS], members[_MOST_MEMBERS:]
        json = f"json_object({', '.join(f'{_literal(name)}, {value}' for name, value in first)})"
        while rest:
            first, rest = rest[:_MOST_MEMBERS], rest[_MOST_MEMBERS:]
            more = ", ".join(f"{_json_path((name,))}, {value}" for name, value in first)
            json = f"json_insert({json}, {more})"
        return json

    def json_without(self, json: str, members: Sequence[tuple[str, str]]) -> str:
        """The text of a JSON object without those members whose condition is not true."""
        # a path that is never there in place of the member's leaves the object as it is
        paths = [f"CASE WHEN {when} THEN '$.\"\"' ELSE {_json_path((name,))} END" for name, when in members]
        while paths:
            json, paths = f"json_remove({json}, {', '.join(paths[:_MOST_MEMBERS])})", paths[_MOST_MEMBERS:]
        return json

    def json_nested(self, json: str) -> str:
        """The text of a JSON value as an argument for json_object, which knows another json_object's as it is."""
        return json if json.startswith("json_object(") else f"json({json})"

    def json_array(self, rows: str) -> str:
        """The text of a JSON array of the texts of a SELECT that is in order, which the aggregate keeps."""
        return f"(SELECT json_group_array(json(a.json)) FROM ({rows}) AS a)"

    def total(self, value: str, type: FieldType) -> str:
        """The sum; of integers in two halves of 32 bits, since SQLite refuses a sum beyond 64 bits."""
        if type.kind == "float":
            return f"total({value})"
        return f"printf('%d %d', sum({value} / {_HALF}), sum({value} % {_HALF}))"

    def load_total(self, type: FieldType, value: Any) -> int | float:
        """A sum: an integer, or a float of floats."""
        if type.kind == "float":
            return float("nan") if value is None else float(value)
        high, low = value.split()
        return int(high) * _HALF + int(low)

    def order(self, value: str, descending: bool, nullable: bool) -> str:
        """A term of ORDER BY; SQLite takes null as the lowest value by itself."""
        return f"{value} DESC" if descending else value


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _json_path(path: tuple[str, ...]) -> str:
    """A path as SQL text; names are written as JSON strings, which is how SQLite reads what is in quotes."""
    return _literal("$" + "".join(f".{_encode(name).decode()}" for name in path))


def _is_json_type(type: FieldType) -> str:
    """What json_type says of values of a type, as the end of a condition; true, 1 and "1" are three."""
    if type.kind == "json" and type.item is None and type.members is None and type.values is None:
        return "<> 'null'"
    if type.kind == "json":
        return "= 'object'" if type.item is None else "= 'array'"
    return _JSON_TYPES.get(type.kind, "= 'text'")


def _float_text(column: str) -> str:
    """The shorter of 15 and 17 significant digits that reads back as the same double."""
    short, long = f"printf('%!.15g', {column})", f"printf('%!.17g', {column})"
    return f"CASE WHEN CAST({short} AS REAL) = {column} THEN {short} WHEN {column} IS NOT NULL THEN {long} END"


def _decimal_text(column: str, places: int) -> str:
    if not places:
        return f"CAST({column} AS TEXT)"
    scale = 10**places
    digits = f"printf('%d.%0{places}d', abs({column}) / {scale}, abs({column}) % {scale})"
    return f"CASE WHEN {column} < 0 THEN '-' || {digits} WHEN {column} IS NOT NULL THEN {digits} END"
