"""From a call to the request for it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from crudite.errors import Fault, Malformed
from crudite.interfaces.addresses import find_resource, is_done
from crudite.interfaces.base import Host
from crudite.interfaces.websocket.calls import Call, UnknownMethod, check_params, plain, truth_of, version_of
from crudite.query.parse import parse_json
from crudite.resources.declaring.definition import Definition
from crudite.resources.keys import plain_key
from crudite.resources.request import Nesting, Request
from crudite.resources.writing.setting import settable_at

WRITES = ("create", "replace", "update", "delete", "restore", "set")


def request_for(host: Host, call: Call, base: Request) -> Request:
    """The request for `todos.update` and the like, or for a handler; who asks is in `base`, of which it is made. Raises
    UnknownMethod, NotFound for a resource or a key that cannot be, Malformed for parameters."""
    path, _, action = call.method.rpartition(".")
    if path:
        return _of_records(host, path, action, call.params, base)
    if call.method not in host.handlers:
        raise UnknownMethod(f"There is no method {call.method[:100]!r}.")
    base.action, base.name, base.args = "call", call.method, plain(call.params)
    return base


def _of_records(host: Host, path: str, action: str, raw: Mapping[str, msgspec.Raw], base: Request) -> Request:
    if action not in ("list", "read", "history", *WRITES):
        raise UnknownMethod(f"There is no method {path[:100]}.{action[:100]}.")
    given = plain({name: value for name, value in raw.items() if name != "data"})
    check_params(action, raw)
    definition = find_resource(host, path)
    if action == "restore" and not definition.schema.is_soft:
        raise UnknownMethod(f"There is no method {path[:100]}.restore: {definition.name} keeps no deleted records.")
    if action == "set":
        base.nesting = _below(host, definition, given["below"])
    elif not is_done(host, definition, action):
        raise UnknownMethod(f"{definition.path}.{action} cannot be called.")
    base.action, base.name, base.definition = action, definition.path, definition  # type: ignore[assignment]
    base.query = parse_json(given.get("query") or {}, "/query")
    base.data = raw.get("data")
    if action not in ("list", "create", "set"):
        base.key = plain_key(definition, given.get("key"))
    base.expect = version_of(given.get("version"))
    base.is_forced, base.is_purging = truth_of("force", given), truth_of("purge", given)
    return base


def _below(host: Host, definition: Definition, below: Any) -> Nesting:
    """The parent whose records are set as a whole: the name of the field that points at it, and its key. Raises
    UnknownMethod where these records are not set so."""
    found = (place for place in host.definitions.places[definition] if settable_at(place) is not None)
    parents = {place.above[-1][1]: place for place in found}
    if not parents:
        raise UnknownMethod(f"{definition.path}.set cannot be called.")
    if not isinstance(below, dict) or len(below) != 1 or not below.keys() <= parents.keys():
        example = f"{{{next(iter(parents))!r}: key}}"
        raise Malformed(faults=[Fault("bad_value", f"below names one record, such as {example}.", pointer="/below")])
    [(field, key)] = below.items()
    nearest = parents[field].above[-1:]
    return Nesting.below(replace(parents[field], above=nearest), [[plain_key(nearest[0][0], key)]])
