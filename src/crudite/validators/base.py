"""What a validator is, and how Pydantic asks several of them of one value, so that all that fail are told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import pydantic
from pydantic_core import PydanticCustomError, core_schema

from crudite.types import Plain

Subject: TypeAlias = Literal["text", "integer", "float", "boolean", "list", "object", "anything"]
"""What a field can hold, as far as a validator cares; `anything` is a field of any JSON."""

BROKEN = "crudite_validators"
"""The type of Pydantic's error for a value that breaks rules; its context holds a `Broken` for each as `broken`."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a value breaks: a stable code, the rule as it is written by name, and what was expected."""

    code: str
    rule: str
    detail: str


class Validator:
    """A question to a plain value, whose answer is yes or no. The base of all predefined ones.

    `code` is the stable code of the fault when the answer is no. `subjects` are the kinds of fields that it can be
    asked of. `rule` is its name, with parameters behind a colon: `minimum:8`.
    """

    code: ClassVar[str]
    subjects: ClassVar[tuple[Subject, ...]]

    @property
    def rule(self) -> str:
        """How it is written by name."""
        raise NotImplementedError

    @property
    def expected(self) -> str:
        """What is expected, as the rest of a sentence: `at least 8 characters`."""
        raise NotImplementedError

    def accepts(self, value: Any) -> bool:
        """Whether a plain value, of whatever type, passes."""
        raise NotImplementedError

    def json_schema(self) -> dict[str, Plain]:
        """What JSON Schema (2020-12) can say of it."""
        return {}

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return Every((self,)).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, schema: Any, handler: pydantic.GetJsonSchemaHandler) -> dict[str, Any]:
        return Every((self,)).__get_pydantic_json_schema__(schema, handler)


@dataclass(frozen=True, slots=True)
class Every:
    """Several validators of one value, as metadata of an annotation: all must pass, and all that fail are told."""

    validators: tuple[Validator, ...]

    def __call__(self, value: Any) -> Any:
        """The value. Raises Pydantic's error of the type BROKEN."""
        broken = [Broken(one.code, one.rule, f"Expected {one.expected}.") for one in self._failed(value)]
        if broken:
            told = " ".join(one.detail for one in broken)
            raise PydanticCustomError(BROKEN, "{told}", {"told": told, "broken": broken})
        return value

    def _failed(self, value: Any) -> Sequence[Validator]:
        return [one for one in self.validators if not one.accepts(value)]

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        inner = handler(source)
        match inner:  # those of one `Annotated[…]` are asked together
            case {"type": "function-after", "function": {"function": Every(before)}, "schema": within}:
                return core_schema.no_info_after_validator_function(Every((*before, *self.validators)), within)
        return core_schema.no_info_after_validator_function(self, inner)

    def __get_pydantic_json_schema__(self, schema: Any, handler: pydantic.GetJsonSchemaHandler) -> dict[str, Any]:
        made: dict[str, Any] = handler(schema)
        for one in self.validators:
            made = _both(made, one.json_schema())
        beside = _BESIDE.get(made.get("type", ""), ())
        return {name: said for name, said in made.items() if name not in beside}


_BESIDE = {"string": ("minItems", "maxItems"), "array": ("minLength", "maxLength")}
"""What means nothing for values of one type."""


def _both(schema: dict[str, Any], further: dict[str, Any]) -> dict[str, Any]:
    """A schema with more to hold; what it says already of the same thing stays beside it."""
    if schema.keys().isdisjoint(further):
        return {**schema, **further}
    same = all(schema[name] == said for name, said in further.items() if name in schema)
    return {**schema, **further} if same else {**schema, "allOf": [*schema.get("allOf", []), further]}
