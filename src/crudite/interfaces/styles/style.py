"""A style: the choices of one way to speak REST, each with the answer that today's clients expect."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, NamedTuple

from crudite.errors import Fault, Malformed, Problem
from crudite.interfaces.base import Told
from crudite.interfaces.http import told_as_problem
from crudite.messages import ActionName, Found, Listed, Written
from crudite.query.parse import EMPTY, WrittenQuery, parse_url
from crudite.resources.declaring.collect import SYSTEM_FIELDS
from crudite.resources.declaring.definition import Definition, Definitions
from crudite.resources.request import AnyAction, Around, Request
from crudite.schema import DELETED_AT
from crudite.types import Key

JSON_TYPE = b"application/json"
TEXT_TYPE = b"text/plain; charset=utf-8"

_OF_ONE = frozenset(("fields", "omit", "include", "deleted"))


class Shown(NamedTuple):
    """What a stream shows of records: `of` gives it for a request and records that its actor may read, by their keys.
    Unless it shows `each_alone`, whatever the others are, those are all records that there are."""

    of: Callable[[Request, list[dict[str, Any]]], Awaitable[Mapping[Key, Any]]]
    each_alone: bool = False


class Asked(NamedTuple):
    """What a client asks of a resource over HTTP: its `parameters` are those of the URL, decoded, in order; `headers`
    have lower-case names; `text` is the key as the path has it, `parent` the field that holds the key of the record
    right above it."""

    definitions: Definitions
    definition: Definition
    method: str
    parameters: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    text: str | None = None
    parent: str | None = None

    def parameter(self, name: str) -> str | None:
        """The last value of a parameter; None without it."""
        return next((value for other, value in reversed(self.parameters) if other == name), None)


class Body(NamedTuple):
    """The body of an answer and what it is; None for none."""

    text: str | None
    kind: bytes = JSON_TYPE


@dataclass(frozen=True)
class StreamWords:
    """What the events of a stream are called: of the records of a resource, and of a single one. What has no word is
    not told. `opening` comes first of all."""

    several: Mapping[str, str]
    single: Mapping[str, str]
    opening: bytes = b""


@dataclass(frozen=True)
class Style:
    """One way to speak REST: every attribute and method is one choice, and here is today's.

    `actions` says what a method does to records, `statuses` how success is told. `formats` are what may stand behind a
    path after a dot; behind keys that are texts, which may hold a dot themselves, only where it `cuts_text_keys`. With
    `most`, a list holds all records, up to so many, in place of a page of them. Where it `reads_several`, a path may
    name several records, and where it `gathers_found`, those of them are shown that are there, a single one without a
    list around it; else all of them must be. Where it `takes_any_accept`, nobody is refused for what he accepts. Where
    it `misses_empty_sets`, a set that can be set as a whole and is empty is not there. Where it `passes_over`, what a
    parameter of a delete cannot mean says nothing. `paths` are those of ours that there are beside lists
    and records. `words` are for the events of streams, where they are others than ours.
    """

    name: ClassVar[str] = "default"
    actions: ClassVar[Mapping[str, AnyAction]] = {
        "POST": "create", "PUT": "replace", "PATCH": "update", "DELETE": "delete"
    }  # fmt: skip
    statuses: ClassVar[Mapping[str, int]] = {"create": 201, "replace": 200, "update": 200, "delete": 204}
    formats: ClassVar[tuple[str, ...]] = ("json",)
    cuts_text_keys: ClassVar[bool] = False
    reads_several: ClassVar[bool] = True
    gathers_found: ClassVar[bool] = False
    takes_any_accept: ClassVar[bool] = False
    misses_empty_sets: ClassVar[bool] = False
    passes_over: ClassVar[bool] = False
    paths: ClassVar[frozenset[str]] = frozenset(("field", "history", "query", "restore", "whole"))
    words: ClassVar[StreamWords | None] = None

    most: int | None = None

    def owner(self, name: str) -> str:
        """Who owns the routes of a resource or handler with a name, as routes are told: descriptions are of today's."""
        return name if self is DEFAULT else f"{name} ({self.name})"

    def faults(self, definitions: Definitions) -> list[str]:
        """What is wrong with the options of the style, one sentence each."""
        return []

    @property
    def narrowing(self) -> object:
        """The options that stand beside rules, equal where two styles narrow alike; None for none."""
        return None

    def narrows(self, definition: Definition, action: ActionName) -> bool:
        """Whether the options of the style stand beside the rule of an action, for those who come by it."""
        return False

    def listing(self, asked: Asked) -> WrittenQuery:
        """Which records a list shows, and what of them. Raises the problem of parameters that cannot be."""
        return parse_url(asked.parameters)

    def reading(self, asked: Asked) -> WrittenQuery:
        """What is shown of a record, or of several read by their keys. Raises as `listing` does."""
        if not asked.parameters:
            return EMPTY
        query = parse_url(asked.parameters)
        if given := {name.partition("[")[0] for name, _ in asked.parameters} - _OF_ONE:
            text = "{} does not go with one record."
            raise Malformed(
                faults=[Fault("unknown_parameter", text.format(name), parameter=name) for name in sorted(given)]
            )
        return query

    def shows(self, asked: Asked) -> Collection[str] | None:
        """The fields that are shown of records in what application code answers; None for all."""
        return None

    def arguments(self, parameters: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
        """The parameters of a URL that are a handler's arguments."""
        return parameters

    def field(self, asked: Asked, name: str) -> None:
        """Raises the problem of asking for the value of one field at its own path."""
        if asked.parameters:
            names = sorted({one for one, _ in asked.parameters})
            text = "{} does not go with one field."
            raise Malformed(faults=[Fault("unknown_parameter", text.format(one), parameter=one) for one in names])

    def value(self, asked: Asked, found: Found) -> Body:
        """How that value is shown."""
        return Body(found.json)

    def given(self, asked: Asked, body: bytes) -> bytes:
        """The body of a write as the resource takes it."""
        return body

    def reads_body_of_delete(self, asked: Asked) -> bool:
        """Whether what comes with a DELETE is read, for what is done around it."""
        return False

    def around(self, asked: Asked) -> "Around | None":
        """What is done around the action; None for nothing."""
        return None

    def shown(self, asked: Asked, query: WrittenQuery, response: Found | Listed) -> str:
        """The JSON text of what a query has brought."""
        return response.json

    def reread(self, asked: Asked) -> WrittenQuery | None:
        """What is shown of a record that has just been written, read for it; None to show what `written` says. Raises
        as `listing` does, before anything is written."""
        return None

    def written(self, asked: Asked, written: Written) -> Body:
        """What a write is answered with."""
        return Body(written.json)

    def retold(self, asked: Asked) -> Shown | None:
        """What a stream shows of the records that its client may read; None for these as they are."""
        return None

    def problem(self, problem: Problem, request_id: str, root: str, asked: Asked | None = None) -> Told:
        """How a problem is told; `asked` is there where it is about a resource."""
        return told_as_problem(problem, request_id, root)


DEFAULT = Style()


def declared(definition: Definition) -> tuple[str, ...]:
    """The fields that a class declares, and its key. A client of an older system sends back what it was given, and the
    fields that are the store's own cannot be sent."""
    return tuple(name for name in definition.schema.fields if name not in (*SYSTEM_FIELDS, DELETED_AT))


def unknown_resources(given: Iterable[Any], definitions: Definitions, style: str) -> list[str]:
    """One sentence for each of the resources that the options of a style are for, and that are no classes of the
    application's."""
    known = ", ".join(sorted(definitions.by_name))
    faults = []
    for one in given:
        if not isinstance(one, type):
            near = get_close_matches(str(one), [*definitions.by_name, *definitions.by_path], 1)
            found = definitions.by_name.get(near[0]) or definitions.by_path[near[0]] if near else None
            hint = f"; did you mean {found.name}?" if found is not None else f" such as {known.partition(',')[0]}."
            faults.append(f"The {style} style has options for {one!r}, which is to be a class{hint}")
        elif one not in definitions:
            text = f"The {style} style has options for {one.__name__}, which is none of the application's resources"
            faults.append(f"{text}: {known}.")
    return list(dict.fromkeys(faults))
