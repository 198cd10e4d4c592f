"""What a client shows that comes back to a stream: the id of the last event that it has got."""

from crudite.interfaces.base import Scope
from crudite.interfaces.http import Headers, parameters_of

_RESUMING = ("cursor", "last_event_id")


def resume_id(scope: Scope, headers: Headers) -> str | None:
    """The id that it goes on from: of the header `Last-Event-ID`, or of a parameter; None for a new stream."""
    given = headers.get("last-event-id") or dict(parameters_of(scope)).get("last_event_id")
    given = given or dict(parameters_of(scope)).get("cursor")
    return given or None


def without_resuming(scope: Scope) -> list[tuple[str, str]]:
    """The URL's parameters that say what the stream is of."""
    return [(name, value) for name, value in parameters_of(scope) if name not in _RESUMING]
