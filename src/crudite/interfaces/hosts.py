"""Which host names an application answers to."""

from collections.abc import Sequence

from crudite.errors import Malformed
from crudite.interfaces.base import Scope

_LOOPBACK = ("127.", "::1", "localhost")
_LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "::1", "testserver"))


def refuse_host(scope: Scope, hosts: Sequence[str] | None) -> Malformed | None:
    """The problem for a request to a name that is not ours; None when it is.

    Without a list every name is ours, except that a server on a loopback address answers to local names only:
    a foreign page whose name was pointed at 127.0.0.1 (DNS rebinding) must not reach it.
    """
    server = scope.get("server")
    if hosts is None and not (server and str(server[0]).startswith(_LOOPBACK)):
        return None
    name = _host_name(scope)
    if hosts is None:
        ours = name in _LOCAL_NAMES or name.endswith(".localhost") or name.startswith("127.")
    else:
        ours = any(name == host or (host.startswith("*.") and name.endswith(host[1:])) for host in hosts)
    if ours:
        return None
    return Malformed(f"This server does not answer to the name {name!r}; App(hosts=[…]) or --host-name adds one.")


def _host_name(scope: Scope) -> str:
    for raw_name, raw_value in scope["headers"]:
        if raw_name == b"host":
            value: str = raw_value.decode("latin-1").lower()
            return value[1:].partition("]")[0] if value.startswith("[") else value.partition(":")[0]
    return ""
