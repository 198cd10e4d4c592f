"""Which host names an application answers to."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from crudite.errors import Malformed
from crudite.interfaces.base import Scope

_LOOPBACK = ("127.", "::1", "localhost")
_MOST_KEPT = 1000
_LOCAL_NAMES = frozenset(("localhost", "testserver"))
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]*)(?::[0-9]{0,5})?")  # RFC 9110, section 7.2


class Hosts:
    """The names of an application: `*.example.org` stands for all names below one.

    Without a list every name is ours, except that a server on a loopback address answers to local names only:
    a foreign page whose name was pointed at 127.0.0.1 (DNS rebinding) must not reach it.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names
        self._ours: set[tuple[str | None, str]] = set()

    def refuse(self, scope: Scope, headers: Mapping[str, str]) -> Malformed | None:
        """The problem for a request to a name that is not ours; None when it is."""
        server, host = scope.get("server"), headers.get("host", "")
        if "host" not in headers and scope.get("http_version") == "1.1":
            return Malformed("A request says which host it is for (RFC 9112, section 3.2).")
        if self.admits(server[0] if server else None, host):
            return None
        name = _without_port(host)
        return Malformed(f"This server does not answer to the name {name!r}; App(hosts=[…]) or --host-name adds one.")

    def admits(self, server: str | None, host: str) -> bool:
        """Whether what a `Host` header says is a name of ours, for a server at that address."""
        asked = (server, host)
        if asked in self._ours:
            return True
        if not self._is_ours(server, host):
            return False
        if len(self._ours) < _MOST_KEPT:
            self._ours.add(asked)
        return True

    def _is_ours(self, server: str | None, host: str) -> bool:
        if _HOST.fullmatch(host.lower()) is None:  # such as two of them
            return False
        name = _without_port(host)
        if self._names is not None:
            return any(name == one or (one.startswith("*.") and name.endswith(one[1:])) for one in self._names)
        if server is None or not server.startswith(_LOOPBACK):
            return True
        return name in _LOCAL_NAMES or name.endswith(".localhost") or _is_loopback(name)


def _without_port(host: str) -> str:
    """The name alone."""
    found = _HOST.fullmatch(host.lower())
    return found[1].strip("[]") if found else host


def _is_loopback(name: str) -> bool:
    """Whether a name is an address of this machine; one that only begins like it may be anybody's."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
