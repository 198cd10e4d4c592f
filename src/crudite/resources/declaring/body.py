"""What a client sends for one record, validated: JSON in, plain values out, or every fault at once.

All validation goes through JSON text, also for Python values, so that one set of types decides. Where a field
holds a JSON object, an update may bring a part of it (RFC 7396): it is kept as a `Part` until `merge` has put
it into the old value, and the whole is validated then.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, NotRequired

import msgspec
import pydantic
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, from_json, to_json
from typing_extensions import TypedDict

from crudite.errors import Fault, Invalid, Malformed
from crudite.resources.declaring.annotations import storable
from crudite.resources.declaring.collect import SYSTEM_FIELDS
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.shapes import Convert
from crudite.types import Plain, PlainRecord
from crudite.validators.base import BROKEN, Broken

MAX_FAULTS = 100
"""How many faults are named at most."""


@dataclass(frozen=True, slots=True)
class BodyField:
    """One field as a body takes it: `annotation` is for Pydantic, with null where it may be null. One that
    `is_repeated` is the server's own: a body may hold it as it is stored."""

    name: str
    annotation: Any
    is_required: bool
    convert: Convert | None = None
    is_object: bool = False
    is_repeated: bool = False


class Part(dict[str, Any]):
    """A merge patch for the value of one field, not applied yet."""

    __slots__ = ()


class Body:
    """What an action takes, compiled. `known` are the names that are fields but cannot be given here; what is `ignored`
    may come along with what was read, and says nothing."""

    def __init__(
        self,
        name: str,
        fields: Sequence[BodyField],
        known: Iterable[str] = (),
        *,
        whole: "Body | None" = None,
        ignored: Sequence[BodyField] = (),
    ) -> None:
        self.name = name
        self._names = tuple(field.name for field in fields if not field.is_repeated)
        self._repeated = frozenset(field.name for field in fields if field.is_repeated)
        self._known = frozenset((*known, *SYSTEM_FIELDS))
        self._whole = whole
        self._objects = frozenset(field.name for field in fields if field.is_object and whole is not None)
        self._converts = tuple((field.name, field.convert) for field in fields if field.convert is not None)
        self._ignored = tuple(field.name for field in ignored)
        self.adapter = _adapter(name, [*fields, *ignored], self._objects)

    @cached_property
    def _validate(self) -> Callable[..., dict[str, Any]]:
        return self.adapter.validator.validate_json

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that it writes."""
        return self._names

    @property
    def repeated(self) -> frozenset[str]:
        """The fields that it takes besides, which nobody writes: they may only be as they are stored."""
        return self._repeated

    def parse(self, data: Any) -> dict[str, Plain]:
        """The plain values of a body: JSON as bytes or `msgspec.Raw`, a mapping of Python or plain values, or
        an instance of the resource. Raises Malformed when it is not JSON, Invalid with every fault."""
        if isinstance(data, bytes | bytearray):
            return self.parse_json(data)
        if isinstance(data, msgspec.Raw | memoryview):
            return self.parse_json(bytes(data))
        if isinstance(data, Record):
            return self.parse_python({n: v for n, v in vars(data).items() if n not in self._known})
        return self.parse_python(data)

    def parse_json(self, raw: bytes | bytearray) -> dict[str, Plain]:
        """The plain values of a body in JSON; only the fields that are there. Raises as `parse` does."""
        try:
            values = self._validate(raw)
        except ValidationError as error:
            raise self._problem(error) from None
        for name in self._ignored:
            values.pop(name, None)
        if b"\\u0000" in raw:
            self._each(values, [(name, storable) for name in values if isinstance(values[name], str | list | dict)])
        if self._converts:
            self._each(values, self._converts)
        return values

    def parse_python(self, values: Any) -> dict[str, Plain]:
        """The plain values of a mapping that holds Python values, plain ones, or both. Raises as `parse`
        does."""
        if not isinstance(values, Mapping):
            raise Invalid(faults=[_not_an_object()])
        if not self._objects:
            return self.parse_json(self._encoded(values))
        whole = {n: v for n, v in values.items() if n in self._objects and not isinstance(v, Mapping)}
        parsed = self.parse_json(self._encoded({n: v for n, v in values.items() if n not in whole}))
        return {**parsed, **self._whole.parse_python(whole)} if self._whole is not None and whole else parsed

    def needs_old(self, values: Mapping[str, Plain]) -> bool:
        """Whether the parsed values hold a part of an object, so that `merge` needs the stored record."""
        return bool(self._objects) and any(isinstance(values.get(name), Part) for name in self._objects)

    def merge(self, old: PlainRecord, values: Mapping[str, Plain]) -> dict[str, Plain]:
        """The parsed values with every part put into the old value it changes (RFC 7396). Raises Invalid when
        the result is not valid."""
        parts = {name: value for name, value in values.items() if isinstance(value, Part)}
        if not parts or self._whole is None:
            return dict(values)
        merged = {name: merge_patch(old.get(name), dict(part)) for name, part in parts.items()}
        return {**values, **self._whole.parse_json(msgspec.json.encode(merged))}

    def _encoded(self, values: Mapping[str, Any]) -> bytes:
        try:
            return to_json(
                {n: _in_utc(v) for n, v in values.items()},
                fallback=_key_of_record,
                inf_nan_mode="constants",
                by_alias=True,
            )
        except (PydanticSerializationError, ValueError, RecursionError):
            raise Invalid(faults=list(_unencodable(values))) from None

    def _each(self, values: dict[str, Any], converts: Iterable[tuple[str, Convert]]) -> None:
        faults = []
        for name, convert in converts:
            value = values.get(name)
            if value is None:
                continue
            try:
                values[name] = convert(value)
            except (ValueError, PydanticSerializationError) as error:
                faults.append(_bad_value(name, error))
        if faults:
            raise Invalid(faults=faults)

    def _problem(self, error: ValidationError) -> Malformed | Invalid:
        details = error.errors(include_url=False, include_input=False)
        if details[0]["type"] == "json_invalid":
            return Malformed("The body is not JSON: " + details[0]["msg"].removeprefix("Invalid JSON: ") + ".")
        faults = [fault for index, one in enumerate(details[:MAX_FAULTS]) for fault in self._faults(one, index)]
        return Invalid(faults=list(dict.fromkeys(faults[:MAX_FAULTS])))

    def _faults(self, error: ErrorDetails, index: int) -> Iterable[Fault]:
        if error["type"] != BROKEN:
            return (self._fault(error, index),)
        pointer = "".join(f"/{_escaped(part)}" for part in error["loc"])
        broken: Iterable[Broken] = error["ctx"]["broken"]
        return [Fault(one.code, one.detail, pointer=pointer, rule=one.rule) for one in broken]

    def _fault(self, error: ErrorDetails, index: int) -> Fault:
        code, place = error["type"], error["loc"]
        if not place:
            return _not_an_object()
        pointer = "".join(f"/{_escaped(part)}" for part in place)
        if code != "extra_forbidden" or len(place) > 1:
            return Fault(code, _detail(code, error["msg"]), pointer=pointer)
        name = str(place[0])
        if name in self._known:
            return Fault("read_only", "This field cannot be given.", pointer=pointer)
        near = get_close_matches(name[:100], self._names, 1) if index < 20 else []
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return Fault("unknown_field", f"There is no such field{hint}", pointer=pointer)


def decoded(raw: bytes) -> Any:
    """What a body says, for whoever looks into it before it is validated: read by the parser that `Body` reads it with,
    since of two parsers one takes what the other refuses, such as NaN for a field that comes again with its value.
    Raises Malformed when it is not JSON."""
    try:
        return from_json(raw)
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None


def merge_patch(target: Plain, patch: Plain) -> Plain:
    """The target with a merge patch applied (RFC 7396, section 2); the target is left as it is."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def typed_dict(name: str, fields: Iterable[tuple[str, Any, bool]]) -> Any:
    """A TypedDict of (name, annotation, is required) that takes no other names. An adapter for it is built when it is
    first used: most of those that an application has, a process never needs."""
    members = {n: annotation if required else NotRequired[annotation] for n, annotation, required in fields}
    make: Any = TypedDict  # type checkers know only those that are written out
    made = make(name, members)
    made.__pydantic_config__ = pydantic.ConfigDict(
        extra="forbid", strict=True, hide_input_in_errors=True, title=name, defer_build=True, allow_inf_nan=False
    )
    return made


