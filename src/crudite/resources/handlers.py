"""Handlers: plain functions reached by name over every interface, with typed arguments."""

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias, get_origin, get_type_hints

import pydantic
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticUndefined

from crudite.errors import DeclarationError, Fault, Invalid, Malformed
from crudite.messages import Answered, Listed, Live, Redirect, Response
from crudite.resources.actions import Actions
from crudite.resources.answering import plainly
from crudite.resources.asking import Asks
from crudite.resources.declaring.annotations import type_name
from crudite.resources.declaring.definition import Definition
from crudite.resources.hooks import call
from crudite.resources.query import Count, Groups, Query, Value
from crudite.resources.request import Request

HandlerKind: TypeAlias = Literal["read", "create", "update", "delete"]


@dataclasses.dataclass(frozen=True)
class Handler:
    """A function of the application's under a name. `kind` decides how HTTP reaches it: GET, POST, PATCH, DELETE.

    Its first parameter is the request; those annotated with a type that the application provides are injected;
    the rest are arguments, validated by their annotations. `path_names` are those whose names stand in braces in its
    name, such as `users/{user}/roles`: over HTTP they are what the path has in that place.
    """

    name: str
    kind: HandlerKind
    function: Callable[..., Any]
    arguments: "pydantic.TypeAdapter[Any]"
    injected: Mapping[str, Any]
    lists: frozenset[str]
    returns: Any
    path_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, kind: HandlerKind, function: Callable[..., Any], provided: Sequence[Any]) -> "Handler":
        """The handler that a function is. Raises DeclarationError when its signature cannot be served."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DeclarationError([f"The handler {name!r} says `yield`; it returns its answer, or a query."])
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise DeclarationError([f"The handler {name!r}: there is no {error.name!r}."]) from None
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters:
            raise DeclarationError([f"The handler {name!r} must take the request as its first parameter."])
        fields: dict[str, Any] = {}
        injected: dict[str, Any] = {}
        for parameter in parameters[1:]:
            hint = hints.get(parameter.name, Any)
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise DeclarationError([f"The handler {name!r} takes {parameter}; its arguments must be named."])
            if any(hint is one for one in provided):
                injected[parameter.name] = hint
                continue
            default = parameter.default if parameter.default is not parameter.empty else PydanticUndefined
            fields[parameter.name] = (hint, pydantic.Field(default))
        path_names = _path_names(name, fields)
        title = "".join(part.strip("{}").capitalize() for part in name.replace("/", "-").split("-")) + "Arguments"
        try:
            arguments = _arguments(title, fields)
        except PydanticUserError:
            raise DeclarationError(_strange(name, fields)) from None
        lists = frozenset(name for name, (hint, _) in fields.items() if get_origin(hint) in (list, set, tuple))
        return cls(name, kind, function, arguments, injected, lists, hints.get("return"), path_names)

    def in_path(self, values: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a URL: the values in its path and those given behind it. Raises Malformed for one that is
        in both."""
        of_path = dict(zip(self.path_names, values, strict=True))
        if twice := sorted(of_path.keys() & given.keys()):
            raise Malformed(
                faults=[Fault("repeated", f"{name} is in the path already.", parameter=name) for name in twice]
            )
        return {**of_path, **given}

    def parse(self, given: Mapping[str, Any], *, place: str | None) -> dict[str, Any]:
        """The arguments as Python values. Raises Malformed (from a URL, when `place` is None) or Invalid with
        every fault; `place` is the pointer of what the arguments are members of."""
        from_url = place is None
        if from_url:
            given = {name: [v] if name in self.lists and isinstance(v, str) else v for name, v in given.items()}
        try:
            parsed = self.arguments.validate_python(dict(given), strict=False)
        except pydantic.ValidationError as error:
            faults = [_fault(one, place) for one in error.errors(include_url=False, include_input=False)]
            raise (Malformed if from_url else Invalid)(faults=faults) from error
        return {name: getattr(parsed, name) for name in type(parsed).__dataclass_fields__}


