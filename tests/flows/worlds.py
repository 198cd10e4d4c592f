"""What the stories share: an application with a client for it, and who may be who."""

from collections.abc import Sequence
from typing import Any

from crudite import Actor, App, Credentials, Unauthorized
from crudite.testing import Client, Response
from tests.services.stores import fresh_store


def client_for(*resources: type[Any], **options: Any) -> Client:
    """A client for the application made of the resources, in an empty store; entering it starts both."""
    if "store" not in options:
        options["store"] = fresh_store()
    return Client(App(*resources, **options))


def by_name(credentials: Credentials) -> Actor | None:
    """Whoever shows the token `ann` or `ann:admin,staff` is that, with those roles; `bad` is refused."""
    if credentials.token is None:
        return None
    if credentials.token == "bad":
        raise Unauthorized("The token is not valid.")
    name, _, roles = credentials.token.partition(":")
    return Actor(id=name, roles=frozenset(filter(None, roles.split(","))))


def titles(given: Response | Sequence[dict[str, Any]]) -> list[str]:
    """The titles of records, in order."""
    rows = given.json if isinstance(given, Response) else given
    return [row["title"] for row in rows]


def faults(response: Response) -> list[tuple[str, str]]:
    """The place and code of each fault of a problem, in order of place."""
    errors = response.json.get("errors", [])
    return sorted((e.get("pointer", e.get("parameter", "")), e["code"]) for e in errors)
