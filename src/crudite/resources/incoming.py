"""What a request brings for writing: one record or several, below a parent or not, as plain values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import msgspec

from crudite.errors import Fault, Invalid, Malformed, Problem
from crudite.resources.below import RAW, Below, Parse
from crudite.resources.definition import Definition
from crudite.resources.request import Request
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
    parse = _parser(request)
    if not is_many(request.data):
        return [parse(request.data)]
    parts = _parts(request.data)
    if len(parts) > MAX_PASSWORDS and cast(Definition, request.definition).passwords and not request.is_system:
        raise Malformed(f"At most {MAX_PASSWORDS} records with passwords are created at once, {len(parts)} came.")
    return _each(parts, parse)


def given(request: Request) -> PlainRecord:
    """The plain values that a request gives an existing record. Raises Malformed, or Invalid with every fault."""
    definition = cast(Definition, request.definition)
    values, key = _parser(request)(request.data), definition.schema.key
    if values.get(key, request.key) != request.key:
        raise Invalid(faults=[Fault("immutable", f"{key} cannot be changed.", pointer=f"/{key}")])
    return values


def _parser(request: Request) -> Parse:
    definition = cast(Definition, request.definition)
    parse = definition.bodies[cast(Any, request.action)].parse
    if request.nesting is None or not request.nesting.values:
        return parse
    below = Below(definition, request.nesting, is_part=request.action == "update")
    return lambda data: below.parse(parse, data)


def _parts(data: Any) -> Sequence[Any]:
    parts: Sequence[Any] = data
    if isinstance(data, RAW):
        try:
            parts = msgspec.json.decode(bytes(data), type=list[msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"The body is not JSON: {error}.") from error
    if len(parts) > MAX_MANY:
        raise Malformed(f"At most {MAX_MANY} records are created at once, {len(parts)} came.")
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
