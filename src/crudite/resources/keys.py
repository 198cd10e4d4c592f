"""Keys of records, and the problem for a key that no record has."""

from typing import Any

from crudite.errors import NotFound
from crudite.resources.declaring.definition import Definition
from crudite.types import Key


def plain_key(definition: Definition, key: Any) -> Key:
    """A key as plain data, from Python or plain. Raises NotFound for what can be no key of the resource."""
    try:
        plain: Key = definition.schema.key_field.type.check(key)
    except ValueError:
        raise no_record(definition, key) from None
    return plain


def no_record(definition: Definition, *keys: Any) -> NotFound:
    """The problem for keys that no record has, or none that the asker may know of."""
    return NotFound(f"There is no {definition.name} with the key {', '.join(map(repr, keys))}.")