async def perform_handler(
    handler: Handler, request: Request, actions: Actions, provided: Mapping[Any, Any]
) -> Response:
    """Calls a handler and makes the response of what it returned.

    A query is a page of records; a count, a value and groups are what its records come to. All are live where they
    are subscribed to. Anything else is an answer, and cannot be subscribed to; a redirect is one that leads elsewhere.
    """
    arguments = handler.parse(request.args, place=request.args_at)
    request.args = arguments
    injected = {name: provided[kind] for name, kind in handler.injected.items()}
    result = await call(handler.function, request, **arguments, **injected)
    if request.batched:
        raise TypeError(
            f"the handler {handler.name!r} has put writes into request.batch, which nothing commits; "
            "use `async with request.records.batch()`"
        )
    if isinstance(result, Query | Count | Value | Groups):
        return await _of_query(result, request, actions)
    if request.is_live:
        raise Malformed(f"{handler.name!r} returned an answer and not a query, so there is nothing to keep live.")
    if isinstance(result, Redirect):
        return Answered({"location": result.location}, result.location)
    return Answered(plainly(result, actions.definitions, request.shows))


async def _of_query(result: "Query[Any] | Count | Value | Groups", request: Request, actions: Actions) -> Response:
    query = result if isinstance(result, Query) else result.query
    definition: Definition = actions.definitions[query.resource]
    asked = Request(
        "list", request.name, definition=definition, query=query.written, actor=request.actor, id=request.id,
        interface=request.interface, is_live=request.is_live, performers=request.performers,
    )  # fmt: skip
    asks = _asks(result)
    if request.is_live:
        return Live(actions.live_queries.of(asked, counts=isinstance(result, Count), asks=asks, trusted=True))
    if isinstance(result, Count):
        return Answered(await actions.reading.count(asked))
    if asks is not None:
        return Answered(await actions.reading.aggregate(asked, asks))
    listed = await actions.reading.list(asked, trusted=True)
    if request.shows is None:
        return Listed(listed.records)  # a handler takes no cursor
    hidden = definition.schema.fields.keys() - set(request.shows(definition))
    return listed.with_data([{n: one for n, one in row.items() if n not in hidden} for row in listed.data])


def _asks(result: "Query[Any] | Count | Value | Groups") -> Asks | None:
    """What is asked of the records of a query, in place of them."""
    if isinstance(result, Value):
        return (), ((result.function, result.field),)
    return (result.by, result.measures) if isinstance(result, Groups) else None


def _path_names(name: str, arguments: Collection[str]) -> tuple[str, ...]:
    """The arguments that stand in a handler's name. Raises DeclarationError for one that it does not take, or that is
    there twice, and for braces around anything but a whole part of the name."""
    parts = [part for part in name.split("/") if "{" in part or "}" in part]
    names = [part[1:-1] for part in parts]
    faults = []
    for part, one in zip(parts, names, strict=True):
        if part != f"{{{one}}}" or "{" in one or "}" in one:
            faults.append(f"In the name of the handler {name!r}, {part!r} is no argument in braces, as in {{user}}.")
        elif one not in arguments:
            near = get_close_matches(one, list(arguments), 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            faults.append(f"The handler {name!r} takes no argument {one!r}, which is in its name{hint}")
        elif names.count(one) > 1:
            faults.append(f"The name of the handler {name!r} has {part} twice.")
    if faults:
        raise DeclarationError(list(dict.fromkeys(faults)))
    return tuple(names)


def _arguments(title: str, fields: Mapping[str, Any]) -> "pydantic.TypeAdapter[Any]":
    specs = [(name, hint, dataclasses.field(default=field)) for name, (hint, field) in fields.items()]
    made = dataclasses.make_dataclass(title, specs, kw_only=True)
    return pydantic.TypeAdapter(pydantic.dataclasses.dataclass(made, config=pydantic.ConfigDict(extra="forbid")))


def _strange(name: str, fields: Mapping[str, Any]) -> list[str]:
    """What is said of the arguments that nothing of JSON or a URL can be."""
    faults = []
    for one, (hint, _) in fields.items():
        try:
            pydantic.TypeAdapter(hint)
        except PydanticUserError:
            faults.append(
                f"The handler {name!r}: {one!r} can be no argument, since {type_name(hint)} has no form in JSON. "
                "What the application gives it says App(provide=…)."
            )
    return faults


def _fault(error: Any, place: str | None) -> Fault:
    path = [str(part) for part in error["loc"]]
    code = "unknown_argument" if error["type"] == "unexpected_keyword_argument" else error["type"]
    detail = "There is no such argument." if code == "unknown_argument" else f"{error['msg']}."
    if place is None:
        return Fault(code, f"{path[0]}: {detail}", parameter=path[0])
    return Fault(code, detail, pointer=f"{place}/{'/'.join(path)}")
