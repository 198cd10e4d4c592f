"""What a request brings for writing: one record or several, below a parent or not, as plain values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import msgspec

from crudite.errors import Fault, Invalid, Malformed, Problem
from crudite.resources.declaring.body import Part
from crudite.resources.declaring.definition import BodyName, Definition
from crudite.resources.request import Request
from crudite.resources.writing.below import RAW, Below, Parse
from crudite.types import PlainRecord

MAX_MANY = 1000
"""How many records one request can create."""
MAX_PASSWORDS = 10
"""How many of a resource with passwords, of which each takes its time on purpose; the server itself may create more."""


def is_many(data: Any) -> bool:
    """Whether a body holds several records: a JSON array, or a list."""
    if isinstance(data, RAW):
        raw = bytes(data)
        return raw[:1] == b"[" or (raw[:1] in b" \t\r\n" and raw.lstrip(b" \t\r\n")[:1] == b"[")
    return isinstance(data, (list, tuple))


def created(request: Request) -> list[PlainRecord]:
    """The plain values of the record, or of each of the records, that a request wants created.

    Raises Malformed, or Invalid with every fault; in a list each pointer begins with its index.
    """
    parse = parser(request, "create")
    if not is_many(request.data):
        return [parse(request.data)]
    return _each(_parts(request), parse)


def entries_of(request: Request) -> Iterator[tuple[Any, bool]]:
    """The entries of a list of records and keys: each record as it was given, each key as plain data, and whether it
    is a record. Raises Malformed, or Invalid for what is no list."""
    if not is_many(request.data):
        raise Invalid(faults=[Fault("list_type", "A list of records or their keys goes here.", pointer="")])
    for part in _parts(request):
        raw = bytes(part) if isinstance(part, RAW) else None
        given = part if raw is None else raw if raw.lstrip(b" \t\r\n")[:1] == b"{" else msgspec.json.decode(raw)
        yield given, isinstance(given, bytes | Mapping)


def given(request: Request) -> PlainRecord:
    """The plain values that a request gives an existing record. Raises Malformed, or Invalid with every fault."""
    definition = cast(Definition, request.definition)
    values, key = parser(request, cast(Any, request.action))(request.data), definition.schema.key
    if request.field is not None and isinstance(values.get(request.field), Part):  # the value is the whole of it
        values = {**values, **definition.whole.parse(request.data)}
    if values.get(key, request.key) != request.key:
        raise Invalid(faults=[Fault("immutable", f"{key} cannot be changed.", pointer=f"/{key}")])
    return values


def parser(request: Request, body: BodyName) -> Parse:
    """What parses the body of one record: one that goes to a nested path gets the parent's key from there."""
    definition = cast(Definition, request.definition)
    parse = definition.bodies[body].parse
    if request.nesting is None or not request.nesting.values:
        return parse
    below = Below(definition, request.nesting, is_part=body == "update")
    return lambda data: below.parse(parse, data)


def _parts(request: Request) -> Sequence[Any]:
    data = request.data
    parts: Sequence[Any] = data
    if isinstance(data, RAW):
        try:
            parts = msgspec.json.decode(bytes(data), type=list[msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"The body is not JSON: {error}.") from error
    if len(parts) > MAX_MANY:
        raise Malformed(f"At most {MAX_MANY} records are created at once, {len(parts)} came.")
    if len(parts) > MAX_PASSWORDS and cast(Definition, request.definition).passwords and not request.is_system:
        raise Malformed(f"At most {MAX_PASSWORDS} records with passwords are created at once, {len(parts)} came.")
    return parts


def _each(parts: Sequence[Any], parse: Parse) -> list[PlainRecord]:
    parsed, faults = [], []
    for index, part in enumerate(parts):
        try:
            parsed.append(parse(part))
        except Problem as problem:
            if not problem.faults:
                raise
            faults += [at_index(one, index) for one in problem.faults]
    if faults:
        raise Invalid(faults=faults)
    return parsed


def at_index(fault: Fault, index: int) -> Fault:
    """The fault of a record that stands in a list."""
    return replace(fault, pointer=f"/{index}{fault.pointer or ''}", parameter=None)
