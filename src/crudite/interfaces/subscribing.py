"""From what a client subscribes to, in JSON, to the request for it."""

from collections.abc import Mapping
from typing import Any

from crudite.errors import Fault, Malformed, NotFound
from crudite.interfaces.addresses import find_resource, is_done
from crudite.interfaces.base import Host
from crudite.query.parse import parse_json
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
        if not is_done(host, definition, "subscribe") or not is_done(host, definition, "list"):
            raise NotFound(f"{definition.path} cannot be subscribed to.")
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
    request.args, request.args_at = args, "/args"
    return request


def _derived(base: Request, action: Any, name: str) -> Request:
    return Request(
        action, name, actor=base.actor, credentials=base.credentials, headers=base.headers, interface=base.interface,
        id=base.id, is_free=base.is_free, is_live=True, performers=base.performers,
    )  # fmt: skip
