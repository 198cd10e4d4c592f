"""What a value must be beside that of another record: the one that a reference points at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from crudite.types import Plain

Allowed: TypeAlias = str | Sequence[Any] | Mapping[Any, Any] | None

ANY = "*"


@dataclass(frozen=True, eq=False)
class MatchesParent:
    """A value that must go with the field of the same name of the record that a reference points at:
    `status: str = Field(validate=MatchesParent("category", check={"published": "public"}))`.

    `reference` names the field that points there. `check` says which values it is about:

    - nothing: every one must be equal to the other record's;
    - a text (several with commas between) or a list: these must be equal to it;
    - a dictionary: each of its values is what the other record must have, one or a list; `"*"` allows any.

    Values are as Python holds them, or texts; one that the field cannot have is refused when the application is made.
    It is asked when the field is given, inside the transaction of the write; where the reference is null it is not
    asked. A change of the other record does not ask it again.
    """

    reference: str
    check: Allowed = None

    @property
    def rule(self) -> str:
        """How a fault names it."""
        return f"parent:{self.reference}"

    def with_plain(self, here: Callable[[Any], Plain], there: Callable[[Any], Plain]) -> "MatchesParent":
        """The same, whose `check` holds plain values, which are what it is asked about: `here` makes one of a value of
        the field, `there` of the other record's. Raises what these raise."""
        match self.check:
            case None:
                return self
            case str():
                return replace(self, check=[here(one) for one in _texts(self.check)])
            case Mapping():
                return replace(self, check={here(one): _allowed(other, there) for one, other in self.check.items()})
        return replace(self, check=[here(one) for one in self.check])

    def concerns(self, value: Any) -> bool:
        """Whether the other record matters for a plain value."""
        match self.check:
            case None:
                return True
            case str():
                return isinstance(value, str) and value in _texts(self.check)
            case Mapping():
                return _is_key(value) and value in self.check and self.check[value] != ANY
        return value in self.check

    def accepts(self, value: Any, other: Any) -> bool:
        """Whether a plain value goes with the other record's, which it concerns."""
        if not isinstance(self.check, Mapping):
            return bool(value == other)
        allowed = self.check[value]
        return bool(other in allowed if _is_several(allowed) else other == allowed)


def _texts(check: str) -> list[str]:
    return [one.strip() for one in check.split(",")]


def _allowed(allowed: Any, there: Callable[[Any], Plain]) -> Any:
    if _is_several(allowed):
        return [there(one) for one in allowed]
    return ANY if isinstance(allowed, str) and allowed == ANY else there(allowed)


def _is_several(allowed: Any) -> bool:
    return isinstance(allowed, list | tuple | set | frozenset)


def _is_key(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
