"""Validators of numbers and of true and false, for fields of any JSON."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from crudite.types import Plain
from crudite.validators.base import Subject, Validator


@dataclass(frozen=True)
class Integer(Validator):
    """A whole number: 2, and as in JSON Schema also 2.0, but neither 2.5 nor "2"."""

    code: ClassVar[str] = "integer"
    subjects: ClassVar[tuple[Subject, ...]] = ("integer", "float", "anything")
    rule = "integer"
    expected = "an integer"

    def accepts(self, value: Any) -> bool:
        """Whether it is one."""
        return is_integer(value)

    def json_schema(self) -> dict[str, Plain]:
        """The type."""
        return {"type": "integer"}


@dataclass(frozen=True)
class Number(Validator):
    """A number, `written` as `number`, `float` or `double`, which are the same."""

    code: ClassVar[str] = "number"
    subjects: ClassVar[tuple[Subject, ...]] = ("integer", "float", "anything")
    written: str = "number"
    expected = "a number"

    @property
    def rule(self) -> str:
        """As it was written."""
        return self.written

    def accepts(self, value: Any) -> bool:
        """Whether it is one, and finite."""
        if isinstance(value, float):
            return math.isfinite(value)
        return isinstance(value, int) and not isinstance(value, bool)  # of any size: what can be kept is the field's

    def json_schema(self) -> dict[str, Plain]:
        """The type."""
        return {"type": "number"}


@dataclass(frozen=True)
class Boolean(Validator):
    """True or false."""

    code: ClassVar[str] = "boolean"
    subjects: ClassVar[tuple[Subject, ...]] = ("boolean", "anything")
    rule = "boolean"
    expected = "true or false"

    def accepts(self, value: Any) -> bool:
        """Whether it is one of the two."""
        return isinstance(value, bool)

    def json_schema(self) -> dict[str, Plain]:
        """The type."""
        return {"type": "boolean"}


def is_integer(value: Any) -> bool:
    """Whether a plain value is a whole number; true and false are none."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)
