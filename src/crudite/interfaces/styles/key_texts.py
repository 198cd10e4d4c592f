"""Keys that are numbers, sent as the texts that a client has read them as."""

from collections.abc import Mapping
from typing import Any

import msgspec

from crudite.resources.declaring.definition import Definition, Definitions
from crudite.resources.writing.incoming import is_many
from crudite.schema import FieldType


def with_numbers(body: bytes, definition: Definition, definitions: Definitions) -> bytes:
    """The body of a write in which a text stands for a number wherever a key goes that is one: in the key of a record,
    in references and links, and in place of a record in a list. All else stays as it is, and so does what is no JSON:
    whoever parses it says so."""
    types = _integer_keys(definition, definitions)
    if not types:
        return body
    try:
        if not is_many(body):
            return _record(body, types)
        parts = msgspec.json.decode(body, type=list[msgspec.Raw])
        return msgspec.json.encode([_entry(bytes(part), types, definition) for part in parts])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body


def _integer_keys(definition: Definition, definitions: Definitions) -> dict[str, FieldType]:
    """What a body of a resource may hold by name that is an integer key, or a list of them, with their types."""
    schema = definition.schema
    types = {schema.key: schema.key_field.type}
    types |= {name: schema.fields[name].type for name, _ in definition.references}
    ends = {name: definitions.by_name[definition.links[name].leads_to] for name in definition.settable}
    types |= {name: end.schema.key_field.type for name, end in ends.items()}
    return {name: type for name, type in types.items() if type.kind == "integer"}


def _entry(part: bytes, types: Mapping[str, FieldType], definition: Definition) -> msgspec.Raw:
    """A record in a list, or the key of one."""
    if part[:1] == b'"' and (own := types.get(definition.schema.key)) is not None:
        return msgspec.Raw(msgspec.json.encode(_number(msgspec.json.decode(part), own)))
    return msgspec.Raw(_record(part, types) if part[:1] == b"{" else part)


def _record(body: bytes, types: Mapping[str, FieldType]) -> bytes:
    values: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name in types.keys() & values.keys():
        given = msgspec.json.decode(values[name])
        is_list = isinstance(given, list)
        values[name] = [_number(one, types[name]) for one in given] if is_list else _number(given, types[name])
    return msgspec.json.encode(values)


def _number(value: Any, type: FieldType) -> Any:
    """The key that a text is, if it is the text of one."""
    if not isinstance(value, str):
        return value
    try:
        return type.parse(value)
    except ValueError:
        return value
