"""What a write was decided on besides the version of its record: the fields that do not move it."""

from collections.abc import Mapping

import msgspec

from crudite.schema import ResourceSchema
from crudite.types import Plain, PlainRecord

_decode = msgspec.json.Decoder(dict[str, object]).decode


def beside_version(schema: ResourceSchema, record: PlainRecord | None) -> PlainRecord:
    """The values of a record that its version says nothing of: what not everybody may read does not move it."""
    return {} if record is None else {field.name: record[field.name] for field in schema.beside_version}


def differing(seen: Mapping[str, Plain], stored: str | None) -> tuple[str, ...]:
    """The fields that are not as they were seen any more, in the JSON text of the record; none where that is not
    there."""
    if stored is None:
        return ()
    now = _decode(stored)
    return tuple(name for name, value in seen.items() if _text(now[name]) != _text(value))


def _text(value: object) -> bytes:
    """Equal only for values that are equal in JSON: 1 and true are two."""
    return msgspec.json.encode(value, order="deterministic")
