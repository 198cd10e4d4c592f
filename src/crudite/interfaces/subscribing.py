"""From what a client subscribes to, in JSON, to the request for it; and the paths at which a resource is found."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from crudite.errors import Fault, Malformed, NotFound
from crudite.interfaces.base import Host
from crudite.query.parse import parse_json
from crudite.resources.definition import Definition, Definitions
from crudite.resources.request import Request


def live_query(host: Host, base: Request, asked: Any) -> Request:
    """The request for `{"resource": "todos", "query": {…}}` or `{"read": "overdue", "args": {…}}`.

    Who asks is taken from `base`. Raises Malformed or NotFound when there is no such thing.
    """
    if not isinstance(asked, Mapping) or ("resource" in asked) == ("read" in asked):
        detail = 'A subscription is {"resource": …, "query": {…}} or {"read": …, "args": {…}}.'
        raise Malformed(faults=[Fault("bad_subscription", detail, pointer="")])
    if "resource" in asked:
        definition = find_resource(host, asked["resource"])
        request = _derived(base, "list", definition.path)
        request.definition = definition
        request.query = parse_json(asked.get("query") or {}, "/query")
        return request
    name, args = asked["read"], asked.get("args") or {}
    handler = host.handlers.get(name) if isinstance(name, str) else None
    if handler is None or handler.kind != "read":
        raise NotFound(f"There is no reading handler {name!r}.")
    if not isinstance(args, Mapping):
        raise Malformed(faults=[Fault("bad_value", "args takes a JSON object.", pointer="/args")])
    request = _derived(base, "call", name)
    request.args = args
    return request


def find_resource(host: Host, path: Any) -> Definition:
    """The resource with a path. Raises NotFound, with the nearest path."""
    definition = host.definitions.by_path.get(path) if isinstance(path, str) else None
    if definition is None:
        near = get_close_matches(str(path)[:100], list(host.definitions.by_path), 1)
        raise NotFound(f"There is no resource {str(path)[:100]!r}" + (f"; did you mean {near[0]!r}?" if near else "."))
    return definition


def nested_paths(
    definition: Definition, definitions: Definitions, prefix: str = ""
) -> Iterator[tuple[tuple[Definition, ...], str]]:
    """The chains of parents under which a resource is found, and the pattern of its path there."""
    for chain in _chains(definition, definitions):
        yield chain, prefix + "".join(f"/{parent.path}/{{key}}" for parent in chain) + f"/{definition.path}"


def _chains(definition: Definition, definitions: Definitions) -> list[tuple[Definition, ...]]:
    chains: list[tuple[Definition, ...]] = [] if definition.only_nested else [()]
    for name in definition.parents:
        reference = definition.schema.fields[name].reference
        assert reference is not None
        parent = definitions.by_name[reference.target]
        if parent is not definition:
            above = _chains(parent, definitions)
            chains += [(*chain, parent) for chain in above if definition not in chain]
    return chains


def _derived(base: Request, action: Any, name: str) -> Request:
    return Request(
        action, name, actor=base.actor, credentials=base.credentials, headers=base.headers, interface=base.interface,
        id=base.id, is_live=True, performers=base.performers,
    )  # fmt: skip
