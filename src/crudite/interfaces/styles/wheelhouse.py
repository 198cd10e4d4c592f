"""The style of wheelhouse-resource 0.2: 206 and the id after writes, `{code, message}`, and the options of a
collection."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import msgspec

from crudite.errors import Fault, Forbidden, Invalid, NotFound, Problem, Unauthorized, Unexpected
from crudite.interfaces.base import Told
from crudite.interfaces.styles.around import SHOWN, CollectionAround
from crudite.interfaces.styles.options import WheelhouseOptions
from crudite.interfaces.styles.shaping import Shape
from crudite.interfaces.styles.style import (
    JSON_TYPE,
    Asked,
    Body,
    Shown,
    StreamWords,
    Style,
    declared,
    unknown_resources,
)
from crudite.messages import ActionName, Written
from crudite.query.parse import WrittenQuery
from crudite.resources.declaring.definition import Definition, Definitions
from crudite.resources.request import AnyAction, Around
from crudite.types import Key

_NO_OPTIONS = WheelhouseOptions()
_ERRORS = {"POST": "create error", "PUT": "update error", "DELETE": "delete error"}


@dataclass(frozen=True)
class Wheelhouse(Style):
    """Speaks REST and server-sent events as wheelhouse-resource did: `Rest(style="wheelhouse")` and
    `Sse(style="wheelhouse")`, or both with one `Wheelhouse(resources={Post: WheelhouseOptions(…)})`.

    - `resources`: what is said of each; it holds where this style speaks, and nowhere else: what is to hold everywhere
      are rules.
    - `most`: how many records a list holds, and how many functions are given; more of them are refused with 413.
    """

    name: ClassVar[str] = "wheelhouse"
    actions: ClassVar[Mapping[str, AnyAction]] = {"POST": "create", "PUT": "update", "DELETE": "delete"}
    statuses: ClassVar[Mapping[str, int]] = {"create": 206, "update": 206, "delete": 204}
    reads_several: ClassVar[bool] = False
    takes_any_accept: ClassVar[bool] = True
    passes_over: ClassVar[bool] = True
    paths: ClassVar[frozenset[str]] = frozenset()
    words: ClassVar[StreamWords | None] = StreamWords(
        several={"added": "add", "changed": "change", "removed": "remove"},
        single={"changed": "change", "removed": "destroy"},
        opening=b":ok\n\n",
    )

    resources: Mapping[type[Any], WheelhouseOptions] = field(default_factory=dict)
    most: int | None = 1_000

    def faults(self, definitions: Definitions) -> list[str]:
        if not isinstance(self.resources, Mapping):
            return ["The wheelhouse style's resources are options by class: {Post: WheelhouseOptions(…)}."]
        faults = unknown_resources(self.resources, definitions, self.name)
        for cls, options in self.resources.items():
            name = cls.__name__ if isinstance(cls, type) else str(cls)
            if isinstance(options, WheelhouseOptions):
                faults += options.faults(name, definitions[cls].schema.fields if cls in definitions else {})
            else:
                faults.append(f"The wheelhouse style's options for {name} are WheelhouseOptions(…), and nothing else.")
        return faults

    @property
    def narrowing(self) -> object:
        given = self.resources.items() if isinstance(self.resources, Mapping) else ()
        return {cls: options for cls, options in given if options != _NO_OPTIONS} or None

    def narrows(self, definition: Definition, action: ActionName) -> bool:
        options = self._options(definition)
        is_shaped = action in ("list", "read") and bool(options.filter or options.pick or options.read)
        return options.permissions is not None or is_shaped

    def listing(self, asked: Asked) -> WrittenQuery:
        return SHOWN

    def reading(self, asked: Asked) -> WrittenQuery:
        return SHOWN

    def shows(self, asked: Asked) -> Collection[str]:
        return declared(asked.definition)

    def reads_body_of_delete(self, asked: Asked) -> bool:
        return self._options(asked.definition).permissions is not None

    def around(self, asked: Asked) -> "Around | None":
        options, shape = self._options(asked.definition), Shape.of(asked.parameters)
        if options is _NO_OPTIONS and shape == Shape() and asked.method not in ("POST", "PUT"):
            return None
        return CollectionAround(options, shape, asked, self.most, self._is_decided_apart)

    def written(self, asked: Asked, written: Written) -> Body:
        if written.action == "delete":
            return Body(None)
        if not written.keys and not written.many:  # a step or a hook of the application has answered by itself
            return Body(written.json)
        reduced = [{asked.definition.schema.key: key} for key in written.keys]
        return Body(msgspec.json.encode(reduced if written.many else reduced[0]).decode())

    def retold(self, asked: Asked) -> Shown | None:
        options, shape = self._options(asked.definition), Shape.of(asked.parameters)
        if options is _NO_OPTIONS and shape == Shape():
            return None
        around = CollectionAround(options, shape, asked, self.most, self._is_decided_apart)
        of = around.shown_of_all if asked.text is None else partial(around.shown_of_one, key=_key(asked))
        return Shown(of, each_alone=not options.asks_functions)

    def problem(self, problem: Problem, request_id: str, root: str, asked: Asked | None = None) -> Told:
        status = Forbidden.status if isinstance(problem, Unauthorized) else problem.status  # such a client knows no 401
        told: dict[str, Any] = {"code": status, "message": _message(problem, asked)}
        if isinstance(problem, Invalid) and asked is not None and asked.text is not None:
            told["model"] = _key(asked)
        return Told(status, JSON_TYPE, msgspec.json.encode(told))

    def _is_decided_apart(self, definition: Definition) -> bool:
        """Whether permissions decide about the records of a resource, which are asked of one request for each."""
        return self._options(definition).permissions is not None

    def _options(self, definition: Definition) -> WheelhouseOptions:
        return self.resources.get(definition.cls, _NO_OPTIONS)


def _key(asked: Asked) -> Key:
    """The key of the record that is asked for, which has been found to be one."""
    key: Key = asked.definition.schema.key_field.type.parse(asked.text or "")
    return key


def _message(problem: Problem, asked: Asked | None) -> str:
    if isinstance(problem, Forbidden | Unauthorized):
        is_read = asked is not None and asked.method in ("GET", "HEAD")
        return f"No permission for {asked.text or asked.definition.path}" if asked and is_read else "Permission denied."
    if isinstance(problem, NotFound) and asked is not None and asked.text is not None:
        return f"Model {asked.text} does not exist."
    if isinstance(problem, Unexpected) and asked is not None and asked.method in _ERRORS:
        return _ERRORS[asked.method]
    return "; ".join(map(_sentence, problem.faults)) or problem.detail or problem.title


def _sentence(fault: Fault) -> str:
    """What is wrong, behind the name of what it is wrong with."""
    place = (fault.pointer or "")[1:] or fault.parameter
    is_named = not place or fault.detail.startswith(f"{place}: ")  # as of what stands in a URL
    return fault.detail if is_named else f"{place}: {fault.detail}"


WHEELHOUSE = Wheelhouse()
