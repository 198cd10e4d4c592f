"""What an application declares: the classes `Record[K]` and `Resource`, and hooks on their methods.

Making a class only collects what is written. Nothing is resolved and nothing is refused before an `App` is
made of the classes, so that they may name each other in any order.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Never, Self, TypeAlias, TypeVar, cast, dataclass_transform
from uuid import UUID

from crudite.messages import ActionName
from crudite.query.tree import Filter
from crudite.resources.declaring.collect import (
    Declaration,
    HookKind,
    HookMark,
    collect,
    constructor,
    default_value,
    is_needed,
    is_shown,
    unwrapped,
)
from crudite.resources.declaring.fields import ABSENT, Field, FieldOptions
from crudite.resources.declaring.places import Place
from crudite.resources.query import Query
from crudite.schema import DELETED_AT

K = TypeVar("K")
F = TypeVar("F", bound=Callable[..., Any])

RuleSet: TypeAlias = Filter | Mapping[str, Filter] | list[str] | tuple[str, ...]


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
class _Declared:
    """What the classes and their instances can do."""

    __declaration__: ClassVar[Declaration]
    __defaults__: ClassVar[Mapping[str, FieldOptions]]
    __links__: ClassVar[frozenset[str]]

    def __init_subclass__(
        cls,
        *,
        rules: RuleSet | None = None,
        unique: Sequence[str | Sequence[str]] | None = None,
        live: bool | None = None,
        path: str | None = None,
        only_nested: bool | None = None,
        places: Sequence[str | Place] | None = None,
        only: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        renamed_from: str | None = None,
        limit: int | None = None,
        max_limit: int | None = None,
        search: Sequence[str] | None = None,
        history: timedelta | None = None,
        soft_delete: bool | timedelta | None = None,
        **unknown: Never,
    ) -> None:
        super().__init_subclass__()
        options = {
            "rules": rules, "unique": unique, "live": live, "path": path, "only_nested": only_nested,
            "renamed_from": renamed_from, "limit": limit, "max_limit": max_limit,
            "search": search, "history": history, "soft_delete": soft_delete, "places": places, "only": only,
            "exclude": exclude,
        }  # fmt: skip
        cls.__declaration__ = collect(cls, {n: v for n, v in options.items() if v is not None}, unknown)
        cls.__defaults__, cls.__links__ = constructor(cls)
        if soft_delete:
            setattr(cls, DELETED_AT, None)  # in every record that is there

    def __init__(self, **values: Any) -> None:
        cls = type(self)
        unknown = [name for name in values if name not in cls.__defaults__]
        if unknown:
            raise TypeError(f"{cls.__name__} has no field {', '.join(map(repr, unknown))}")
        missing = [n for n, options in cls.__defaults__.items() if n not in values and is_needed(n, options)]
        if missing:
            raise TypeError(f"{cls.__name__} needs {', '.join(map(repr, missing))}")
        own = self.__dict__
        for name, options in cls.__defaults__.items():
            value = values[name] if name in values else default_value(options)
            if value is not ABSENT:
                own[name] = _held(value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in type(self).__defaults__:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        self.__dict__[name] = _held(value)

    if not TYPE_CHECKING:  # type checkers shall find names that are not there

        def __getattr__(self, name: str) -> Any:
            cls = type(self)
            if name in cls.__links__:
                raise AttributeError(f"{cls.__name__}.{name} is not loaded: ask for the records with a query")
            if name in cls.__defaults__:
                raise AttributeError(f"this {cls.__name__} has no {name!r} yet, or it was not read")
            raise AttributeError(f"{cls.__name__} has no field {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.__dict__ == other.__dict__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = (n for n, options in type(self).__defaults__.items() if n in self.__dict__ and is_shown(n, self))
        return f"{type(self).__name__}({', '.join(f'{name}={self.__dict__[name]!r}' for name in shown)})"


def _held(value: Any) -> Any:
    """What an instance keeps of a value: of a record only its key."""
    if not isinstance(value, _Declared):
        return value
    if "id" not in value.__dict__:
        raise ValueError(f"this {type(value).__name__} has no key yet, so nothing can point at it")
    return value.__dict__["id"]


class Record(_Declared, Generic[K]):
    """One kind of record, with keys of type `K` (`UUID`, `str` or `int`): `class Country(Record[str]): …`.

    Annotations are fields; what else is to be said of one stands in `Field(…)`. Class keywords:

    - `rules`: one rule for every action, or a rule for each of `read`, `list`, `write`, `create`,
      `replace`, `update`, `delete`, or a list of those that everyone may. `replace` falls back to `update`, then
      `write`; `create` and `delete` to `write`; `list` to `read`. Where none is given, nobody may. A rule for
      `history` makes the changes of each record be kept, and says who may see them.
    - `soft_delete=True`: a deleted record is not there any more, and kept to be restored; with a `timedelta` for so
      long. Rules for `restore` (else those of `delete`) and `purge`, to delete for good (else nobody).
    - `history`: for how long they are kept, such as `timedelta(days=365)`; for ever when nothing is said.
    - `unique`: groups of fields whose values together occur once; see `Unique` for how null counts.
    - `live=False`: changes are not logged, so nobody can subscribe.
    - `path`: the name in URLs, when the plural of the class's name will not do.
    - `only_nested=True`: it is reached below its parent only.
    - `places`: where it stands, in place of its path and those below its parents: paths, or `Place(…)`. With
      `places=()` no client gets at it; code does, and references and rules.
    - `only`, `exclude`: the actions that clients can do, or not, wherever it stands; see `Place`.
    - `renamed_from`: the class's former name, so that its records are kept.
    - `search`: the fields of text in whose words `?search=` looks, such as `("title", "notes")`.
    - `limit` (50), `max_limit` (200): how many records a list has when nothing is said, and at most.

    An instance holds the values of one record and does no I/O. What it does not have (the key before the
    record is stored, a field that was not read) raises AttributeError.
    """

    id: K = Field(default=ABSENT)
    version: int = Field(init=False)
    created_at: datetime = Field(init=False)
    updated_at: datetime = Field(init=False)
    if TYPE_CHECKING:  # only with `soft_delete`; else a field may have this name
        deleted_at: datetime | None = Field(init=False)

    @classmethod
    def where(cls, *filters: Filter, **conditions: Any) -> Query[Self]:
        """A query for the records for which all of the conditions hold: `Task.where(status="todo",
        due__lt=today)`."""
        return Query(cls).where(*filters, **conditions) if filters or conditions else Query(cls)


class Resource(Record[UUID]):
    """One kind of record, with UUIDs as keys. See `Record`."""


def before(*actions: ActionName) -> Callable[[F], F]:
    """Runs the method before the actions, or before all that write when none is named: it may change the draft
    (`self`), refuse by raising a problem, or add writes to the same transaction (`request.batch`)."""
    return _mark("before", actions)


def after(*actions: ActionName) -> Callable[[F], F]:
    """Runs the method after the actions, or after all that write when none is named, have been committed, which it
    cannot undo."""
    return _mark("after", actions)


def around(*actions: ActionName, field: str | None = None) -> Callable[[F], F]:
    """Runs the method in place of the actions, or of all six when none is named; `await next()` is the action itself.
    It returns what that gave, `.with_data(…)` of it, or plain data.

    With `field`, in place of reading that field at its own path (`"read"`, `GET /tasks/7/title`) or of writing it there
    (`"update"`, `PUT`): the data is its value then.
    """
    return _mark("around", actions, field)


def _mark(kind: HookKind, actions: tuple[str, ...], field: str | None = None) -> Callable[[F], F]:
    marks = [HookMark(kind, actions, field)]

    def decorate(function: F) -> F:
        plain: Any = unwrapped(function)
        plain.__crudite_hooks__ = (*getattr(plain, "__crudite_hooks__", ()), *marks)
        return function

    if len(actions) == 1 and callable(unwrapped(actions[0])):  # `@before` without parentheses
        marks[:] = [HookMark(kind, (), is_bare=True)]
        return cast("Callable[[F], F]", decorate(cast(Any, actions[0])))
    return decorate
