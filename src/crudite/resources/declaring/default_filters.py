"""Conditions that a list has when whoever asks says nothing about a field: `Field(default_filter="active")`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crudite.query.tree import And, Condition, Filter, Symbol, leaves
from crudite.resources.declaring.fields import ABSENT, FieldOptions
from crudite.resources.declaring.gather import Gathered, sentence
from crudite.resources.declaring.shapes import Shape
from crudite.types import Plain

CLEAR = "*"
"""The value that takes a default condition off, unless `Field(clear_filter=…)` names another one."""


@dataclass(frozen=True, slots=True)
class DefaultFilter:
    """The condition of one field, and the value that takes it off where it is asked for."""

    condition: Condition
    clear: Plain

    @property
    def values(self) -> list[Plain]:
        """The plain values that the condition asks for."""
        value = self.condition.value
        return value if isinstance(value, list) else [value]


def default_filters_of(found: Gathered, shapes: Mapping[str, Shape]) -> dict[str, DefaultFilter]:
    """The default conditions of a class, by field; faults go to what was gathered."""
    filters = {}
    for name, shape in shapes.items():
        options = found.fields[name]
        if options.default_filter is ABSENT:
            if options.clear_filter != CLEAR:
                found.faults.append(f"{found.name}.{name}: clear_filter takes a default_filter off, and there is none.")
            continue
        try:
            filters[name] = DefaultFilter(_condition(name, shape, options), options.clear_filter)
        except ValueError as error:
            found.faults.append(sentence(f"{found.name}.{name}: the default_filter is not valid: {error}"))
    return filters


def with_defaults(defaults: Mapping[str, DefaultFilter], written: Filter) -> Filter:
    """What is asked for, with the default conditions of those fields of which nothing is said in it."""
    spoken_of = {leaf.path[0] for leaf in leaves(written) if isinstance(leaf, Condition)}
    left = [default.condition for name, default in defaults.items() if name not in spoken_of]
    cleared = {name: default.clear for name, default in defaults.items() if name in spoken_of}
    asked = _without(written, cleared) if cleared else written
    return And((asked, *left)) if left else asked


def _without(written: Filter, cleared: Mapping[str, Plain]) -> Filter:
    """A filter without those of its conditions, all of which must hold, that only clear a default."""
    if isinstance(written, And):
        return And(tuple([_without(term, cleared) for term in written.terms]))
    return And() if isinstance(written, Condition) and _clears(written, cleared) else written


def _clears(condition: Condition, cleared: Mapping[str, Plain]) -> bool:
    name, value = condition.path[0], condition.value
    is_own = len(condition.path) == 1 and condition.operator == "eq" and name in cleared
    return is_own and isinstance(value, bool) == isinstance(cleared[name], bool) and bool(value == cleared[name])


def _condition(name: str, shape: Shape, options: FieldOptions) -> Condition:
    """The condition of a field. Raises ValueError when it cannot be asked for."""
    value = options.default_filter
    if options.visible != "public" or options.read is not None or shape.is_password:
        raise ValueError("not everybody may see the field, so not everybody may ask for it")
    if shape.type.kind == "json":
        raise ValueError("JSON is not compared as a whole")
    if isinstance(value, list | tuple):
        return Condition((name,), "in", [_plain(one, shape) for one in value], name)
    return Condition((name,), "eq", _plain(value, shape), name)


def _plain(value: Any, shape: Shape) -> Plain:
    if isinstance(value, Symbol):
        raise ValueError("it is a value, or a list of values")
    if value is None:
        if not shape.nullable:
            raise ValueError("the field is never null")
        return None
    return shape.type.check(value)
