"""Scopes: what of all that its owner may do a key is for.

    tasks:read     reading tasks, and following them        (a resource by its path, or a handler by its name)
    tasks:write    everything else that is done with them
    tasks          both
    *:read         reading anything

A scope only narrows. It is a part of the rules of every resource, so it holds wherever they do: for what is included
in an answer, what a filter looks at, what is kept live, and what a handler does as its actor. What a handler does as
the server itself is up to the handler, so a key needs a scope for that by its name.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from crudite.messages import ActionName
from crudite.query.tree import Filter, Given
from crudite.resources.handlers import Handler
from crudite.rules import Asker

EVERY = "*"
_READING = ("list", "read", "history")
_KINDS = ("read", "write")


def narrowed(path: str, action: ActionName) -> Filter:
    """The rule that an actor's key covers an action on a resource; it holds for everybody without a key."""
    kind = "read" if action in _READING else "write"
    return Given(f"scope({path}:{kind})", covering(path, kind))


def covering(name: str, kind: str) -> Callable[[Asker], bool]:
    """Tells whether the key of an actor covers reading or writing under a name."""
    enough = frozenset((f"{name}:{kind}", name, f"{EVERY}:{kind}", EVERY))

    def covers(actor: Asker) -> bool:
        scopes = actor.claims.get("scopes")
        return "api_key" not in actor.claims or scopes is None or not enough.isdisjoint(scopes)

    return covers


def kind_of(handler: Handler) -> str:
    """What calling a handler is, for scopes."""
    return "read" if handler.kind == "read" else "write"


def without_key(actor: Asker) -> bool:
    """Whether somebody asks without an API key."""
    return "api_key" not in actor.claims


def unknown(scopes: Collection[str], paths: Collection[str], handlers: Mapping[str, Any]) -> list[int]:
    """The places of those scopes that name nothing."""
    found = []
    for place, scope in enumerate(scopes):
        name, colon, kind = scope.partition(":")
        if (colon and kind not in _KINDS) or not (name == EVERY or name in paths or name in handlers):
            found.append(place)
    return found
