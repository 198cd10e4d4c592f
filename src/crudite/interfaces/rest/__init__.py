"""REST: resources and handlers over HTTP, in the style that an experienced API user expects today."""

from crudite.errors import Problem
from crudite.interfaces.addresses import nested_paths
from crudite.interfaces.base import Endpoint, Host, Router
from crudite.interfaces.rest.channels import ChannelEndpoints
from crudite.interfaces.rest.handlers import HandlerEndpoints
from crudite.interfaces.rest.quick import QuickCreates, QuickReads, QuickResource
from crudite.interfaces.rest.resources import ResourceEndpoints
from crudite.interfaces.styles import DEFAULT, Style, style_of
from crudite.messages import ActionName
from crudite.query.tree import Check, leaves
from crudite.resources.actions import Actions
from crudite.resources.definition import Definition
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
        faults = self.style.faults(host.definitions)
        if self.style is not DEFAULT:
            router.tell_below(self.prefix, self.style.problem)
        for definition in host.definitions:
            for chain, base in nested_paths(definition, host.definitions, self.prefix):
                resource = ResourceEndpoints(host, definition, chain, self.style)
                faults += self._mount_resource(resource, router, base, definition)
        for handler in host.handlers.values():
            endpoints = HandlerEndpoints(host, handler, self.style)
            taken = router.add(f"{self.prefix}/{handler.name}", [endpoints.method], endpoints.call, handler.name)
            if taken:
                faults.append(f"The handler {handler.name!r} and {taken} both answer {self.prefix}/{handler.name}.")
        for channel in host.channels:
            path = f"{self.prefix}/channels/{channel.pattern}"
            if not channel.is_feed and (
                taken := router.add(path, ["POST"], ChannelEndpoints(host, channel, self.style).publish, path)
            ):
                faults.append(f"The channel {channel.pattern!r} and {taken} both answer {path}.")
        return faults

    def quick(self, host: Host, actions: Actions, router: Router, store: Store) -> dict[bytes, QuickResource]:
        """What can be answered without waiting for the application's own code, by the paths of the resources."""
        every = [segments for segments, _ in router]
        found: dict[bytes, QuickResource] = {}
        for definition in host.definitions if self.style is DEFAULT else ():
            base = tuple(filter(None, f"{self.prefix}/{definition.path}".split("/")))
            if not definition.only_nested:
                literals = frozenset(segments[-1].encode() for segments in every if segments[:-1] == base)
                reads, creates = (
                    _quick_reads(definition, actions, store),
                    _quick_creates(host, definition, actions, store),
                )
                path = f"/{'/'.join(base)}".encode()
                found[path] = QuickResource(definition.path, literals, reads, creates)
        return found

    def _mount_resource(
        self, endpoints: ResourceEndpoints, router: Router, base: str, definition: Definition
    ) -> list[str]:
        owner, style = definition.name, self.style
        routes: list[tuple[str, tuple[str, ...], Endpoint]] = [
            (base, ("GET", "POST", "QUERY") if style.takes_queries else ("GET", "POST"), endpoints.collection),
            (f"{base}/{{key}}", ("GET", *(m for m in style.actions if m != "POST")), endpoints.item),
            *((f"{base}.{format}", ("GET", "POST"), endpoints.collection) for format in style.formats),
        ]
        if style.takes_queries:
            routes.insert(1, (f"{base}/query", ("POST",), endpoints.query))
        if "history" in definition.rules:
            routes.append((f"{base}/{{key}}/history", ("GET",), endpoints.history))
        taken = [(path, router.add(path, methods, endpoint, owner)) for path, methods, endpoint in routes]
        return [f"{owner} and {other} both answer {path}; give one of them a path=." for path, other in taken if other]


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