def _adapter(name: str, fields: Iterable[BodyField], objects: frozenset[str]) -> TypeAdapter[Any]:
    part = pydantic.WrapValidator(_part)
    members = [
        (f.name, Annotated[f.annotation, part] if f.name in objects else f.annotation, f.is_required) for f in fields
    ]
    return TypeAdapter(typed_dict(name, members))


def _part(value: Any, validate: Callable[[Any], Any]) -> Any:
    return Part(storable(value)) if isinstance(value, dict) else validate(value)


def _in_utc(value: Any) -> Any:
    """A datetime in UTC, since its text leaves out the seconds of an offset; anything else as it is."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        return value
    try:
        return value.astimezone(UTC)
    except OverflowError:
        return value


def _key_of_record(value: Any) -> Any:
    if isinstance(value, Record):
        return vars(value).get("id")
    raise TypeError(f"{type(value).__name__} is no value of a field")


def _unencodable(values: Mapping[str, Any]) -> Iterable[Fault]:
    """The fault of each value that has no form in JSON."""
    for name, value in values.items():
        try:
            to_json({name: value}, fallback=_key_of_record, by_alias=True)
        except (PydanticSerializationError, ValueError, RecursionError):
            detail = f"A {type(value).__name__} that cannot be stored."
            yield Fault("bad_value", detail, pointer=f"/{_escaped(name)}")


def _bad_value(name: str, error: Exception) -> Fault:
    text = str(error).splitlines()[0] if not isinstance(error, PydanticSerializationError) else "It cannot be stored"
    return Fault("bad_value", f"{text[:1].upper()}{text[1:]}.", pointer=f"/{_escaped(name)}")


def _not_an_object() -> Fault:
    return Fault("not_an_object", "A record is a JSON object.", pointer="")


def _detail(code: str, text: str) -> str:
    """Pydantic's message as a sentence, without what it repeats of the input."""
    if code == "missing":
        return "This field is required."
    if code == "value_error" and "email" in text:
        return "Expected an e-mail address."
    if code.endswith("_parsing"):
        text = text.split(",")[0]
    text = text.removeprefix("Value error, ")
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


def _escaped(part: Any) -> str:
    text = str(part).encode(errors="replace").decode()[:100]
    return text.replace("~", "~0").replace("/", "~1")
