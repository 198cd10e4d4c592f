"""The types of fields: how a value looks as Python object, as plain data, in a URL, and in a comparison.

Three forms of one value: the **Python value** that application code sees (`Decimal("12.50")`), the **plain
value** that travels in JSON and lies in the change log (`"12.50"`), and what a store's column holds, which only
that store knows. This module converts between the first two and reads values from URLs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, TypeAlias
from uuid import UUID

from crudite.types import Plain

Kind: TypeAlias = Literal[
    "text", "integer", "bigint", "float", "decimal", "boolean", "date", "time", "datetime", "uuid", "json"
]

SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259, section 6)."""
INT64 = 2**63 - 1

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,40})?")


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field or of a leaf inside a JSON field.

    `places` counts the decimal places of a `decimal` (at most 18 digits in all); `choices` are the plain values
    of an enumeration. A `json` field may declare what lies in it: `item` for a list, `values` for a dictionary,
    `members` for a nested model; only declared scalars in it can be compared. `enum` is the class that makes
    Python values of an enumeration.
    """

    kind: Kind
    places: int = 0
    choices: tuple[Plain, ...] | None = None
    item: "FieldType | None" = None
    values: "FieldType | None" = None
    members: Mapping[str, "FieldType"] | None = field(default=None, hash=False)
    enum: type[Enum] | None = None

    def to_plain(self, value: Any) -> Plain:
        """The plain form of a Python value of this type; None stays None. JSON values must be plain already."""
        if value is None:
            return None
        if isinstance(value, Enum):
            value = value.value
        return _TO_PLAIN[self.kind](value, self) if self.kind in _TO_PLAIN else value

    def from_plain(self, value: Plain) -> Any:
        """The Python value of a plain one; None stays None."""
        if value is None:
            return None
        if self.enum is not None:
            return self.enum(value)
        return _FROM_PLAIN[self.kind](value) if self.kind in _FROM_PLAIN else value

    def check(self, value: Any) -> Plain:
        """The plain form of a value from a query in JSON or Python.

        Raises ValueError with what was expected when the value is not of this type.
        """
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, _PYTHON_TYPES.get(self.kind, ())) and not _loses(value, self.kind):
            return self.to_plain(value)
        return self._choice(_CHECK[self.kind](value, self))

    def parse(self, text: str) -> Plain:
        """The plain form of a value written in a URL. Raises ValueError with what was expected."""
        if self.kind == "uuid" and _UUID.fullmatch(text):
            return text
        if self.kind in ("integer", "float", "boolean"):
            return self._choice(_PARSE[self.kind](text))
        return self.check(text)

    def comparable(self, value: Plain) -> Any:
        """What Python compares in place of the plain value, so that order and equality are the type's."""
        if value is None or self.kind not in ("bigint", "decimal"):
            return value
        return int(value) if self.kind == "bigint" else Decimal(value)

    @property
    def described(self) -> str:
        """The type in words, for error messages."""
        if self.choices is not None:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        return _WORDS[self.kind]

    def _choice(self, value: Plain) -> Plain:
        if self.choices is not None and value not in self.choices:
            raise ValueError(f"expected {self.described}")
        return value


def _loses(value: Any, kind: Kind) -> bool:
    """Whether the plain form would leave something away: the time of a datetime, the zone of a time."""
    return (kind == "date" and isinstance(value, datetime)) or (kind == "time" and value.tzinfo is not None)


def refuse_unstorable_text(text: str) -> str:
    """Returns the text. Raises ValueError when it holds U+0000 or a lone surrogate, which no store can keep."""
    if "\0" in text:
        raise ValueError("text must not hold U+0000")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text must not hold a lone surrogate") from None
    return text


def format_datetime(value: datetime) -> str:
    """A datetime as fixed-width UTC text with microseconds, which sorts as text. A naive one is taken as UTC."""
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return aware.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def format_decimal(value: Decimal, places: int) -> str:
    """A decimal as text with exactly `places` decimal places. Raises ValueError when digits would be lost."""
    if not value.is_finite():
        raise ValueError("expected a finite decimal number")
    sign, digits, exponent = value.as_tuple()
    shift = int(exponent) + places
    number = int("".join(map(str, digits)))
    if shift < 0:
        number, lost = divmod(number, 10**-shift) if -shift < 40 else (0, number)
        if lost:
            raise ValueError(f"expected at most {places} decimal places")
    else:
        number *= 10 ** min(shift, 40)
    if number >= 10**18:
        raise ValueError("expected at most 18 digits")
    text = f"{number:0{places + 1}d}"
    text = f"{text[:-places]}.{text[-places:]}" if places else text
    return f"-{text}" if sign and number else text


def _text(value: Any, _: FieldType) -> Plain:
    if not isinstance(value, str):
        raise ValueError("expected a text")
    return refuse_unstorable_text(value)


