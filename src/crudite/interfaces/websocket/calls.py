"""What a client may call over WebSocket: a call of JSON-RPC 2.0, its parameters, and the text of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from crudite.changes import NO_VERSION, Mark
from crudite.errors import Fault, Malformed, NotFound, Unexpected
from crudite.interfaces.events import encode
from crudite.interfaces.websocket.format import error
from crudite.messages import Answered, Found, Listed, Response, Written
from crudite.types import Plain

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601


class Call(msgspec.Struct, frozen=True):
    """A JSON-RPC 2.0 request object; without an id it is a notification and gets no answer."""

    method: str
    params: dict[str, msgspec.Raw] = {}
    id: str | int | msgspec.UnsetType | None = msgspec.UNSET
    jsonrpc: str = "2.0"


decode_calls = msgspec.json.Decoder(list[msgspec.Raw]).decode
"""The parts of a batch."""
_decode_call = msgspec.json.Decoder(Call).decode


@dataclass(frozen=True, slots=True)
class Answer:
    """The text of an answer; the call's number and the mark of its commit, when it wrote something."""

    text: str
    number: Plain = None
    mark: Mark | None = None


class UnknownMethod(NotFound):
    """JSON-RPC's own word for a method that is not there."""


def result_json(response: Response) -> str:
    """The result of a call that went well."""
    match response:
        case Listed():
            further = {"next": response.next, "prev": response.prev}
            if response.total is not None:
                further["count"] = response.total  # type: ignore[assignment]
            return f'{{"data":{response.json},{encode(further)[1:]}'
        case Found() | Answered():
            return f'{{"data":{response.json}}}'
        case Written():
            after = f'"after":{encode(response.mark)}'
            shown = response.json if response.action != "delete" else None
            return f'{{"data":{shown},{after}}}' if shown is not None else f"{{{after}}}"
    raise Unexpected()


def plain(params: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    """Parameters, decoded."""
    return {name: msgspec.json.decode(value) for name, value in params.items()}


def checked(call: Call) -> dict[str, Any]:
    """The parameters of a call that is about no record, decoded. Raises Malformed, see `check_params`."""
    check_params(call.method, call.params)
    return plain(call.params)


_PARAMS = {
    "list": {"query", "min_cursor"}, "read": {"key", "query", "min_cursor"},
    "history": {"key", "query", "min_cursor"},
    "create": {"data"}, "replace": {"key", "data", "version"}, "update": {"key", "data", "version"},
    "delete": {"key", "version", "force", "purge"}, "restore": {"key", "version"}, "set": {"below", "data"},
    "unsubscribe": {"sub"}, "auth": {"token"},
    "subscribe": {"sub", "resource", "query", "read", "args", "cursor", "key", "min_cursor"},
    "join": {"channel", "state", "as"}, "leave": {"channel"}, "publish": {"channel", "event", "data"},
}  # fmt: skip
_OPTIONAL = {"query", "version", "force", "purge", "resource", "read", "args", "cursor", "min_cursor", "state", "as"}


def check_params(action: str, given: Mapping[str, Any]) -> None:
    """Raises Malformed naming every parameter that an action does not take, or needs and did not get."""
    known = _PARAMS[action]
    faults = [
        Fault("unknown_parameter", f"{action} takes no {name!r}.", pointer=f"/{name}") for name in given.keys() - known
    ]
    needed = known - _OPTIONAL - given.keys()
    if action == "subscribe":
        needed.discard("key")
    faults += [Fault("missing", f"{action} needs {name}.", pointer=f"/{name}") for name in sorted(needed)]
    if faults:
        raise Malformed(faults=faults)


def version_of(value: Any) -> int | None:
    """A version as given; beyond all that a record can have, one that none has. Raises Malformed."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise Malformed(faults=[Fault("bad_value", "version is an integer.", pointer="/version")])
    return value if value is None or abs(value) < NO_VERSION else NO_VERSION


def truth_of(name: str, given: Mapping[str, Any]) -> bool:
    """Whether a parameter is true; it need not be given. Raises Malformed."""
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise Malformed(faults=[Fault("bad_value", f"{name} is true or false.", pointer=f"/{name}")])
    return value is True


def parse_call(data: bytes) -> Call | Answer:
    """A call, or the answer to what is none."""
    try:
        return _decode_call(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        return Answer(_not_a_call(data, fault))


def _not_a_call(data: bytes, fault: Exception) -> str:
    """The answer to what is no JSON, or no call (JSON-RPC 2.0, section 5.1)."""
    try:
        decoded = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as worse:
        return error(None, Malformed(f"Not JSON: {worse}."), None, PARSE_ERROR)
    found = decoded.get("id") if isinstance(decoded, dict) else None
    number = found if isinstance(found, str | int) and not isinstance(found, bool) else None
    return error(number, Malformed(f"Not a JSON-RPC request: {fault}."), None, INVALID_REQUEST)
