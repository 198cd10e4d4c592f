"""Validators of lists and of what is in them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from crudite.types import Plain
from crudite.validators.base import Subject, Validator
from crudite.validators.numbers import is_integer


@dataclass(frozen=True)
class Array(Validator):
    """A list."""

    code: ClassVar[str] = "array"
    subjects: ClassVar[tuple[Subject, ...]] = ("list", "anything")
    rule = "array"
    expected = "a list"

    def accepts(self, value: Any) -> bool:
        """Whether it is one."""
        return isinstance(value, list)

    def json_schema(self) -> dict[str, Plain]:
        """The type."""
        return {"type": "array"}


@dataclass(frozen=True)
class IntegerArray(Validator):
    """A list of whole numbers; the texts of such are none."""

    code: ClassVar[str] = "integer_array"
    subjects: ClassVar[tuple[Subject, ...]] = ("list", "anything")
    rule = "integerArray"
    expected = "a list of integers"

    def accepts(self, value: Any) -> bool:
        """Whether it is one."""
        return isinstance(value, list) and all(map(is_integer, value))

    def json_schema(self) -> dict[str, Plain]:
        """The types."""
        return {"type": "array", "items": {"type": "integer"}}


@dataclass(frozen=True)
class StringArray(Validator):
    """A list of texts, whatever stands in them."""

    code: ClassVar[str] = "string_array"
    subjects: ClassVar[tuple[Subject, ...]] = ("list", "anything")
    rule = "stringArray"
    expected = "a list of texts"

    def accepts(self, value: Any) -> bool:
        """Whether it is one."""
        return isinstance(value, list) and all(isinstance(item, str) for item in value)

    def json_schema(self) -> dict[str, Plain]:
        """The types."""
        return {"type": "array", "items": {"type": "string"}}


@dataclass(frozen=True)
class NoRepeats(Validator):
    """A list without repeats; items are compared as JSON, in which 1 and 1.0 are equal, and 1 and true are not."""

    code: ClassVar[str] = "no_repeats"
    subjects: ClassVar[tuple[Subject, ...]] = ("list", "anything")
    rule = "unique"
    expected = "a list without repeats"

    def accepts(self, value: Any) -> bool:
        """Whether it is one."""
        return isinstance(value, list) and len({_comparable(item) for item in value}) == len(value)

    def json_schema(self) -> dict[str, Plain]:
        """That items are unique."""
        return {"uniqueItems": True}


def _comparable(item: Plain) -> bytes:
    return msgspec.json.encode(_with_integers(item), order="sorted")


def _with_integers(item: Plain) -> Plain:
    """The item with whole numbers written in one way."""
    if isinstance(item, float) and item.is_integer():
        return int(item)
    if isinstance(item, list):
        return [_with_integers(one) for one in item]
    if isinstance(item, dict):
        return {name: _with_integers(one) for name, one in item.items()}
    return item
