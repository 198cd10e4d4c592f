"""Validators of texts: blank or not, padded or not, of some form, one of a list."""

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import HttpUrl, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from crudite.types import Plain
from crudite.validators.base import Subject, Validator

_ALPHANUMERIC = re.compile(r"[a-zA-Z0-9]*")


@dataclass(frozen=True)
class String(Validator):
    """A text."""

    code: ClassVar[str] = "string"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "anything")
    rule = "string"
    expected = "a text"

    def accepts(self, value: Any) -> bool:
        """Whether it is a text."""
        return isinstance(value, str)

    def json_schema(self) -> dict[str, Plain]:
        """The type."""
        return {"type": "string"}


@dataclass(frozen=True)
class NotBlank(Validator):
    """A text in which something stands: it is neither empty, nor null, nor nothing but whitespace."""

    code: ClassVar[str] = "not_blank"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "anything")
    rule = "notblank"
    expected = "a text in which something stands"

    def accepts(self, value: Any) -> bool:
        """Whether something other than whitespace is in it."""
        return isinstance(value, str) and bool(value.strip())

    def json_schema(self) -> dict[str, Plain]:
        """A pattern."""
        return {"pattern": r"\S"}


@dataclass(frozen=True)
class NotPadded(Validator):
    """A text without whitespace at its start and end; inside it may be. An empty one passes."""

    code: ClassVar[str] = "not_padded"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "anything")
    rule = "notpadded"
    expected = "a text without whitespace at its start and end"

    def accepts(self, value: Any) -> bool:
        """Whether stripping leaves it as it is."""
        return isinstance(value, str) and value == value.strip()

    def json_schema(self) -> dict[str, Plain]:
        """A pattern."""
        return {"not": {"pattern": r"^\s|\s$"}}


@dataclass(frozen=True)
class Alphanumeric(Validator):
    """A text of the letters a–z, A–Z and the digits 0–9 alone. An empty one passes."""

    code: ClassVar[str] = "alphanumeric"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "anything")
    rule = "alphanumeric"
    expected = "nothing but the letters a–z, A–Z and the digits 0–9"

    def accepts(self, value: Any) -> bool:
        """Whether there is nothing else in it."""
        return isinstance(value, str) and _ALPHANUMERIC.fullmatch(value) is not None

    def json_schema(self) -> dict[str, Plain]:
        """A pattern."""
        return {"pattern": "^[a-zA-Z0-9]*$"}


@dataclass(frozen=True)
class Email(Validator):
    """An e-mail address (RFC 5321, RFC 6531). Whether it exists is not looked up."""

    code: ClassVar[str] = "email"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "anything")
    rule = "email"
    expected = "an e-mail address"

    def accepts(self, value: Any) -> bool:
        """Whether it has the form of one."""
        from email_validator import EmailNotValidError, validate_email  # it takes its time, also of those who have none

        try:
            validate_email(value, check_deliverability=False)
        except (EmailNotValidError, TypeError, AttributeError):
            return False
        return True

    def json_schema(self) -> dict[str, Plain]:
        """A format."""
        return {"format": "email"}


@dataclass(frozen=True)
class Url(Validator):
    """An absolute address of the web (RFC 3986): `http` or `https`, with a host; at most 2,083 characters."""

    code: ClassVar[str] = "url"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "anything")
    rule = "url"
    expected = "an address that starts with http:// or https://"

    def accepts(self, value: Any) -> bool:
        """Whether it has the form of one, with nothing around it."""
        if not isinstance(value, str) or value != value.strip():
            return False
        try:
            _urls().validate_python(value)
        except ValidationError:
            return False
        return value.lower().startswith(("http://", "https://"))

    def json_schema(self) -> dict[str, Plain]:
        """A format."""
        return {"format": "uri", "maxLength": 2083}


@dataclass(frozen=True)
class OneOf(Validator):
    """One of some texts: `OneOf("red", "green")`. Raises ValueError without any."""

    code: ClassVar[str] = "one_of"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "anything")
    choices: tuple[str, ...]

    def __init__(self, *choices: str) -> None:
        if not choices or not all(isinstance(one, str) for one in choices):
            raise ValueError("list needs texts to choose from, such as list:red,green")
        object.__setattr__(self, "choices", choices)

    @property
    def rule(self) -> str:
        """`list:` and the texts."""
        return f"list:{','.join(self.choices)}"

    @property
    def expected(self) -> str:
        """The texts."""
        return f"one of {', '.join(map(repr, self.choices))}"

    def accepts(self, value: Any) -> bool:
        """Whether it is one of them, to the letter."""
        return isinstance(value, str) and value in self.choices

    def json_schema(self) -> dict[str, Plain]:
        """An enumeration."""
        return {"enum": list(self.choices)}


@dataclass(frozen=True)
class Pattern(Validator):
    """A text in which a regular expression is found: `Pattern("^[a-z]+$")`.

    The expression is one of Rust's crate regex, as in `Field(pattern=…)`: its time grows with the text alone, so it has
    neither references back nor looks around. Raises ValueError for one that cannot be read.
    """

    code: ClassVar[str] = "pattern"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "anything")
    pattern: str
    _found: TypeAdapter[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_found", _compiled(self.pattern))

    @property
    def rule(self) -> str:
        """`pattern:` and the expression."""
        return f"pattern:{self.pattern}"

    @property
    def expected(self) -> str:
        """The expression."""
        return f"a text that matches {self.pattern}"

    def accepts(self, value: Any) -> bool:
        """Whether it is found."""
        return isinstance(value, str) and self._found.validator.isinstance_python(value)

    def json_schema(self) -> dict[str, Plain]:
        """The pattern."""
        return {"pattern": self.pattern}


@dataclass(frozen=True)
class NotPattern(Validator):
    """A text in which a regular expression is not found; see `Pattern`."""

    code: ClassVar[str] = "not_pattern"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "anything")
    pattern: str

    def __post_init__(self) -> None:
        self._opposite  # noqa: B018 (it refuses what it cannot read)

    @cached_property
    def _opposite(self) -> Pattern:
        return Pattern(self.pattern)

    @property
    def rule(self) -> str:
        """`notpattern:` and the expression."""
        return f"notpattern:{self.pattern}"

    @property
    def expected(self) -> str:
        """The expression."""
        return f"a text that does not match {self.pattern}"

    def accepts(self, value: Any) -> bool:
        """Whether it is a text and the expression is not found."""
        return isinstance(value, str) and not self._opposite.accepts(value)

    def json_schema(self) -> dict[str, Plain]:
        """The pattern, negated."""
        return {"not": {"pattern": self.pattern}}


@cache
def _urls() -> TypeAdapter[Any]:
    return TypeAdapter(HttpUrl)


def _compiled(pattern: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(Annotated[str, pydantic.Field(pattern=pattern)])
    except SchemaError as error:
        raise ValueError(f"the pattern cannot be read: {str(error).strip().splitlines()[-1]}") from None
