"""Where things are: what the application's routes mean, found in the router that really answers them.

The description is made of the routes that interfaces have added, so that it tells of what is there, under
whatever prefix, and of nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from crudite.channels import Channel
from crudite.interfaces.base import EVENT_STREAM, Host, Router
from crudite.resources.declaring.definition import Definition, Placement
from crudite.resources.handlers import Handler

Role: TypeAlias = Literal["collection", "query", "item", "stream", "item stream", "history", "restore", "field"]
_ROLES: tuple[tuple[str, Role], ...] = (
    ("", "collection"), ("/query", "query"), ("/{key}", "item"), ("/subscribe", "stream"),
    ("/{key}/subscribe", "item stream"), ("/{key}/history", "history"),
    ("/{key}/restore", "restore"),
)  # fmt: skip


@dataclass(frozen=True)
class ResourcePlace:
    """A path of a resource at one of its places; `names` is what its parameters are called."""

    path: str
    prefix: str
    role: Role
    methods: frozenset[str]
    place: Placement
    names: tuple[str, ...]
    fields: tuple[tuple[str, str], ...] = ()
    """Where it is the path of any field: the fields, each with a method that it takes."""

    @property
    def definition(self) -> Definition:
        """The resource, with the rules that hold here."""
        return self.place.definition

    @property
    def chain(self) -> tuple[Definition, ...]:
        """The resources above it, outermost first."""
        return tuple(above for above, _ in self.place.above)


@dataclass(frozen=True)
class HandlerPlace:
    """The path of a handler, or of its live query."""

    path: str
    prefix: str
    methods: frozenset[str]
    handler: Handler
    is_stream: bool


@dataclass(frozen=True)
class ChannelPlace:
    """The path of the channels of a declaration, or of the streams of them; `names` are its parameters."""

    path: str
    prefix: str
    methods: frozenset[str]
    channel: Channel
    names: tuple[str, ...]
    is_stream: bool


def resource_places(host: Host) -> Iterator[ResourcePlace]:
    """The paths of all resources, in the order in which they were declared."""
    routes = _routes(host.routes)
    for definition in host.definitions:
        for place in host.definitions.places[definition]:
            for prefix in host.routes.prefixes:
                yield from _of_resource(routes, prefix, place)


def handler_places(host: Host) -> Iterator[HandlerPlace]:
    """The paths of all handlers, in the order in which they were declared."""
    routes = _routes(host.routes)
    for handler in host.handlers.values():
        for ending, is_stream in (("", False), ("/subscribe", True)):
            written = f"/{handler.name.strip('/')}{ending}"
            base = "/".join("{key}" if part.startswith("{") else part for part in written.split("/"))
            for prefix in host.routes.prefixes:
                methods = _methods(routes.get(prefix + base, {}), handler.name)
                if not methods:
                    continue
                yield HandlerPlace(prefix + written, prefix, methods, handler, is_stream)


def channel_places(host: Host) -> Iterator[ChannelPlace]:
    """The paths of all channels, in the order in which they were declared."""
    routes = _routes(host.routes)
    for channel in host.channels:
        base = "/".join(("", "channels", *("{key}" if one in channel.parameters else one for one in channel.segments)))
        names = tuple(one.strip("{}") for one in channel.parameters)
        for ending in ("", "/subscribe"):
            for path, owners in routes.items():
                prefix = path.removesuffix(base + ending)
                written = f"{prefix}/channels/{channel.pattern}"
                methods = _methods(owners, written)
                if prefix != path and methods:
                    yield ChannelPlace(written + ending, prefix, methods, channel, names, bool(ending))


def stream_paths(host: Host) -> Iterator[str]:
    """The paths of streams that carry several queries."""
    owned = {place.path for places in (resource_places, handler_places, channel_places) for place in places(host)}
    for path, owners in _routes(host.routes).items():
        if path.endswith("/subscribe") and path not in owned and owners.get("GET") == EVENT_STREAM:
            yield path


def _of_resource(routes: Mapping[str, Mapping[str, str]], prefix: str, place: Placement) -> Iterator[ResourcePlace]:
    above, base, owner = _parameter_names(place), place.pattern.rstrip("/"), place.definition.name
    for ending, role in _ROLES:
        methods = _methods(routes.get(f"{prefix}{base}{ending}", {}), owner)
        if not methods:
            continue
        names = (*above, "key") if role in ("item", "item stream", "history", "restore") else above
        parts = f"{prefix}{base}{ending}".split("{key}")
        path = parts[0] + "".join(f"{{{name}}}{part}" for name, part in zip(names, parts[1:], strict=True))
        yield ResourcePlace(path or "/", prefix, role, methods, place, names)
    item = f"{prefix}{base}/{{key}}"
    owned = {name: _methods(routes.get(f"{item}/{name}", {}), owner) for name in place.definition.schema.fields}
    fields = tuple((name, method) for name, methods in owned.items() for method in sorted(methods & {"GET", "PUT"}))
    if fields:
        names = (*above, "key")
        path = "".join(part + f"{{{name}}}" for part, name in zip(item.split("{key}"), names, strict=False))
        methods = frozenset(method for _, method in fields)
        yield ResourcePlace(f"{path}/{{{_field_parameter(names)}}}", prefix, "field", methods, place, names, fields)


def _field_parameter(names: Sequence[str]) -> str:
    """What the parameter for the name of a field is called."""
    return "field" if "field" not in names else "field_name"


def _parameter_names(place: Placement) -> tuple[str, ...]:
    """What the parents' keys are called: as the fields that hold them, as long as they differ."""
    names: list[str] = []
    for _, name in reversed(place.above):
        names.append(name if name not in (*names, "key") else f"{name}_{len(names) + 1}")
    return tuple(reversed(names))


def _methods(owners: Mapping[str, str], owner: str) -> frozenset[str]:
    return frozenset(method for method, name in owners.items() if name == owner)


def _routes(router: Router) -> dict[str, Mapping[str, str]]:
    return {"".join(f"/{segment}" for segment in segments): owners for segments, owners in router}
