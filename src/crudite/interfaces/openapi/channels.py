"""The operations of channels: to publish there, and to listen."""

from typing import Any

from crudite.channels import Channel, ChannelLimits
from crudite.interfaces.openapi.operations import Operation, security
from crudite.interfaces.openapi.parameters import Parameter
from crudite.interfaces.openapi.places import ChannelPlace
from crudite.interfaces.openapi.responses import event_stream, problems
from crudite.interfaces.speaking import LONGEST_EVENT

TAG = "Channels"
_EVENT = 'event: event\ndata: {"channel":"…","event":"typing","data":{"at":3},"from":{"member":"5d1…","id":"ann"}}\n\n'
_PRESENCE = 'event: presence\ndata: {"channel":"…","count":1,"members":[{"member":"5d1…","id":"ann","state":null}]}\n\n'
_PROBLEM = 'event: problem\ndata: {"channel":"…","problem":{"status":404,"code":"not_found"}}\n\n'


def channel_operations(place: ChannelPlace, limits: ChannelLimits, *, has_auth: bool) -> dict[str, Operation]:
    """The operations at one path of a channel, by lower-case method."""
    described = {"POST": _publish(place, limits), "GET": _listen(place)}
    found = {method.lower(): one for method, one in described.items() if method in place.methods}
    for operation in found.values():
        operation["tags"] = [TAG]
        operation["parameters"] = _parameters(place)
        if has_auth:
            operation["security"] = security(is_open=True)
    return found


def _publish(place: ChannelPlace, limits: ChannelLimits) -> Operation:
    body = {
        "type": "object",
        "required": ["event"],
        "additionalProperties": False,
        "properties": {
            "event": {
                "type": "string", "minLength": 1, "maxLength": LONGEST_EVENT,
                "description": "The name of the event, in printable characters.",
            },
            "data": {"description": f"Any JSON, up to {limits.event:,} bytes."},
        },
    }  # fmt: skip
    return {
        "operationId": f"{_name(place.channel)}.publish",
        "summary": f"Publish in {_words(place.channel)}",
        "description": (
            "Tells an event to all who are in the channel now, and nobody else, ever. One need not have joined. "
            "A rule says who may."
        ),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "example": {"event": "typing", "data": {"at": 3}}}},
        },
        "responses": {
            "204": {"description": "It has been told."},
            **problems(400, 401, 403, 404, 413, 415, 422),
        },
    }


def _listen(place: ChannelPlace) -> Operation:
    presence = " First `presence` tells who is there, then how that changes." if place.channel.presence else ""
    ending = ".subscribe" if place.is_stream else ""
    return {
        "operationId": f"{_name(place.channel)}.listen{ending}",
        "summary": f"Listen to {_words(place.channel)}",
        "description": (
            f"What is told in the channel, as `event` events.{presence} When the right to listen ends, `problem` is "
            "the last one. Who listens so is not shown to others, and nothing is resumed. A rule says who may."
        ),
        "responses": {
            "200": event_stream(
                "The events, without end.", f"retry: 2300\n\n{_PRESENCE if presence else ''}{_EVENT}{_PROBLEM}"
            ),
            **problems(400, 401, 403, 404, 406),
        },
    }


def _parameters(place: ChannelPlace) -> list[Parameter]:
    text: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 100}
    of = place.channel.of
    what = "Which channel." if of is None else f"The key of the {of.__name__} that the channel is of."
    return [{"name": name, "in": "path", "required": True, "description": what, "schema": text} for name in place.names]


def _name(channel: Channel) -> str:
    return ".".join(["channels", *(segment.strip("{}") for segment in channel.segments)])


def _words(channel: Channel) -> str:
    return f"the channel {channel.pattern}" if not channel.parameters else f"a channel {channel.pattern}"
