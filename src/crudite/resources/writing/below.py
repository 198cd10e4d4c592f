"""Bodies that are sent to a nested path: what they say, and need not say, of the record above."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from crudite.errors import Fault, Invalid, Malformed
from crudite.resources.declaring.body import decoded
from crudite.resources.declaring.definition import Definition
from crudite.resources.request import Nesting
from crudite.types import Key, PlainRecord

Parse: TypeAlias = Callable[[Any], PlainRecord]
"""Makes plain values of a body. Raises Malformed, or Invalid with every fault."""

RAW = (bytes, bytearray, memoryview, msgspec.Raw)


class Below:
    """How a body is parsed that was sent to a nested path: it gets the key of the nearest record above it from there,
    where it does not have to say that itself, and may say no other. A body that is a part of a record may leave it out.
    """

    def __init__(self, definition: Definition, nesting: Nesting, *, is_part: bool) -> None:
        self._definition = definition
        self._values = nesting.values
        self._is_said = nesting.is_said and not is_part
        self._is_part = is_part

    def parse(self, parse: Parse, data: Any) -> PlainRecord:
        """The plain values. Raises as `parse` does, and Invalid for a parent that is not the path's, or not said."""
        try:
            values = decoded(bytes(data)) if isinstance(data, RAW) else data
        except Malformed:
            return parse(data)
        if not isinstance(values, Mapping):
            return parse(data)
        faults = [fault for name, key in self._values.items() if (fault := self._fault(values, name, key))]
        # What is wrong with the parent is said above, unless it is no key at all; all else shall be said with it.
        own = {} if self._is_part else self._values
        corrected = {name: self._values[name] for fault in faults if (name := (fault.pointer or "/")[1:]) in values}
        try:
            parsed = parse({**own, **values, **corrected})
        except Invalid as invalid:
            raise Invalid(faults=[*faults, *invalid.faults]) if faults else invalid from None
        if faults:
            raise Invalid(faults=faults)
        return parsed

    def _fault(self, values: Mapping[str, Any], name: str, key: Key) -> Fault | None:
        if name not in values:
            detail = f"{name} is required: the path names {key!r}."
            return Fault("missing_parent", detail, pointer=f"/{name}") if self._is_said else None
        try:
            given = self._definition.schema.fields[name].type.check(values[name])
        except ValueError:
            return None  # whoever parses it says so
        if given == key:
            return None
        return Fault("other_parent", f"The path names {key!r}, and {name} is {given!r}.", pointer=f"/{name}")
