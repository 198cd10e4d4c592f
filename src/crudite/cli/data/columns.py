"""Which column becomes which field, and how its texts are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from difflib import get_close_matches
from typing import Any

import msgspec

from crudite.cli.data.source import Row, snake_case
from crudite.cli.failures import Failure
from crudite.errors import Fault
from crudite.resources.declaring.definition import Definition
from crudite.schema import NO_DEFAULT, FieldSpec, FieldType

SET_BY_US = ("version", "created_at", "updated_at")
_TRUE, _FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")
_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Converted:
    """The values of a row by field, and what could not be read of it."""

    values: dict[str, Any]
    faults: tuple[Fault, ...] = ()


class Columns:
    """The way from the columns of a file to the fields of a resource.

    `columns` are all there are, None when rows may differ; `renamed` gives the field of a column, `ignored`
    are columns to leave out, `key` is the column that holds the key. `zone` is where times without an
    offset belong. Raises Failure that names every column that fits nothing, and every field that no column
    fills.
    """

    def __init__(
        self,
        definition: Definition,
        columns: Sequence[str] | None,
        *,
        key: str | None = None,
        renamed: Mapping[str, str] | None = None,
        ignored: Sequence[str] = (),
        zone: tzinfo | None = None,
    ) -> None:
        self._definition = definition
        self._renamed = dict(renamed or {})
        if key is not None:
            self._renamed[key] = definition.schema.key
        self._ignored = frozenset(ignored)
        self._by_snake = {snake_case(name): name for name in definition.schema.fields}
        self._fields: dict[str, str | None] = {}
        self._readers = {name: self._reader(spec, zone) for name, spec in definition.schema.fields.items()}
        self.left_out: tuple[str, ...] = ()
        """The columns that only we can set, such as `version`, and that were left out without being told
        so."""
        self._check(columns)

    def convert(self, row: Row, *, is_text: bool) -> Converted:
        """The values of a row by field; of texts when `is_text`."""
        values: dict[str, Any] = {}
        faults = []
        for column, value in row.values.items():
            name = self._field(column)
            if name is None:
                continue
            reader = self._readers.get(name) if is_text else None
            if reader is None:
                values[name] = value
                continue
            try:
                read = reader(value)
            except ValueError as error:
                faults.append(Fault("bad_value", f"{error}, not {_short(value)}", pointer=f"/{name}"))
                continue
            if read is not _ABSENT:
                values[name] = read
        return Converted(values, tuple(faults))

    def _field(self, column: str) -> str | None:
        """The name of a column's field; None when it is left out. A name that fits no field stays as it
        is."""
        if column not in self._fields:
            self._fields[column] = self._find(column)
        return self._fields[column]

    def _find(self, column: str) -> str | None:
        if column in self._ignored:
            return None
        if column in self._renamed:
            return self._renamed[column]
        known = self._definition.schema.fields
        name = column if column in known else self._by_snake.get(snake_case(column), column)
        if name in SET_BY_US:
            self.left_out = (*self.left_out, column)
            return None
        return name

    def _check(self, columns: Sequence[str] | None) -> None:
        known = self._definition.schema.fields
        faults = [
            f"--map {column}={name}: {self._definition.name} has no field {name}{_near(name, known)}."
            for column, name in self._renamed.items()
            if name not in known
        ]
        if columns is not None:
            asked = {
                **dict.fromkeys(self._ignored, "--ignore"),
                **dict.fromkeys(self._renamed, "--map or --key"),
            }
            faults += [
                f"{o} {c}: there is no such column{_near(c, columns)}." for c, o in asked.items() if c not in columns
            ]
            faults += self._misfits(columns)
        if faults:
            raise Failure("\n".join(["the columns do not fit:", *(f"- {fault}" for fault in faults)]), _HINT)

    def _misfits(self, columns: Sequence[str]) -> list[str]:
        known = self._definition.schema.fields
        names = {column: self._field(column) for column in columns}
        faults: list[str] = []
        filled: dict[str, str] = {}
        for column, name in names.items():
            if name is None:
                continue
            if name in filled:
                faults.append(f"{filled[name]} and {column} both fill {name}.")
            elif name not in known and column not in self._renamed:
                faults.append(f"{self._definition.name} has no field {column}{_near(snake_case(column), known)}.")
            filled.setdefault(name, column)
        missing = [name for name, spec in known.items() if name not in filled and self._is_required(spec)]
        return [
            *faults,
            *(f"No column fills {name}, which {self._definition.name} needs." for name in missing),
        ]

    def _is_required(self, spec: FieldSpec) -> bool:
        if spec.name in SET_BY_US:
            return False
        if spec.name == self._definition.schema.key:
            return spec.type.kind == "text"
        return not self._has_default(spec)

    def _has_default(self, spec: FieldSpec) -> bool:
        return spec.default is not NO_DEFAULT or spec.name in self._definition.defaults

    def _reader(self, spec: FieldSpec, zone: tzinfo | None) -> Callable[[str], Any]:
        read = _reader_of(spec.type, zone)
        empty: Any = "" if spec.type.kind == "text" and spec.type.choices is None else _ABSENT
        if spec.nullable:
            empty = None
        if self._has_default(spec) or spec.name == self._definition.schema.key:
            empty = _ABSENT
        return lambda text: empty if not text.strip() else read(text)


_HINT = "--map COLUMN=FIELD gives a column its field, --ignore COLUMN leaves it out."


def _reader_of(type: FieldType, zone: tzinfo | None) -> Callable[[str], Any]:
    """Reads the text of a cell that is not empty as a plain value. It raises ValueError with what was
    expected."""
    if type.choices is None:
        match type.kind:
            case "text":
                return str
            case "boolean":
                return _read_boolean
            case "integer":
                return lambda text: type.parse(_whole(text.strip()))
            case "datetime":
                return lambda text: type.check(_with_zone(text.strip(), zone))
            case "json":
                return _read_json
    return lambda text: type.parse(text.strip())


def _read_boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError("expected true or false")
    return word in _TRUE


def _whole(text: str) -> str:
    """An integer as some programs write it when the column has empty cells: `12.0`."""
    return text.rstrip("0").removesuffix(".") if "." in text and text.rstrip("0").endswith(".") else text


def _with_zone(text: str, zone: tzinfo | None) -> Any:
    if zone is None:
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _read_json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("expected JSON") from None


def _near(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
