"""The validators that are asked when a record is about to be written: the application's functions, and those that look
at the record which a reference points at.

They are asked after the types of all values and their predefined validators have been checked, once for each value
that is given: before the `before` hooks, and again for what those have changed. What a function has read of other
records is checked once more inside the transaction.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import msgspec
from pydantic import ValidationError

from crudite.errors import Fault, Invalid
from crudite.messages import Actor
from crudite.query.plan import Mask, Need, Selection, everything
from crudite.query.presence import present
from crudite.query.simplify import join
from crudite.query.tree import Path, Test
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.definition import Codec, Definition, Definitions
from crudite.resources.declaring.field_validators import OwnValidator
from crudite.resources.keys import plain_key
from crudite.resources.refusals import points_nowhere
from crudite.resources.request import Request
from crudite.schema import FieldSpec, ResourceSchema
from crudite.stores.base import Store
from crudite.stores.seen import beside_version
from crudite.stores.sieve import look_up
from crudite.types import Key, Plain, PlainRecord
from crudite.validators import MatchesParent

R = TypeVar("R", bound="Record[Any]")


@dataclass(frozen=True, slots=True)
class FieldContext:
    """What a validator is told besides the value: the `name` of the field; the `action`, which is `create`, `replace`
    or `update`; the `record` as it would be stored, an instance of its class in which no function has changed anything
    yet; the stored record as `old`, None when it is created; and the `request`."""

    name: str
    action: str
    record: Any
    old: Any
    request: Request
    _reading: "_Reading" = field(repr=False)

    @property
    def actor(self) -> Actor:
        """Who writes."""
        return self.request.actor

    async def read(self, resource: type[R], key: Any) -> R | None:
        """The record of a resource with a key, as the server itself sees it; None when there is none.

        The write is made only if that record still is as it was read; else the validators are asked again.
        """
        return cast(R | None, await self._reading.read(self.name, resource, key))


@dataclass(slots=True)
class _Reading:
    """Reads other records for the validators of one write, which then `needs` them to be as they were read."""

    definitions: Definitions
    store: Store
    needs: list[Need] = field(default_factory=list)

    async def read(self, name: str, resource: type[Any], key: Any) -> Any:
        definition = self.definitions[resource]
        plain = plain_key(definition, key)
        record = await self.look_up(definition.schema, plain)
        if record is None:
            return None
        schema = definition.schema
        self.need(name, schema, plain, record, [schema.fields["version"]], beside_version(schema, record))
        return definition.from_plain(record)

    async def look_up(self, schema: ResourceSchema, key: Key) -> PlainRecord | None:
        whole = everything(schema)
        row = await self.store.lookup(Selection(schema, present(schema), whole.mask), key)
        record: PlainRecord | None = None if row is None else msgspec.json.decode(row.json)
        return record

    def need(
        self, name: str, schema: ResourceSchema, key: Key, record: PlainRecord, fields: Collection[FieldSpec],
        seen: PlainRecord | None = None,
    ) -> None:  # fmt: skip
        """Lets the write be made only if these fields of a record are as they were read, and others as `seen`."""
        equal = [_equals(spec, record[spec.name]) for spec in fields]
        as_it_was = join((*equal, present(schema)), either=False)
        self.needs.append(Need(name, Selection(schema, as_it_was, Mask((schema.key,))), key, seen or {}))


class Validation:
    """The validators of one write of a resource. `needs` are the records that they have looked at; `readable` tells
    which records of another resource its actor may point at."""

    def __init__(
        self, definition: Definition, definitions: Definitions, store: Store, request: Request, old: PlainRecord | None,
        readable: Callable[[ResourceSchema], Selection],
    ) -> None:  # fmt: skip
        self._definition = definition
        self._request = request
        self._old = old
        self._readable = readable
        self._reading = _Reading(definitions, store)

    @property
    def needs(self) -> tuple[Need, ...]:
        """The records that must be as they were read."""
        return tuple(self._reading.needs)

    async def of(self, values: PlainRecord, names: Collection[str], *, is_draft: bool = False) -> PlainRecord:
        """The plain values of a write, those of the named fields as their validators return them. Raises Invalid with
        every fault. Of a draft, which hooks are about to see, what stays is not asked yet."""
        definition = self._definition
        asked = [name for name in definition.validators if name in names and name in values]
        moved = [] if is_draft else list(self._moved(values))
        if not asked and not moved:
            return values
        whole = {**(self._old or {}), **values}
        record = definition.from_plain(whole)
        old = None if self._old is None else definition.from_plain(self._old)
        codecs = {codec.name: codec for codec in definition.codecs}
        changed: PlainRecord = {}
        faults: list[Fault] = []
        for name in asked:
            context = FieldContext(name, self._request.action, record, old, self._request, self._reading)
            changed[name], found = await self._asked(context, codecs[name], values, whole)
            faults += found
        for name, validator in moved:
            faults += await self._beside_parent(validator, name, whole[name], whole, is_given=True)
        if faults:
            raise Invalid(faults=list(dict.fromkeys(faults)))
        return {**values, **changed}

    def _moved(self, values: PlainRecord) -> Iterator[tuple[str, MatchesParent]]:
        """The stored values that stay, with a validator whose reference is about to point at another record."""
        old = self._old
        if old is None:
            return
        for name, validators in self._definition.validators.items():
            given = [one for one in validators if isinstance(one, MatchesParent) and one.reference in values]
            for one in given if name not in values else ():
                if values[one.reference] != old.get(one.reference):
                    yield name, one

    async def _asked(
        self, context: FieldContext, codec: Codec, values: PlainRecord, whole: PlainRecord
    ) -> tuple[Plain, list[Fault]]:
        """The plain value of one field as its validators leave it, each of which is asked; and what is wrong."""
        plain, faults = values[context.name], list[Fault]()
        for validator in self._definition.validators[context.name]:
            if isinstance(validator, MatchesParent):
                is_given = validator.reference in values
                faults += await self._beside_parent(validator, context.name, plain, whole, is_given=is_given)
                continue
            value = plain if plain is None or codec.from_plain is None else codec.from_plain(plain)
            try:
                returned = await _call(validator, value, context)
            except ValueError as error:
                faults.append(_refused(context.name, error))
                continue
            plain = _stored(codec, returned, validator)
        return plain, faults

    async def _beside_parent(
        self, validator: MatchesParent, name: str, value: Plain, whole: PlainRecord, *, is_given: bool
    ) -> list[Fault]:
        key = whole.get(validator.reference)
        if key is None or not validator.concerns(value):
            return []
        reference = self._definition.schema.fields[validator.reference].reference
        assert reference is not None
        schema = self._reading.definitions.catalog[reference.target]
        if is_given and reference.enforced:  # of what the asker cannot point at he is told nothing
            readable = self._readable(schema)
            if await look_up(self._reading.store, readable, cast(Key, key)) is None:
                return [points_nowhere(validator.reference)]
        parent = await self._reading.look_up(schema, cast(Key, key))
        if parent is None:  # it has gone since, or need not be there
            return []
        if not validator.accepts(value, parent[name]):
            detail = f"This value does not go with {name} of its {validator.reference}."
            return [Fault("invalid_parent", detail, pointer=f"/{name}", rule=validator.rule)]
        self._reading.need(name, schema, cast(Key, key), parent, [schema.fields[name]])
        return []


async def _call(validator: OwnValidator, value: Any, context: FieldContext) -> Any:
    arguments = (value, context) if validator.takes_context else (value,)
    answer = validator.function(*arguments)
    return await answer if validator.is_async else answer


def _stored(codec: Codec, value: Any, validator: OwnValidator) -> Plain:
    """The plain form of what a function returned. Raises TypeError when the field cannot hold it, which is a fault of
    the application."""
    if value is None and codec.nullable:
        return None
    try:
        plain: Plain = codec.to_plain(value)
    except Exception as error:
        raise TypeError(
            f"the validator {validator.name} of {codec.name} returned {type(value).__name__}, which the field cannot "
            f"hold ({error}): it returns the value to store"
        ) from error
    return plain


def _refused(name: str, error: ValueError) -> Fault:
    """The fault that a function's error tells: its own words, or those of Pydantic without what came."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False, include_context=False)
        text = "; ".join(one["msg"] for one in found)
    else:
        text = str(error)
    return Fault("refused", text or "This value is refused.", pointer=f"/{name}")


def _equals(spec: FieldSpec, value: Plain) -> Test:
    path = Path((), spec, (), spec.type)
    return Test(path, "isnull", True) if value is None else Test(path, "eq", value)


def looks_at_record(definition: Definition, values: Mapping[str, Plain]) -> bool:
    """Whether validators of these values want to know the rest of the record."""
    return any(
        name in values or one.reference in values if isinstance(one, MatchesParent)
        else name in values and one.takes_context
        for name, validators in definition.validators.items()
        for one in validators
    )  # fmt: skip


def differing(values: Mapping[str, Plain], before: Mapping[str, Plain]) -> list[str]:
    """The names of the values that are not what they were before."""
    return [name for name, value in values.items() if name not in before or before[name] != value]
