"""Defaults that are made for each new record: by a function, or from who asks and when."""

import inspect
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from crudite.calling import takes
from crudite.messages import Actor
from crudite.query.tree import Symbol
from crudite.resources.declaring.definition import MakeDefault
from crudite.resources.declaring.shapes import Shape
from crudite.schema import FieldType, format_datetime
from crudite.types import Plain


def of_function(make: Callable[[], Any], shape: Shape, where: str) -> MakeDefault:
    """The default that a function without arguments makes, as plain value. `where` names the field, for what is said of
    a value that it cannot have. Raises ValueError for what is no such function."""
    if inspect.iscoroutinefunction(make) or not takes(make, 0):
        raise ValueError("default_factory is a plain function without arguments")

    def default(actor: Actor, now: datetime) -> Plain:
        value = make()
        try:
            return None if value is None else shape.to_plain(value)
        except ValueError as error:
            raise TypeError(f"{where}: what makes its default gave {value!r}: {error}") from error

    return default


def of_symbol(symbol: Symbol, type: FieldType) -> MakeDefault:
    """The default that `me.…`, `now` or `today` stands for. Raises ValueError when it does not go with the
    type."""
    name = symbol.name
    if name in ("now", "today"):
        if type.kind != {"now": "datetime", "today": "date"}[name]:
            raise ValueError(f"the default {name} does not go with {type.described}")
        return _now if name == "now" else _today
    claim = name.removeprefix("me.")

    def default(actor: Actor, now: datetime) -> Plain:
        return _plain(_value(actor, claim), type)

    return default


def _now(actor: Actor, now: datetime) -> Plain:
    return format_datetime(now)


def _today(actor: Actor, now: datetime) -> Plain:
    return now.astimezone(UTC).date().isoformat()


def _value(actor: Actor, name: str) -> Any:
    if name == "id":
        return actor.id
    return actor.roles if name == "roles" else actor.claims.get(name)


def _plain(value: Any, type: FieldType) -> Plain:
    """The plain form of an actor's value; None when he has none, or one of another type."""
    if value is None:
        return None
    try:
        if type.item is not None and isinstance(value, Iterable) and not isinstance(value, str):
            item = type.item
            return sorted(item.check(one) for one in value)
        return type.check(value)
    except ValueError:
        return None
