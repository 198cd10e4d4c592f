"""How a stored value of one type becomes one of another, and which values cannot, as SQL."""

from crudite.schema import FieldType, Kind
from crudite.stores.postgresql.ddl import check, column_type
from crudite.stores.postgresql.dialect import plain_text
from crudite.stores.steps import Conversion, ConversionRule


def convert(column: str, old: FieldType, new: FieldType) -> Conversion:
    """The conversion of a column's values; where there is none, nothing fits."""
    rule = _RULES.get((old.kind, new.kind))
    if old.kind == new.kind:
        rule = _to_decimal if old.kind == "decimal" else _same
    elif rule is None and new.kind == "json":
        rule = _to_json
    elif rule is None and new.kind == "text":
        rule = _written
    if rule is None:
        return Conversion(f"NULL::{column_type(new)}", "FALSE")
    value, fits = rule(column, old, new)
    # nested, because the parts of an AND are tried in any order, and the second one may be an error
    condition = f"CASE WHEN {fits} THEN {check(f'({value})', new) or 'TRUE'} ELSE FALSE END"
    return Conversion(f"({value})::{column_type(new)}", condition)


def _same(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return column, "TRUE"


def _to_float(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column}::float8", f"abs({column}::numeric) < 1e15"


def _to_decimal(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    value = f"round({column}::numeric, {new.places})"
    return value, f"{value} = {column} AND abs({column}) < 1e{18 - new.places}"


def _to_integer(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column}::bigint", f"{column} = trunc({column}) AND abs({column}) < 1e18"


def _boolean_to_integer(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column}::integer::bigint", "TRUE"


def _integer_to_boolean(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column} = 1", f"{column} IN (0, 1)"


def _written(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return plain_text(column, old), "TRUE"


def _text_to_integer(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column}::bigint", f"{column} ~ '^(0|-?[1-9][0-9]{{0,17}})$'"


def _read(form: str) -> ConversionRule:
    def rule(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
        kind = column_type(new)
        value = f"{column}::{kind}"
        valid = f"pg_input_is_valid({column}, '{kind}')"
        canonical = f"{plain_text(value, new)} = {column}"
        return value, f"CASE WHEN {column} ~ '{form}' AND {valid} THEN {canonical} ELSE FALSE END"

    return rule


def _date_to_datetime(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column}::timestamp AT TIME ZONE 'UTC'", "TRUE"


def _datetime_to_date(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    local = f"({column} AT TIME ZONE 'UTC')"
    return f"{local}::date", f"{local}::time = '00:00'"


def _to_json(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    keeps = old.kind in ("integer", "boolean", "float")
    return f"to_jsonb({column if keeps else plain_text(column, old)})", "TRUE"


_RULES: dict[tuple[Kind, Kind], ConversionRule] = {
    ("integer", "bigint"): _same,
    ("bigint", "integer"): _same,
    ("boolean", "integer"): _boolean_to_integer,
    ("boolean", "bigint"): _boolean_to_integer,
    ("integer", "boolean"): _integer_to_boolean,
    ("integer", "float"): _to_float,
    ("bigint", "float"): _to_float,
    ("decimal", "float"): _to_float,
    ("integer", "decimal"): _to_decimal,
    ("bigint", "decimal"): _to_decimal,
    ("decimal", "integer"): _to_integer,
    ("decimal", "bigint"): _to_integer,
    ("float", "integer"): _to_integer,
    ("float", "bigint"): _to_integer,
    ("text", "date"): _read("^[0-9]{4}-"),
    ("text", "time"): _read("^[0-9]{2}:"),
    ("text", "datetime"): _read("^[0-9]{4}-.*Z$"),
    ("text", "uuid"): _read("^[0-9a-f]{8}-"),
    ("text", "integer"): _text_to_integer,
    ("text", "bigint"): _text_to_integer,
    ("date", "datetime"): _date_to_datetime,
    ("datetime", "date"): _datetime_to_date,
}
