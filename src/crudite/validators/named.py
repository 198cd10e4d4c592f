"""Validators by name, with parameters behind a colon: `minimum:8`, `list:red,green`."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from crudite.validators.base import Validator
from crudite.validators.lists import Array, IntegerArray, NoRepeats, StringArray
from crudite.validators.numbers import Boolean, Integer, Number
from crudite.validators.sizes import Maximum, Minimum
from crudite.validators.texts import Alphanumeric, Email, NotBlank, NotPadded, NotPattern, OneOf, Pattern, String, Url

_PLAIN: Mapping[str, Callable[[], Validator]] = {
    "alphanumeric": Alphanumeric,
    "array": Array,
    "boolean": Boolean,
    "double": lambda: Number("double"),
    "email": Email,
    "float": lambda: Number("float"),
    "integer": Integer,
    "integerArray": IntegerArray,
    "notblank": NotBlank,
    "notpadded": NotPadded,
    "number": Number,
    "string": String,
    "stringArray": StringArray,
    "unique": NoRepeats,
    "url": Url,
}
_WITH_PARAMETER: Mapping[str, Callable[[str], Validator]] = {
    "list": lambda text: OneOf(*[one.strip() for one in text.split(",")]),
    "maximum": lambda text: Maximum(_count("maximum", text)),
    "minimum": lambda text: Minimum(_count("minimum", text)),
    "notpattern": NotPattern,
    "pattern": Pattern,
}
NAMES: tuple[str, ...] = tuple(sorted((*_PLAIN, *_WITH_PARAMETER)))
"""Every name."""


def named(rule: str) -> Validator:
    """The validator that a name means. Raises ValueError for one that there is not, with the nearest there is, and for
    parameters that do not fit."""
    name, colon, parameter = rule.partition(":")
    if name in _PLAIN:
        if colon:
            raise ValueError(f"the validator {name} takes no parameter")
        return _PLAIN[name]()
    if name in _WITH_PARAMETER:
        if not parameter:
            raise ValueError(f"the validator {name} takes a parameter behind a colon, such as {_EXAMPLES[name]}")
        return _WITH_PARAMETER[name](parameter)
    near = get_close_matches(name, NAMES, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(NAMES)}"
    raise ValueError(f"there is no validator {name!r}{hint}")


def check(value: Any, rule: str | Validator) -> bool:
    """Whether a plain value passes a validator, given or by name: `check("abc", "minimum:8")` is False.

    Raises ValueError as `named` does.
    """
    return (named(rule) if isinstance(rule, str) else rule).accepts(value)


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"the validator {name} takes a number of characters or items, such as {name}:8")
    return int(text)


_EXAMPLES: Mapping[str, str] = {
    "list": "list:red,green", "maximum": "maximum:80", "minimum": "minimum:8", "notpattern": "notpattern:[<>]",
    "pattern": "pattern:^[a-z]+$",
}  # fmt: skip
