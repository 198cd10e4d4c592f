"""Tickets in addresses (`auth.tickets`): taken out before anything is logged, and used where a connection begins."""

from collections.abc import Mapping
from dataclasses import replace

from crudite.auth.tickets import TICKET_PREFIX
from crudite.errors import Malformed, StoreError, Unauthorized, Unavailable
from crudite.interfaces.base import Host, Scope
from crudite.interfaces.http import SHOWN, credentials_of

_TICKET = b"ticket=" + TICKET_PREFIX.encode()
_TAKEN = "crudite.ticket"


def take_ticket(scope: Scope) -> None:
    """Takes a ticket out of the address of a request, in place: servers write their logs from the same scope."""
    query: bytes = scope.get("query_string", b"")
    if _TICKET in query:
        parts = query.split(b"&")
        tickets = [part for part in parts if part.startswith(_TICKET)]
        if tickets:
            scope["query_string"] = b"&".join(part for part in parts if not part.startswith(_TICKET))
            scope[_TAKEN] = tickets[0].partition(b"=")[2].decode("latin-1")


def refuse_ticket(scope: Scope) -> None:
    """Raises Malformed for a ticket where none is taken."""
    if _TAKEN in scope:
        raise Malformed("A ticket opens a WebSocket or an event stream, and nothing else.")


async def redeem_ticket(host: Host, scope: Scope, headers: Mapping[str, str]) -> None:
    """Whoever comes with a ticket shows what it was given for, and nothing else. Raises Unauthorized for one that does
    not count, or of somebody whose credentials do not count any more."""
    ticket = scope.pop(_TAKEN, None)
    if ticket is None:
        return
    try:
        found = await host.identify.redeem(ticket)
    except StoreError as error:
        raise Unavailable("The database cannot do that now.", headers={"retry-after": "2"}) from error
    if found is None:
        raise Unauthorized("The ticket does not count, or not any more.")
    here = credentials_of(headers, scope)
    shown = replace(found, headers={**here.headers, **found.headers}, address=here.address)
    if not (await host.identify(shown)).is_known:
        raise Unauthorized("The ticket is of somebody who is not signed in any more.")
    scope[SHOWN] = shown