def _integer(value: Any, _: FieldType) -> Plain:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("expected an integer")
    if abs(value) > SAFE_INTEGER:
        raise ValueError(f"expected an integer between -{SAFE_INTEGER} and {SAFE_INTEGER}")
    return value


def _bigint(value: Any, _: FieldType) -> Plain:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -INT64 - 1 <= value <= INT64:
        raise ValueError("expected an integer of 64 bits, written as text")
    return str(value)


def _float(value: Any, _: FieldType) -> Plain:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if number - number != 0:
        raise ValueError("expected a finite number")
    return number


def _decimal(value: Any, kind: FieldType) -> Plain:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("expected a decimal number, written as text")
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise ValueError("expected a decimal number, written as text")
    if isinstance(value, int) and abs(value) >= 10**18:
        raise ValueError("expected at most 18 digits")
    return format_decimal(Decimal(value), kind.places)


def _boolean(value: Any, _: FieldType) -> Plain:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _date(value: Any, _: FieldType) -> Plain:
    if not isinstance(value, str) or len(value) != 10:
        raise ValueError("expected a date such as 2026-11-20")
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError("expected a date such as 2026-11-20") from None


def _time(value: Any, _: FieldType) -> Plain:
    try:
        parsed = time.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError("expected a time such as 14:40 or 14:40:37.5") from None
    if parsed.tzinfo is not None:
        raise ValueError("expected a time without a zone")
    return parsed.strftime("%H:%M:%S.%f")


def _datetime(value: Any, _: FieldType) -> Plain:
    try:
        return format_datetime(datetime.fromisoformat(value))
    except (ValueError, TypeError, OverflowError):
        raise ValueError("expected a date and time such as 2026-11-20T14:40:37Z") from None


def _uuid(value: Any, _: FieldType) -> Plain:
    if isinstance(value, str) and _UUID.fullmatch(value):
        return value
    try:
        return str(UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise ValueError("expected a UUID") from None


def _json(value: Any, _: FieldType) -> Plain:
    raise ValueError("expected a path to a value inside it: lists and objects are not compared as a whole")


def _parse_integer(text: str) -> Plain:
    if not _INTEGER.fullmatch(text):
        raise ValueError("expected an integer")
    return _integer(int(text), _PLAIN_TEXT)


def _parse_float(text: str) -> Plain:
    if not _FLOAT.fullmatch(text):
        raise ValueError("expected a number")
    return _float(float(text), _PLAIN_TEXT)


def _parse_boolean(text: str) -> Plain:
    if text not in ("true", "false"):
        raise ValueError("expected true or false")
    return text == "true"


_PLAIN_TEXT = FieldType("text")
_CHECK: dict[Kind, Callable[[Any, FieldType], Plain]] = {
    "text": _text, "integer": _integer, "bigint": _bigint, "float": _float, "decimal": _decimal,
    "boolean": _boolean, "date": _date, "time": _time, "datetime": _datetime, "uuid": _uuid, "json": _json,
}  # fmt: skip
_PARSE: dict[Kind, Callable[[str], Plain]] = {
    "integer": _parse_integer, "float": _parse_float, "boolean": _parse_boolean
}  # fmt: skip
_PYTHON_TYPES: dict[Kind, tuple[type, ...]] = {
    "decimal": (Decimal,), "date": (date,), "time": (time,), "datetime": (datetime,), "uuid": (UUID,)
}  # fmt: skip
_TO_PLAIN: dict[Kind, Callable[[Any, FieldType], Plain]] = {
    "bigint": lambda value, _: str(value),
    "float": lambda value, _: float(value),
    "decimal": lambda value, kind: format_decimal(Decimal(value), kind.places),
    "date": lambda value, _: value.isoformat() if isinstance(value, date) else value,
    "time": lambda value, _: value.strftime("%H:%M:%S.%f") if isinstance(value, time) else value,
    "datetime": lambda value, _: format_datetime(value) if isinstance(value, datetime) else value,
    "uuid": lambda value, _: str(value),
}
_FROM_PLAIN: dict[Kind, Callable[[Plain], Any]] = {
    "bigint": int, "decimal": Decimal, "date": date.fromisoformat, "time": time.fromisoformat,
    "datetime": datetime.fromisoformat, "uuid": UUID,
}  # fmt: skip
_WORDS: dict[Kind, str] = {
    "text": "a text", "integer": "an integer", "bigint": "an integer of 64 bits, written as text",
    "float": "a number", "decimal": "a decimal number, written as text", "boolean": "true or false",
    "date": "a date such as 2026-11-20", "time": "a time such as 14:40", "uuid": "a UUID",
    "datetime": "a date and time such as 2026-11-20T14:40:37Z", "json": "a path to a value inside it",
}  # fmt: skip
