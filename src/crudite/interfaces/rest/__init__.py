"""REST: resources and handlers over HTTP, in the style that an experienced API user expects today."""

from collections.abc import Mapping

from crudite.errors import Problem
from crudite.interfaces.base import Endpoint, Host, Router
from crudite.interfaces.rest.channels import ChannelEndpoints
from crudite.interfaces.rest.fields import FieldEndpoints, fields_of
from crudite.interfaces.rest.handlers import HandlerEndpoints
from crudite.interfaces.rest.quick import QuickCreates, QuickReads, QuickResource
from crudite.interfaces.rest.resources import ResourceEndpoints
from crudite.interfaces.styles import DEFAULT, Style, style_of
from crudite.messages import ActionName
from crudite.query.tree import Check, leaves
from crudite.resources.actions import Actions
from crudite.resources.declaring.definition import Definition, Placement
from crudite.stores.base import Store, SupportsAsk, SupportsGlance, SupportsSubmit

_READING: tuple[ActionName, ...] = ("read", "list")


class Rest:
    """The REST interface, below `prefix` (such as `/v1`; the root of the application when empty).

    `style` is how it speaks: as today's clients expect, or as an older system did, for clients written against that:
    `"booster"`, `"wheelhouse"`, or `Booster(…)` and `Wheelhouse(…)` with their options. Raises ValueError for a name
    that no style has.
    """

    name = "rest"

    def __init__(self, prefix: str = "", style: str | Style = DEFAULT) -> None:
        self.prefix = prefix.rstrip("/")
        self.style = style_of(style)

    def mount(self, host: Host, router: Router) -> list[str]:
        """Adds the routes of every resource, handler and channel."""
        faults = self.style.faults(host.definitions) + router.speak_below(self.prefix, self.style.narrowing)
        if self.style is not DEFAULT:
            router.tell_below(self.prefix, self.style.problem)
        for definition in host.definitions:
            for place in host.definitions.places[definition]:
                faults += self._mount_resource(host, router, place)
        for handler in host.handlers.values():
            endpoints = HandlerEndpoints(host, handler, self.style)
            owner = self.style.owner(handler.name)
            taken = router.add(f"{self.prefix}/{handler.name}", [endpoints.method], endpoints.call, owner)
            if taken:
                faults.append(f"The handler {handler.name!r} and {taken} both answer {self.prefix}/{handler.name}.")
        for channel in host.channels:
            path = f"{self.prefix}/channels/{channel.pattern}"
            publish, owner = ChannelEndpoints(host, channel, self.style).publish, self.style.owner(path)
            if not channel.is_feed and (taken := router.add(path, ["POST"], publish, owner)):
                faults.append(f"The channel {channel.pattern!r} and {taken} both answer {path}.")
        return faults

    def quick(self, host: Host, actions: Actions, router: Router, store: Store) -> dict[bytes, QuickResource]:
        """What can be answered without waiting for the application's own code, by the paths of the resources."""
        every = [segments for segments, _ in router]
        found: dict[bytes, QuickResource] = {}
        for definition in host.definitions if self.style is DEFAULT else ():
            for place in host.definitions.places[definition]:
                path = f"{self.prefix}{place.pattern}".rstrip("/").encode()
                if place.above or place.definition is not definition or not path:
                    continue
                base = tuple(filter(None, path.decode().split("/")))
                literals = frozenset(segments[-1].encode() for segments in every if segments[:-1] == base)
                can_read, can_create = place.actions.issuperset(_READING), "create" in place.actions
                found[path] = QuickResource(
                    definition.path, literals,
                    _quick_reads(definition, actions, store) if can_read else None,
                    _quick_creates(host, definition, actions, store) if can_create else None,
                )  # fmt: skip
        return found

    def _mount_resource(self, host: Host, router: Router, place: Placement) -> list[str]:
        owner, base = self.style.owner(place.definition.name), f"{self.prefix}{place.pattern}".rstrip("/")
        endpoints = ResourceEndpoints(host, place, self.style)
        paths = self.style.paths
        listing = {"GET": "list", "QUERY": "list"} if "query" in paths else {"GET": "list"}
        routes: list[tuple[str, Mapping[str, str], Endpoint]] = [
            (base, {**listing, "POST": "create"}, endpoints.collection),
            (f"{base}/{{key}}", {"GET": "read", **_of_items(self.style)}, endpoints.item),
        ]
        if "query" in paths:
            routes.insert(1, (f"{base}/query", {"POST": "list"}, endpoints.query))
        if endpoints.sets_whole and "whole" in paths:
            routes.append((base, {"PUT": "create"}, endpoints.whole))
        if "history" in place.definition.rules and "history" in paths:
            routes.append((f"{base}/{{key}}/history", {"GET": "history"}, endpoints.history))
        if place.definition.schema.is_soft and "restore" in paths:
            routes.append((f"{base}/{{key}}/restore", {"POST": "restore"}, endpoints.restore))
        faults = []
        for path, actions, endpoint in routes:
            methods = _methods(actions, place)
            if methods and (other := router.add(path, methods, endpoint, owner)):
                text = f"{owner} and {other} both answer {path or '/'}"
                faults.append(f"{text}; give one of them another place, or path=.")
        if place.pattern != "/" and not place.pattern.endswith("}"):
            for format in self.style.formats:
                methods = _methods({"GET": "list", "POST": "create"}, place)
                router.add(f"{base}.{format}", methods, endpoints.collection, owner, yields=True)
        for name, methods in fields_of(place).items() if "field" in paths else ():
            endpoint = FieldEndpoints(host, place, self.style, name).value
            router.add(f"{base}/{{key}}/{name}", methods, endpoint, owner, yields=True)
        return faults


def _of_items(style: Style) -> Mapping[str, str]:
    return {method: action for method, action in style.actions.items() if method != "POST"}


def _methods(actions: Mapping[str, str], place: Placement) -> list[str]:
    """The methods whose actions can be done at a place."""
    return [method for method, action in actions.items() if action in place.actions]


def _quick_reads(definition: Definition, actions: Actions, store: Store) -> QuickReads | None:
    around = {("around", action) for action in _READING} & definition.hooks.keys()
    asks_functions = any(isinstance(leaf, Check) for a in _READING for leaf in leaves(definition.rules[a]))
    if around or asks_functions or not isinstance(store, SupportsGlance | SupportsAsk):
        return None
    try:
        return QuickReads(definition, actions.reading)
    except Problem:  # not everybody may read it
        return None


def _quick_creates(host: Host, definition: Definition, actions: Actions, store: Store) -> QuickCreates | None:
    plain = actions.plain_create(definition) if isinstance(store, SupportsSubmit) else None
    return None if plain is None else QuickCreates(definition, plain, host.limits.body)
