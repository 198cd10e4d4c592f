"""What clients say and are told in channels, in JSON: what all interfaces that have channels share."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from crudite.channels import Channel, ChannelLimits, Shown, Told
from crudite.errors import Fault, Malformed, TooLarge, TooManyRequests
from crudite.interfaces.events import encode

LONGEST_EVENT = 100


def channel_name(channel: Channel, given: Sequence[str]) -> str:
    """The name of a channel in a path, by the words that stand for its parameters."""
    words = iter(given)
    return "/".join(next(words) if segment in channel.parameters else segment for segment in channel.segments)


def event_members(told: Told) -> str:
    """The members of an event's JSON object, without its braces."""
    sender = f',"from":{encode(told.sender)}' if told.sender is not None else ""
    return f'"channel":{encode(told.channel)},"event":{encode(told.event)},"data":{told.data.decode()}{sender}'


def presence_members(channel: str, shown: Shown) -> str:
    """The same of who is there."""
    given: dict[str, Any] = {"channel": channel, "count": shown.count}
    if shown.members is not None:
        given["members"] = shown.members
    for name in ("joined", "changed", "left"):
        if getattr(shown, name):
            given[name] = getattr(shown, name)
    return encode(given)[1:-1]


def read_event(event: Any, data: Any, limits: ChannelLimits) -> tuple[str, bytes]:
    """The name of an event, and its data as JSON. Raises Malformed or TooLarge."""
    if not isinstance(event, str) or not 0 < len(event) <= LONGEST_EVENT or not event.isprintable():
        detail = f"event takes a name of up to {LONGEST_EVENT} printable characters."
        raise Malformed(faults=[Fault("bad_value", detail, pointer="/event")])
    return event, plain_json(data, limits.event, "data")


def plain_json(value: Any, most: int, name: str) -> bytes:
    """Plain data as JSON. Raises TooLarge beyond so many bytes."""
    made = msgspec.json.encode(value)
    if len(made) > most:
        raise TooLarge(f"{name} takes up to {most} bytes of JSON.")
    return made


def too_often(wait: float) -> TooManyRequests:
    """The problem of a connection that publishes too much."""
    headers = {"retry-after": str(math.ceil(wait))}
    return TooManyRequests("This connection publishes too often.", headers=headers, retry_in=math.ceil(wait * 1000))
