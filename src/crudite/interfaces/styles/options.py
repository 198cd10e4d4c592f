"""What wheelhouse-resource let an application say of a collection: permissions, and what becomes of its output."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal, TypeAlias

from crudite import calling
from crudite.errors import Forbidden
from crudite.interfaces.styles.deciding import Decision, forms
from crudite.interfaces.styles.returned import allowed_of, is_allowed, words_of
from crudite.resources.hooks import call
from crudite.resources.request import AnyAction, Request
from crudite.schema import FieldSpec

Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = list[Row]
Word: TypeAlias = Literal["read", "create", "update", "delete"]

_WORDS: tuple[Word, ...] = ("read", "create", "update", "delete")
_ROWS = ("request", "records")
_ROW = ("request", "record")
_SHAPING = {"filter": _ROWS, "pick": _ROW, "read": _ROWS}
_OF_ACTION: dict[AnyAction, Word] = {
    "list": "read", "read": "read", "create": "create", "replace": "update", "update": "update", "delete": "delete"
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WheelhousePermissions:
    """What may be done, decided by functions of the application, async or not. What has none is denied.

    `read(request, records)` returns those of a resource's records that may be read, or True for all of them, or False.
    `create(request, records, body)`, `update(request, record, body)` and `delete(request, record, body)` return whether
    that may be. Records are plain data, as the asker may see them.

    A function of fewer parameters is not given the rest: `read(request, record)`, whether one record may be read, and
    `read(request)`, whether all; `create(request, body)`, `update(request, body)`, `delete(request, body)`. `record`
    and `body` have to be called so there. All records are read for those alone that take `records`.
    """

    read: Callable[..., Any] | None = None
    create: Callable[..., Any] | None = None
    update: Callable[..., Any] | None = None
    delete: Callable[..., Any] | None = None

    @cached_property
    def decisions(self) -> Mapping[str, Decision | None]:
        """The functions that there are, each with what it takes; None for one that cannot be called so."""
        given = {word: getattr(self, word) for word in _WORDS}
        return {word: Decision.of(word, function) for word, function in given.items() if function is not None}


@dataclass(frozen=True, kw_only=True)
class WheelhouseOptions:
    """What the style of wheelhouse-resource does with a resource. It narrows what the rules allow, and never widens it.

    - `permissions`: words among `read create update delete`, or `WheelhousePermissions`, or a function that returns one
      of the two: of the request, or of the request and the records. Without it, everything.
    - `filter(request, records)` returns what a list shows; `pick(request, record)` what a single record does.
    - `read(request, records)`, at last, returns the records to show, or None for those that it was given; a single one
      comes as a list of one.
    - `extra` names a field, a `dict[str, Any]`, for the attributes of models that are no fields: what a client sends is
      kept there, and functions and clients find it beside the fields. Without it such attributes are passed over.
    """

    permissions: Collection[str] | WheelhousePermissions | Callable[..., Any] | None = None
    filter: Callable[[Request, Rows], Any] | None = None
    pick: Callable[[Request, Row], Any] | None = None
    read: Callable[[Request, Rows], Any] | None = None
    extra: str | None = None

    @property
    def asks_functions(self) -> bool:
        """Whether what is shown is decided by functions, for which it may depend on all records."""
        is_decided = callable(self.permissions) or isinstance(self.permissions, WheelhousePermissions)
        return is_decided or any((self.filter, self.pick, self.read))

    def faults(self, name: str, fields: Mapping[str, FieldSpec]) -> list[str]:
        """What is wrong with the options of a resource with some fields, one sentence each."""
        given = self.permissions
        faults = _misfits(name, {"filter": self.filter, "pick": self.pick, "read": self.read}, _SHAPING)
        if self.extra is not None and (self.extra not in fields or fields[self.extra].type.values is None):
            faults.append(f"The wheelhouse style's extra for {name} is to name a field of it, a dict[str, Any].")
        if isinstance(given, WheelhousePermissions):
            return faults + [
                f"The wheelhouse style's permissions.{word} for {name} is to be a function of {forms(word)}."
                for word, decision in given.decisions.items()
                if decision is None
            ]
        if callable(given):
            takes = _ROWS if _takes_rows(given) else _ROWS[:1]
            return faults + _misfits(name, {"permissions": given}, {"permissions": takes})
        if given is not None and (isinstance(given, Mapping) or not isinstance(given, Collection)):
            return [*faults, f"The wheelhouse style's permissions for {name} are words, or WheelhousePermissions(…)."]
        words: Collection[Any] = (given,) if isinstance(given, str) else given or ()
        return faults + [
            f"The wheelhouse style's permissions for {name} have {word!r}{_nearest(word)}"
            for word in words
            if _word(word) not in _WORDS
        ]

    async def given_to(self, request: Request, collection: Callable[[], Any]) -> "Permissions":
        """What the asker of a request may do. `collection` gives all records that he may read."""
        given: Any = self.permissions
        name = request.definition.name if request.definition is not None else request.name
        if given is None:
            return Permissions(frozenset(_WORDS), name)
        if callable(given):
            given = await call(given, request, *([await collection()] if _takes_rows(given) else []))
        if isinstance(given, WheelhousePermissions):
            return Permissions(given, name)
        words = frozenset(map(_word, words_of(given, name)))
        for word in sorted(words.difference(_WORDS)):
            raise ValueError(f"WheelhouseOptions.permissions of {name} returned {word!r}{_nearest(word)}")
        return Permissions(words, name)


class Permissions:
    """What somebody may do: words, or functions that decide."""

    def __init__(self, given: frozenset[str] | WheelhousePermissions, name: str) -> None:
        self._given = given
        self._name = name

    def decision(self, action: AnyAction) -> Decision | None:
        """What decides about an action; None where it is allowed whatever the records are. Raises Forbidden where it
        is not allowed at all."""
        word = _OF_ACTION.get(action)
        given = self._given if isinstance(self._given, frozenset) else self._given.decisions
        if word is None or word not in given:
            raise Forbidden("Permission denied.")
        if isinstance(given, frozenset):
            return None
        decision = given[word]
        if decision is None:  # of what a function has returned: others are refused when the application is made
            raise TypeError(f"WheelhousePermissions.{word} of {self._name} is to be a function of {forms(word)}.")
        return decision

    async def readable(self, request: Request, rows: Rows, key: str) -> Rows:
        """Those of some records that may be read. Raises Forbidden when reading is not allowed at all."""
        decision = self.decision("read")
        if decision is None:
            return rows
        if decision.takes[-1] == "record":
            decided = await decision.of_each(request, rows)
            return [row for row, one in zip(rows, decided, strict=True) if is_allowed(one, self._name)]
        returned = await decision(request, records=[dict(row) for row in rows])
        allowed = allowed_of(returned, self._name) if "records" in decision.takes else is_allowed(returned, self._name)
        if allowed is True:
            return rows
        if allowed is False:
            raise Forbidden("Permission denied.")
        kept = {row[key] for row in allowed if key in row}
        return [row for row in rows if row[key] in kept]


def _takes_rows(permissions: Callable[..., Any]) -> bool:
    """Whether a function that says what may be done is given the records, too."""
    try:
        return len(inspect.signature(permissions).parameters) > 1
    except ValueError:  # it has none that Python could show
        return False


def _misfits(name: str, given: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence for each of the options for a resource that is no function, or cannot be called with what it is
    given."""
    called = {option: function for option, function in given.items() if function is not None}
    return [
        f"The wheelhouse style's {option} for {name} is to be a function of ({', '.join(takes[option])})."
        for option, function in called.items()
        if not calling.takes(function, len(takes[option]))
    ]


def _word(word: str) -> str:
    return "delete" if word == "del" else word


def _nearest(word: str) -> str:
    near = get_close_matches(str(word), _WORDS, 1)
    return f"; did you mean {near[0]!r}?" if near else f": they are {', '.join(_WORDS)}."
