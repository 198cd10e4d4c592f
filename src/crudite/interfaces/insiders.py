"""Who may look behind the scenes: clients on the same machine, staff, and anybody under `crudite dev`."""

from crudite.errors import NotFound, Problem
from crudite.interfaces.base import Host, Scope
from crudite.interfaces.http import Headers, credentials_of, read_headers
from crudite.interfaces.origins import is_own
from crudite.query.tree import NOTHING
from crudite.rules import holds

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


async def check_insider(host: Host, scope: Scope) -> None:
    """Raises NotFound, as for an address where nothing is, when a request comes from somebody else."""
    headers = read_headers(scope)
    if is_of_others(scope, headers):
        raise NotFound("There is nothing at this address.")
    if host.mode == "dev" or is_local(scope, headers) or await _is_staff(host, headers, scope):
        return
    raise NotFound("There is nothing at this address.")


def is_of_others(scope: Scope, headers: Headers) -> bool:
    """Whether a page of another origin has made a request, whose visitor may be on this machine."""
    origin = headers.get("origin")
    return origin is not None and not is_own(origin, scope, headers)


def is_local(scope: Scope, headers: Headers) -> bool:
    """Whether a request comes from this machine itself, and not through a proxy on it."""
    client = scope.get("client")
    if client is None or any(name in headers for name in _FORWARDED):
        return False
    address = str(client[0])
    return address == "::1" or address.startswith(("127.", "::ffff:127."))


async def _is_staff(host: Host, headers: Headers, scope: Scope) -> bool:
    if host.staff == NOTHING:
        return False
    try:
        actor = await host.identify(credentials_of(headers, scope))
    except Problem:  # credentials that are no good: whoever it is learns nothing here
        return False
    return holds(host.staff, actor)
