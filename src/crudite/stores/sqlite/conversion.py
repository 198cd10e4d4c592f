"""How a stored value of one type becomes one of another, and which values cannot, as SQL."""

from crudite.schema import FieldType, Kind
from crudite.stores.sqlite.ddl import check
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.stores.steps import Conversion, ConversionRule

_dialect = SqliteDialect()


def convert(column: str, old: FieldType, new: FieldType) -> Conversion:
    """The conversion of a column's values; where there is none, nothing fits."""
    rule = _RULES.get((old.kind, new.kind))
    if old.kind == new.kind:
        rule = _decimal_to_decimal if old.kind == "decimal" else _same
    elif rule is None and new.kind == "json":
        rule = _to_json
    if rule is None:
        return Conversion("NULL", "FALSE")
    value, fits = rule(column, old, new)
    return Conversion(value, f"({fits}) AND ({check(f'({value})', new) or 'TRUE'})")


def _same(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return column, "TRUE"


def _to_real(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    value = f"CAST({column} AS REAL)"
    return value, f"CAST({value} AS INTEGER) = {column}"


def _to_decimal(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column} * {10**new.places}", f"abs({column}) < {10 ** (18 - new.places)}"


def _to_text(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"CAST({column} AS TEXT)", "TRUE"


def _written(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"CAST({_dialect.json_value(column, old)} AS TEXT)", "TRUE"


def _decimal_to_decimal(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    scale = 10 ** abs(new.places - old.places)
    if new.places >= old.places:
        return f"{column} * {scale}", f"abs({column}) < {10**18 // scale}"
    return f"{column} / {scale}", f"{column} % {scale} = 0"


def _decimal_to_integer(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column} / {10**old.places}", f"{column} % {10**old.places} = 0"


def _decimal_to_real(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column} / {10**old.places}.0", f"abs({column}) < {10**15}"


def _real_to_integer(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    value = f"CAST({column} AS INTEGER)"
    return value, f"{value} = {column}"


def _text_to_integer(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    value = f"CAST({column} AS INTEGER)"
    return value, f"CAST({value} AS TEXT) = {column}"


def _date_to_datetime(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"{column} || 'T00:00:00.000000Z'", "TRUE"


def _datetime_to_date(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    return f"substr({column}, 1, 10)", f"substr({column}, 11) = 'T00:00:00.000000Z'"


def _to_json(column: str, old: FieldType, new: FieldType) -> tuple[str, str]:
    value = _dialect.json_value(column, old)
    return f"json_quote({value})", "TRUE"


_RULES: dict[tuple[Kind, Kind], ConversionRule] = {
    ("integer", "bigint"): _same,
    ("bigint", "integer"): _same,
    ("boolean", "integer"): _same,
    ("boolean", "bigint"): _same,
    ("integer", "boolean"): _same,
    ("integer", "float"): _to_real,
    ("bigint", "float"): _to_real,
    ("integer", "decimal"): _to_decimal,
    ("bigint", "decimal"): _to_decimal,
    ("decimal", "integer"): _decimal_to_integer,
    ("decimal", "bigint"): _decimal_to_integer,
    ("decimal", "float"): _decimal_to_real,
    ("float", "integer"): _real_to_integer,
    ("float", "bigint"): _real_to_integer,
    ("integer", "text"): _to_text,
    ("bigint", "text"): _to_text,
    ("boolean", "text"): _written,
    ("float", "text"): _written,
    ("decimal", "text"): _written,
    ("json", "text"): _same,
    ("date", "text"): _same,
    ("time", "text"): _same,
    ("datetime", "text"): _same,
    ("uuid", "text"): _same,
    ("text", "date"): _same,
    ("text", "time"): _same,
    ("text", "datetime"): _same,
    ("text", "uuid"): _same,
    ("text", "integer"): _text_to_integer,
    ("text", "bigint"): _text_to_integer,
    ("date", "datetime"): _date_to_datetime,
    ("datetime", "date"): _datetime_to_date,
}
