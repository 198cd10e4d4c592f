"""What all records of a selection come to: counts, sums, averages, lowest and highest values, also by groups.

A sum is exact and an average is the nearest double to the exact one, in every database; only sums of floats are as
exact as the database adds them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

import msgspec

from crudite.query.dialect import Dialect
from crudite.query.faults import Complain, shown
from crudite.query.paths import Many, Paths
from crudite.query.plan import MOST_GROUPS, Aggregate, Function, Measure, Selection
from crudite.query.shapes import Shape, shape_of
from crudite.query.sql import SqlWriter, Statement, compiled, encode, quote
from crudite.query.tree import Path
from crudite.schema import SAFE_INTEGER, FieldType, Kind, ResourceSchema
from crudite.types import Plain

MAX_BY = 5
"""The most paths that records are grouped by."""
MAX_MEASURES = 20
"""The most measures of a group."""

WrittenMeasure: TypeAlias = tuple[Function, str | None]
"""A function and the path, with dots, that it is of; None for the count."""

_SUMMED: tuple[Kind, ...] = ("integer", "bigint", "float", "decimal")
_ORDERED: tuple[Kind, ...] = (*_SUMMED, "text", "date", "time", "datetime")
_KINDS: dict[str, tuple[Kind, ...]] = {"sum": _SUMMED, "avg": _SUMMED, "min": _ORDERED, "max": _ORDERED}

_encode = msgspec.json.Encoder().encode


def resolve_aggregate(
    by: Sequence[str], measures: Sequence[WrittenMeasure], schema: ResourceSchema, paths: Paths, complain: Complain
) -> Aggregate:
    """The aggregate as resolved for an asker, and a complaint for all that is wrong with it.

    He must be allowed to read its fields in every record.
    """
    if len(by) > MAX_BY or len(measures) > MAX_MEASURES:
        complain("too_many_names", f"A group is by at most {MAX_BY} fields and has at most {MAX_MEASURES} measures.")
    groups = [_path(text, schema, paths, complain) for text in by[:MAX_BY]]
    found = [_measure(*written, schema, paths, complain) for written in measures[:MAX_MEASURES]]
    aggregate = Aggregate(tuple([m for m in found if m is not None]), tuple([p for p in groups if p is not None]))
    twice = {name for name in aggregate.names if aggregate.names.count(name) > 1}
    for name in sorted(twice):
        complain("bad_aggregate", f"{shown(name)} is in a group twice.")
    return aggregate


def aggregate_statement(selection: Selection, aggregate: Aggregate, dialect: Dialect) -> Statement:
    """The rows of an aggregate, to be read by `aggregate_records`: one, or one more group than MOST_GROUPS."""
    filter_shape, constants = shape_of(selection.filter)
    measures = tuple([(m.function, m.path and m.path.names) for m in aggregate.measures])
    by = tuple([path.names for path in aggregate.by])
    mark: Shape = (dialect.name, selection.schema, "aggregate", filter_shape, by, measures)
    return Statement(compiled(mark, lambda: _text(selection, aggregate, dialect)), encode(constants, dialect))


def aggregate_records(aggregate: Aggregate, rows: Iterable[Sequence[Any]], dialect: Dialect) -> list[str]:
    """The JSON texts of the value or the groups in the rows of `aggregate_statement`."""
    values = [_row(aggregate, row, dialect) for row in rows]
    if not aggregate.by:
        return [_encode(row[0]).decode() for row in values]
    names = aggregate.names
    return [_encode(dict(zip(names, row, strict=True))).decode() for row in values]


def aggregate_json(aggregate: Aggregate, records: Sequence[str]) -> str:
    """The JSON text of what an aggregate comes to, of a page's records: one value, or an array of groups."""
    return f"[{','.join(records)}]" if aggregate.by else records[0]


def aggregate_text(aggregate: Aggregate) -> str:
    """A text that is equal for two aggregates of one resource only if they ask for the same."""
    return repr((aggregate.names, len(aggregate.by)))


