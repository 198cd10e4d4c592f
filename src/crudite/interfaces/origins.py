"""Which pages may speak to an application from a browser: its own, and those of the origins that it lists.

An origin is what browsers tell of the page that makes a request (RFC 6454): scheme, host and port. One list decides
for everything: what other pages may read (`cors`), whose WebSockets and streams are opened, and whose writes are taken
with the cookies of a user.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from crudite.errors import DeclarationError, Forbidden

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "QUERY"))
CSRF_HEADER = "x-csrf-token"
EVERYBODY = "*"
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SAFE = frozenset(("https", "wss"))
_DIALOGS = ("basic", "digest", "negotiate", "ntlm")
_OWN = frozenset(("same-origin", "none"))
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[\w.-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)


class Origin(NamedTuple):
    """One origin. `host` is in lower case, and of a name with other letters the form that travels (RFC 5891)."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def of(cls, text: str) -> Self | None:
        """What a text says; None for what is no origin, as `null` is none (a page that has none of its own)."""
        found = _ORIGIN.fullmatch(text)
        if found is None:
            return None
        scheme = found[1].lower()
        return cls(scheme, _traveling(found[2]), int(found[3]) if found[3] else _PORTS.get(scheme))

    def is_at(self, host: str, scheme: str) -> bool:
        """Whether a request that was sent to a host, over a scheme, was sent to this origin.

        A proxy in front may have taken the encryption away, so that a request that came without it can be of a page
        that came with it; but never the other way round: what anybody on the network can write is no page of ours.
        """
        if self.scheme not in _PORTS or (scheme in _SAFE and self.scheme not in _SAFE):
            return False
        sent_to = Origin.of(f"{self.scheme}://{host}")
        return sent_to == self


class Origins:
    """The origins that an application lists: `https://app.example.org`, with its port if it has one of its own;
    `https://*.example.org` for all hosts below one; and `*` for anybody, who then reads what is public, and no more.

    `takes_silence` tells whether a request with a cookie, of which the browser does not say whose page has made it, is
    taken without a token of ours. Raises DeclarationError, naming every fault, for what is no origin.
    """

    def __init__(self, listed: Sequence[str] = (), *, takes_silence: bool = True) -> None:
        if isinstance(listed, str):
            raise DeclarationError([f"origins= is a list of texts, such as [{listed!r}]."])
        self.listed = tuple(listed)
        self.takes_silence = takes_silence
        self.admits_everybody = EVERYBODY in self.listed
        self._exact: set[Origin] = set()
        self._below: set[Origin] = set()
        faults = [fault for one in self.listed if one != EVERYBODY and (fault := self._add(one))]
        if faults:
            raise DeclarationError(faults)

    def _add(self, text: str) -> str:
        scheme, mark, rest = text.partition("://*.")
        origin = Origin.of(f"{scheme}://{rest}" if mark else text)
        if origin is None:
            return f"{text!r} is no origin, such as https://app.example.org."
        if mark and ("." not in origin.host or origin.host.startswith("[")):
            return f"{text!r} would be all hosts of a domain of the top."
        (self._below if mark else self._exact).add(origin)
        return ""

    def __bool__(self) -> bool:
        return bool(self.listed)

    def lists(self, text: str) -> bool:
        """Whether what an `Origin` header says is one of the list; everybody is nobody in particular."""
        origin = Origin.of(text)
        if origin is None:
            return False
        if origin in self._exact:
            return True
        above = origin.host.partition(".")[2]
        while above:
            if origin._replace(host=above) in self._below:
                return True
            above = above.partition(".")[2]
        return False

    def trusts(self, text: str, scope: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
        """Whether an `Origin` header names a page of ours, or of the list."""
        return is_own(text, scope, headers) or self.lists(text)

    def admits(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
        """Whether a connection that lives may be opened by the page that the browser names. Clients that are no
        browsers name none."""
        origin = headers.get("origin")
        return origin is None or self.trusts(origin, scope, headers)

    def is_foreign(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
        """Whether a browser says that a page made this request that is neither ours nor of the list: by
        `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin`, or else by `Referer`."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None:
            return site not in _OWN and not (origin is not None and self.lists(origin))
        if origin is None:
            referer = headers.get("referer")
            origin = None if referer is None else _origin_of_page(referer)
        return origin is not None and not self.trusts(origin, scope, headers)

    def refuse_forgery(
        self, method: str, scope: Mapping[str, Any], headers: Mapping[str, str], is_proven: bool = False
    ) -> None:
        """Refuses an unsafe request that a foreign page made the browser send in the user's name. `is_proven` says
        that it has shown a token that only a page of ours can have. Raises Forbidden."""
        if method in SAFE_METHODS or not shows_by_itself(headers):
            return
        if self.is_foreign(scope, headers):
            raise Forbidden("This request comes from another site, with what the browser keeps for this one.")
        if self.takes_silence or is_proven or says_whence(headers):
            return
        raise Forbidden(f"A browser that does not say where a request comes from sends {CSRF_HEADER}, with a cookie.")


def shows_by_itself(headers: Mapping[str, str]) -> bool:
    """Whether a request shows what browsers send without being asked, whatever page has made it: cookies, and the
    password of a dialog of theirs (RFC 9110, section 11; RFC 7617)."""
    if "cookie" in headers:
        return True
    return headers.get("authorization", "").partition(" ")[0].lower() in _DIALOGS


def says_whence(headers: Mapping[str, str]) -> bool:
    """Whether the browser says whose page has made a request."""
    return any(name in headers for name in ("sec-fetch-site", "origin", "referer"))


def is_own(text: str, scope: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Whether an `Origin` header names the origin that the request was sent to."""
    origin = Origin.of(text)
    return origin is not None and origin.is_at(headers.get("host", ""), scope.get("scheme", "http"))


def _origin_of_page(address: str) -> str:
    """The origin of a page, by its address."""
    parts = re.match(r"([^/?#]*//[^/?#]*)(?:[/?#]|$)", address)
    return parts[1] if parts else "null"


def _traveling(host: str) -> str:
    """A host as it travels."""
    if host.isascii():
        return host.lower()
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        return host
