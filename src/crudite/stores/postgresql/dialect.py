"""How PostgreSQL keeps each type of field, and how it spells the leaves of a query.

| type | column | kept as |
|---|---|---|
| text, enumerations of text | text COLLATE "C" | itself: sorts by code point |
| integer, bigint | bigint | itself |
| boolean, date, time, uuid | the same | itself |
| datetime | timestamptz | the moment |
| float | double precision | itself |
| decimal | numeric(18, places) | itself |
| json | jsonb | JSON, numbers exactly as decimals |

Inside JSON everything but numbers and booleans is text, and is compared as text. Nothing here depends on a
session's settings (DateStyle, TimeZone), since the same expressions run in the triggers of other people's
sessions.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec

from crudite.query.sql import quote
from crudite.schema import INT64, FieldType, Kind, ResourceSchema, format_datetime
from crudite.stores.postgresql.search import found
from crudite.types import Plain

_encode = msgspec.json.Encoder().encode
_UNCHANGED = frozenset(("text", "integer", "boolean", "uuid"))
_PARAMETERS: dict[Kind, str] = {
    "integer": "bigint",
    "float": "numeric",  # compares exactly with the numbers in JSON, and turns into a double for a column
    "decimal": "numeric",
    # as text, because the driver takes the first and the last day of Python's calendar for infinity
    "date": "text{0}::date",
    "datetime": "text{0}::timestamptz",
    "time": "text{0}::time",
    "json": "jsonb",
}
_CHECKS: dict[Kind, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "time": time.fromisoformat,
}
_LARGEST_FLOAT = "1.7976931348623158e308"
_SMALLEST_FLOAT = "2.5e-324"


class PostgresqlDialect:
    """The PostgreSQL dialect of the query compiler."""

    name = "postgresql"

    def store(self, type: FieldType, value: Plain) -> Any:
        """What the driver takes for a plain value; a list for a tuple of them.

        Raises ValueError for a date or time that does not exist.
        """
        kind = type.kind
        if value.__class__ is tuple:
            return [self.store(type, one) for one in value]
        if kind in _UNCHANGED or value is None:
            return value
        match kind:
            case "bigint":
                return int(value)
            case "float":
                return Decimal(value) if isinstance(value, int) else Decimal(repr(value + 0.0))  # no -0.0
            case "decimal":
                return Decimal(value)
            case "date" | "time" | "datetime":
                _CHECKS[kind](value)
                return value
        return _encode(value).decode()

    def load(self, type: FieldType, value: Any) -> Plain:
        """The plain value of a column's, or of one inside JSON."""
        kind = type.kind
        if value is None:
            return None
        match kind:
            case "bigint" | "uuid":
                return str(value)
            case "integer":
                return int(value)
            case "float":
                return _load_number(value) if isinstance(value, Decimal) else value
            case "decimal":
                return f"{value:.{type.places}f}"
            case "date":
                return value.isoformat()
            case "time":
                return value.strftime("%H:%M:%S.%f")
            case "datetime":
                return format_datetime(value)
            case "json":
                return msgspec.json.decode(value)
        return value

    def parameter(self, number: int, type: FieldType, is_list: bool = False) -> str:
        """Parameter `number`, from 1, or the array of them, with its type."""
        many = "[]" if is_list else ""
        return f"${number}::{_PARAMETERS.get(type.kind, type.kind).format(many)}{many}"

    def inside(self, column: str, path: tuple[str, ...], type: FieldType) -> str:
        """The value at a path inside a JSON column; NULL when it is null, of another type or not there."""
        value = _at(column, path)
        match type.kind:
            case "json" if type.item is not None:
                return f"CASE jsonb_typeof({value}) WHEN 'array' THEN {value} END"
            case "json" if type.members is not None or type.values is not None:
                return f"CASE jsonb_typeof({value}) WHEN 'object' THEN {value} END"
            case "json":
                return f"nullif({value}, 'null')"
            case "boolean":
                return f"CASE jsonb_typeof({value}) WHEN 'boolean' THEN ({value})::boolean END"
            case "float":
                return f"CASE jsonb_typeof({value}) WHEN 'number' THEN {_number(value)} END"
            case "integer":
                number = f"CASE scale(({value})::numeric) WHEN 0 THEN {_number(value)} END"
                return f"CASE jsonb_typeof({value}) WHEN 'number' THEN {number} END"
        return f"CASE jsonb_typeof({value}) WHEN 'string' THEN ({value} #>> '{{}}') COLLATE \"C\" END"

    def present(self, column: str, path: tuple[str, ...]) -> str:
        """Whether there is anything at the path, JSON null included."""
        return f"{_at(column, path)} IS NOT NULL"

    def one_of(self, value: str, parameter: str, type: FieldType) -> str:
        """Whether the value is in the array that is bound to a parameter."""
        return f"{value} = ANY({parameter})"

    def holds(self, column: str, path: tuple[str, ...], item: FieldType, parameter: str) -> str:
        """Whether the JSON list at the path has the parameter's value as an element."""
        array = self.inside(column, path, FieldType("json", item=item))
        wanted = parameter if item.kind in ("integer", "float", "boolean") else plain_text(parameter, item)
        element = self.inside("e.element", (), item)
        return f"EXISTS (SELECT 1 FROM jsonb_array_elements({array}) AS e(element) WHERE {element} = {wanted})"

    def text_test(self, operator: str, value: str, parameter: str) -> str:
        """Text comparison by code point; under the collation "C" lower() folds ASCII only."""
        if operator.startswith("i"):
            value, parameter, operator = f"lower({value})", f'lower({parameter} COLLATE "C")', operator[1:]
        if operator == "contains":
            return f"strpos({value}, {parameter}) > 0"
        if operator == "startswith":
            # the bound is implied by the rest, and lets an index start there
            return f"{value} >= {parameter} AND starts_with({value}, {parameter})"
        return f"right({value}, length({parameter})) = {parameter}"

    def search(self, schema: ResourceSchema, alias: str, parameter: str) -> str:
        """Whether all of the words are in the row, spelled as in the index of words."""
        return found(schema, alias, parameter)

    def json_value(self, column: str, type: FieldType) -> str:
        """The column's value as row_to_json takes it."""
        if type.kind == "float":
            return f"({plain_text(column, type)})::json"
        return column if type.kind in ("text", "integer", "boolean", "uuid", "json") else plain_text(column, type)

    def json_object(self, members: Sequence[tuple[str, str]]) -> str:
        """The text of a JSON object of names and `json_value` expressions, in order."""
        values = ", ".join(f"{value} AS {quote(name)}" for name, value in members)
        return f"(SELECT row_to_json(j)::text FROM (SELECT {values}) AS j)"

    def json_without(self, json: str, members: Sequence[tuple[str, str]]) -> str:
        """The text of a JSON object without those members whose condition is not true."""
        shown = " ".join(f"WHEN {literal(name)} THEN ({when}) IS TRUE" for name, when in members)
        member = "to_json(e.key)::text || ':' || e.value::text"
        return (
            f"(SELECT '{{' || coalesce(string_agg({member}, ',' ORDER BY e.place), '') || '}}' "
            f"FROM json_each(({json})::json) WITH ORDINALITY AS e(key, value, place) "
            f"WHERE CASE e.key {shown} ELSE TRUE END)"
        )

    def json_nested(self, json: str) -> str:
        """The text of a JSON value as row_to_json takes it."""
        return f"({json})::json"

    def json_array(self, rows: str) -> str:
        """The text of a JSON array of the texts of a SELECT; json_agg would put line ends between them."""
        return f"(SELECT '[' || coalesce(string_agg(a.json, ',' ORDER BY a.place), '') || ']' FROM ({rows}) AS a)"

    def total(self, value: str, type: FieldType) -> str:
        """The sum, exactly: doubles go by way of their text, and their sum may pass the largest of them."""
        return f"sum({value}::text::numeric)" if type.kind == "float" else f"sum({value})"

    def load_total(self, type: FieldType, value: Any) -> int | float:
        """A sum: an integer, or a float of floats."""
        if type.kind == "float":
            return float(value or 0)
        return int(f"{value or 0:.{type.places}f}".replace(".", ""))

    def order(self, value: str, descending: bool, nullable: bool) -> str:
        """A term of ORDER BY, null lowest; of a value that is never null as its index has it."""
        if not nullable:
            return f"{value} DESC" if descending else value
        return f"{value} DESC NULLS LAST" if descending else f"{value} NULLS FIRST"


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def plain_text(value: str, type: FieldType) -> str:
    """The SQL expression for the plain form of a value (not JSON), as text."""
    match type.kind:
        case "text":
            return value
        case "date":
            return f"to_char({value}, 'YYYY-MM-DD')"
        case "time":
            return f"to_char({value}::interval, 'HH24:MI:SS.US')"
        case "datetime":
            return f"to_char({value} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        case "float":
            # a whole number keeps its point, so that it reads back as a float
            whole = f"abs({value}) < 1e15 AND {value} = trunc({value})"
            return f"CASE WHEN {whole} THEN {value}::text || '.0' ELSE {value}::text END"
    return f"{value}::text"


def _at(column: str, path: tuple[str, ...]) -> str:
    """What lies at a path, JSON null included; a name is never taken for the number of an element."""
    return f"({column}{''.join(f' -> {literal(name)}' for name in path)})" if path else column


def _number(value: str) -> str:
    """A JSON number as all evaluators compare it: an integer of 64 bits exactly, any other as a double, NULL
    where no double is large enough.

    Doubles go by way of their text, because the direct way to numeric keeps only 15 digits.
    """
    n = f"({value})::numeric"
    return (
        f"CASE WHEN scale({n}) = 0 AND {n} BETWEEN {-INT64 - 1} AND {INT64} THEN {n} "
        f"WHEN abs({n}) > {_LARGEST_FLOAT} THEN NULL "
        f"WHEN abs({n}) < {_SMALLEST_FLOAT} THEN 0 ELSE ({n})::float8::text::numeric END"
    )


def _load_number(value: Decimal) -> int | float:
    """A number from inside JSON, such that it compares as the stored one when it is bound again."""
    whole = int(value) if abs(value) <= INT64 + 1 else None
    return whole if whole is not None and whole == value and whole != float(value) else float(value)
