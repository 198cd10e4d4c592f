"""What answers which path of an application, as its interfaces mounted it, and who may use it."""

import json
from collections.abc import Iterator
from typing import NamedTuple, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crudite.app import App
from crudite.cli.words import in_words
from crudite.interfaces.base import Interface, Router
from crudite.interfaces.styles import DEFAULT, Style, style_of
from crudite.messages import ActionName
from crudite.query.tree import NOTHING
from crudite.resources.declaring.definition import Definition, Placement

_WIDTH_OF_FILES = 200
_COLLECTION: dict[str, ActionName] = {"GET": "list", "QUERY": "list", "POST": "create"}
_ITEM: dict[str, ActionName] = {"GET": "read", "PUT": "replace", "PATCH": "update", "DELETE": "delete"}


class Route(NamedTuple):
    """One method of one path. `owner` is a resource's or handler's name, or says what is there; `rule` is in
    words, empty where rules do not decide, and says where options of a style stand beside it; `interface` is the name
    of the one that serves it."""

    method: str
    path: str
    owner: str
    action: str
    rule: str
    interface: str


def routes_of(app: App) -> Iterator[Route]:
    """Every route of an application, interface by interface."""
    for interface in app.interfaces:
        router = Router()
        interface.mount(app, router)
        for pattern, methods, owner in router.routes:
            for method in methods:
                if method != "STREAM":  # the same path again, for a client that accepts an event stream
                    yield _route(app, method, pattern or "/", owner, interface)


def is_narrowed(interface: Interface, definition: Definition, action: ActionName) -> bool:
    """Whether options of an interface's style stand beside the rule of an action."""
    style = getattr(interface, "style", DEFAULT)
    return isinstance(style, Style) and style.narrows(definition, action)


def lacks_rules(definition: Definition) -> bool:
    """Whether nobody may do anything with a resource, since nobody has said who may."""
    is_told = any(
        "rules" in one.__declaration__.options for one in definition.cls.__mro__ if hasattr(one, "__declaration__")
    )
    return not is_told and all(rule == NOTHING for rule in definition.rules.values())


def print_routes(app: App, *, as_json: bool = False) -> None:
    """Prints the routes as a table, resource by resource, or as a JSON array."""
    routes = list(routes_of(app))
    if as_json:
        print(json.dumps([route._asdict() for route in routes], indent=2, ensure_ascii=False))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_FILES)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Method", "Path", "Of", "Action", "Who may", "Interface"):
        table.add_column(title, overflow="fold")
    owners = dict.fromkeys([*app.definitions.by_name, *app.handlers, *(route.owner for route in routes)])
    for owner in owners:
        own = [route for route in routes if route.owner == owner]
        for route in own:
            table.add_row(*(escape(part) for part in route))
        if own:
            table.add_row()
    console.print(table)


def _route(app: App, method: str, pattern: str, owner: str, interface: Interface) -> Route:
    shown = {"WEBSOCKET": "WS"}.get(method, method)
    name, _, style = owner.removesuffix(")").partition(" (")
    definition = app.definitions.by_name.get(name)
    if definition is None:
        handler = app.handlers.get(name)
        live = "subscribe" if handler is not None and pattern.endswith("/subscribe") else ""
        return Route(shown, pattern, owner, live or ("call" if handler is not None else ""), "", interface.name)
    definition, rest = _placed(app, pattern, definition, interface)
    action, rule_of = _action(method, rest, definition)
    if style and action == "replace":  # which it may not be in an older style
        action = rule_of = cast(ActionName, style_of(style).actions[method])
    narrowed = "; narrowed by the style" if is_narrowed(interface, definition, rule_of) else ""
    return Route(shown, pattern, owner, action, in_words(definition.rules[rule_of]) + narrowed, interface.name)


def _placed(app: App, pattern: str, definition: Definition, interface: Interface) -> tuple[Definition, str]:
    """A resource with the rules that hold where a path is, and what the path has behind that of the resource."""
    below = pattern.removeprefix(getattr(interface, "prefix", ""))
    places = [one for one in app.definitions.places[definition] if f"{below}/".startswith(f"{_base(one)}/")]
    if not places:  # of an interface that has paths of its own
        return definition, pattern[pattern.rfind("/{" if pattern.endswith(("}", "}/subscribe")) else "/") :]
    place = max(places, key=lambda one: len(_base(one)))
    return place.definition, below[len(_base(place)) :]


def _base(place: Placement) -> str:
    return place.pattern.rstrip("/")


def _action(method: str, rest: str, definition: Definition) -> tuple[str, ActionName]:
    """What a method does, and the action whose rule decides."""
    last = rest.rpartition("/")[2]
    of_one = rest.startswith("/{")
    if last == "subscribe":
        return "subscribe", "read" if of_one else "list"
    if last in ("history", "restore") and last in definition.rules:
        return last, cast(ActionName, last)
    if last == "query":
        return "list", "list"
    if method == "PUT" and not of_one:
        return "set", "create"
    action = (_ITEM if of_one else _COLLECTION).get(method, "read")
    return action, action