def _path(text: str, schema: ResourceSchema, paths: Paths, complain: Complain) -> Path | None:
    found = paths.find(tuple(text.split(".")), schema, complain)
    if isinstance(found, Many):
        complain("bad_aggregate", f"{shown(text)} leads to many records.")
    elif found is not None and found.guards:
        complain("bad_aggregate", f"{shown(text)} may not be read in every record.")
    elif found is not None and (found.path.inside or found.path.type.kind == "json"):
        complain("bad_aggregate", f"{shown(text)} is JSON, which is not aggregated.")
    elif found is not None:
        return found.path
    return None


def _measure(
    function: Function, text: str | None, schema: ResourceSchema, paths: Paths, complain: Complain
) -> Measure | None:
    if text is None:
        return Measure(function)
    path = _path(text, schema, paths, complain)
    if path is None:
        return None
    if path.type.kind not in _KINDS[function]:
        complain("bad_aggregate", f"{function} does not go with {shown(text)}, which is {path.type.described}.")
        return None
    return Measure(function, path)


def _text(selection: Selection, aggregate: Aggregate, dialect: Dialect) -> str:
    """The values that are read in an inner SELECT, so that every one of them is a column of the outer one."""
    writer = SqlWriter(dialect)
    where = writer.filter(selection.filter)
    columns = {path: f"c{n}" for n, path in enumerate(aggregate.paths)}
    read = ["1 AS one", *[f"{writer.value(path)} AS {name}" for path, name in columns.items()]]
    found = [columns[path] for path in aggregate.by]
    for measure in aggregate.measures:
        found += _measured(measure, columns, dialect)
    inner = f"SELECT {', '.join(read)} FROM {quote(selection.schema.table)} AS t WHERE {where}"
    text = f"SELECT {', '.join(found)} FROM ({inner}) AS q"
    if not aggregate.by:
        return text
    numbers = [str(n) for n in range(1, len(aggregate.by) + 1)]
    order = ", ".join([dialect.order(number, False, True) for number in numbers])
    return f"{text} GROUP BY {', '.join(numbers)} ORDER BY {order} LIMIT {MOST_GROUPS + 1}"


def _measured(measure: Measure, columns: dict[Path, str], dialect: Dialect) -> list[str]:
    if measure.path is None:
        return ["count(*)"]
    column = columns[measure.path]
    match measure.function:
        case "sum":
            return [dialect.total(column, measure.path.type)]
        case "avg":
            return [dialect.total(column, measure.path.type), f"count({column})"]
    return [f"{measure.function}({column})"]


def _row(aggregate: Aggregate, row: Sequence[Any], dialect: Dialect) -> list[Plain]:
    cells = iter(row)
    values = [dialect.load(path.type, next(cells)) for path in aggregate.by]
    for measure in aggregate.measures:
        cell, path = next(cells), measure.path
        if path is None:
            values.append(cell)
        elif measure.function == "sum":
            values.append(_sum(path.type, dialect.load_total(path.type, cell)))
        elif measure.function == "avg":
            values.append(_average(path.type, dialect.load_total(path.type, cell), cast(int, next(cells))))
        else:
            values.append(dialect.load(path.type, cell))
    return values


def _sum(type: FieldType, total: int | float) -> Plain:
    """A sum as it is shown: as its field; beyond the integers that JSON keeps exact it is the nearest double."""
    match type.kind:
        case "bigint":
            return str(total)
        case "decimal":
            return _decimal(int(total), type.places)
        case "integer" if abs(total) <= SAFE_INTEGER:
            return total
    return _finite(float(total))


def _average(type: FieldType, total: int | float, count: int) -> Plain:
    return _finite(total / (count * 10**type.places)) if count else None


def _finite(number: float) -> float | None:
    return number if number - number == 0 else None


def _decimal(units: int, places: int) -> str:
    digits = f"{abs(units):0{places + 1}d}"
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if units < 0 else text
