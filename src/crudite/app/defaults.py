"""What an application is made with where nothing else is said, or what is said is short for something."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from crudite.auth import Authenticate
from crudite.buses import open_bus
from crudite.buses.base import Bus
from crudite.errors import DeclarationError
from crudite.interfaces.base import Interface
from crudite.interfaces.browser import Browser
from crudite.interfaces.cors import Cors, Sharing
from crudite.interfaces.insight import Insight
from crudite.interfaces.openapi import OpenApi
from crudite.interfaces.origins import Origins
from crudite.interfaces.rest import Rest
from crudite.interfaces.sse import Sse
from crudite.interfaces.websocket import WebSocket
from crudite.query.tree import Filter, Given, leaves
from crudite.stores import open_store
from crudite.stores.base import Store
from crudite.stores.mirrored import Database, Mirrored


def default_interfaces() -> tuple[Interface, ...]:
    """REST, server-sent events, WebSocket, the browser client, the API description, and insight for who runs it."""
    return (Rest(), Sse(), WebSocket(), Browser(), OpenApi(), Insight())


def several(auth: Authenticate | Sequence[Authenticate] | None) -> Sequence[Authenticate]:
    """The ways to authenticate, however many were given."""
    if auth is None:
        return ()
    return auth if isinstance(auth, Sequence) else (auth,)


def shared_with(given: Sequence[str] | Cors, *, takes_silence: bool) -> tuple[Origins, Sharing | None]:
    """The pages of other sites that may speak to the application, and what is shared with them; None for nothing."""
    cors = given if isinstance(given, Cors) else Cors(given)
    origins = Origins(cors.origins, takes_silence=takes_silence)
    return origins, Sharing(cors, origins) if origins else None


def opened_store(store: str | Store | Database | None, module: str | None) -> Store:
    """The store that is asked for, by six functions with a mirror in memory; by default the environment's, else a file
    beside the module that asks."""
    if store is None:
        file = Path(module).with_suffix(".db") if module else Path("app.db")
        store = os.environ.get("CRUDITE_STORE") or f"sqlite:///{quote(str(file))}"
    if isinstance(store, str):
        return open_store(store)
    return Mirrored(store) if isinstance(store, Database) else store


def opened_bus(bus: str | Bus) -> Bus:
    """The bus that is asked for, a new one for a URL."""
    return open_bus(bus) if isinstance(bus, str) else bus


def about_actors(rule: Filter) -> Filter:
    """A rule that speaks of nothing but who asks. Raises DeclarationError for another one."""
    if any(not isinstance(leaf, Given) for leaf in leaves(rule)):
        raise DeclarationError(['staff= takes a rule about who asks, such as allow.role("staff"), not about records.'])
    return rule
