"""Validators of the length of texts and lists."""

from dataclasses import dataclass
from typing import Any, ClassVar

from crudite.types import Plain
from crudite.validators.base import Subject, Validator


@dataclass(frozen=True)
class Minimum(Validator):
    """A text of at least so many characters, or a list of at least so many items. Raises ValueError below 0."""

    code: ClassVar[str] = "minimum"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "list", "anything")
    count: int

    def __post_init__(self) -> None:
        _check("minimum", self.count)

    @property
    def rule(self) -> str:
        """`minimum:` and the number."""
        return f"minimum:{self.count}"

    @property
    def expected(self) -> str:
        """The number."""
        return f"a length of at least {self.count}"

    def accepts(self, value: Any) -> bool:
        """Whether it is as long."""
        return isinstance(value, str | list) and len(value) >= self.count

    def json_schema(self) -> dict[str, Plain]:
        """The lengths."""
        return {"minLength": self.count, "minItems": self.count}


@dataclass(frozen=True)
class Maximum(Validator):
    """A text of at most so many characters, or a list of at most so many items. Raises ValueError below 0."""

    code: ClassVar[str] = "maximum"
    subjects: ClassVar[tuple[Subject, ...]] = ("text", "list", "anything")
    count: int

    def __post_init__(self) -> None:
        _check("maximum", self.count)

    @property
    def rule(self) -> str:
        """`maximum:` and the number."""
        return f"maximum:{self.count}"

    @property
    def expected(self) -> str:
        """The number."""
        return f"a length of at most {self.count}"

    def accepts(self, value: Any) -> bool:
        """Whether it is no longer."""
        return isinstance(value, str | list) and len(value) <= self.count

    def json_schema(self) -> dict[str, Plain]:
        """The lengths."""
        return {"maxLength": self.count, "maxItems": self.count}


def _check(name: str, count: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError(f"{name} needs a number of characters or items, such as {name}:8")
