"""What comes back: the answers of each kind of request, their headers, and every problem."""

from collections.abc import Iterable
from typing import Any

from crudite.errors import Problem
from crudite.interfaces.openapi.problems import PROBLEMS, problem_classes
from crudite.interfaces.openapi.values import Schema, reference

HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "The entity tag, for `If-Match` and `If-None-Match`.",
        "schema": {"type": "string"},
        "example": '"v17"',
    },
    "Link": {
        "description": "The neighbouring pages (RFC 8288): `next`, `prev`, `first`, relative to this URL.",
        "schema": {"type": "string"},
        "example": '<?limit=50&cursor=…>; rel="next"',
    },
    "Location": {
        "description": "Where the new record is, or where to go.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "X-Total-Count": {
        "description": "How many records there are in all, when `count=exact` asks.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Crudite-After": {
        "description": "The mark of the commit: its place in the change log.",
        "schema": {"type": "string"},
    },
    "Preference-Applied": {
        "description": "The preference that was applied (RFC 7240).",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "After how many seconds to try again.", "schema": {"type": "integer"}},
    "RateLimit": {
        "description": "What is left of the rates that count here, and when they are whole again (an IETF draft).",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "The rates that count here (an IETF draft).", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to say who asks (RFC 9110).", "schema": {"type": "string"}},
    "Allow": {"description": "The methods that are possible here.", "schema": {"type": "string"}},
}
_PROBLEM_HEADERS = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}

ALWAYS = (429, 500, 503)
"""The problems that any request can meet."""


def problem_responses() -> dict[str, Any]:
    """`components.responses`: one for each status of a problem."""
    by_status: dict[int, list[type[Problem]]] = {}
    for kind in problem_classes():
        by_status.setdefault(kind.status, []).append(kind)
    return {_name(status): _problem(status, kinds) for status, kinds in by_status.items()}


def problems(*statuses: int) -> dict[str, Any]:
    """References to the problems of these statuses, and those that any request can meet."""
    return {str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in sorted({*statuses, *ALWAYS})}


def answer(
    description: str,
    schema: Schema | None = None,
    headers: Iterable[str] = (),
    kind: str = "application/json",
) -> dict[str, Any]:
    """An answer with or without a body."""
    made: dict[str, Any] = {"description": description}
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    if named:
        made["headers"] = named
    if schema is not None:
        made["content"] = {kind: {"schema": schema}}
    return made


def event_stream(description: str, example: str) -> dict[str, Any]:
    """An answer that never ends: server-sent events (WHATWG HTML, section 9.2).

    Without a schema: some take it for that of the whole text, others for that of each event.
    """
    return {"description": description, "content": {"text/event-stream": {"example": example}}}


def _problem(status: int, kinds: list[type[Problem]]) -> dict[str, Any]:
    texts = [PROBLEMS[kind.code].meaning for kind in kinds]
    codes = ", ".join(f"`{kind.code}`" for kind in kinds)
    headers = _PROBLEM_HEADERS.get(status, ())
    return answer(f"{' '.join(texts)} Code: {codes}.", reference("Problem"), headers, "application/problem+json")


def _name(status: int) -> str:
    """A response is called as its problem: `NotFound`."""
    return next(kind.__name__ for kind in problem_classes() if kind.status == status and kind.__base__ is Problem)
