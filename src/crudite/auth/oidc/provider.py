"""A provider of OpenID Connect: what it says of itself (Discovery 1.0), and what is asked of it behind the scenes."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from crudite.auth.fetching import Address, Answer, Unreachable, basic, fetch
from crudite.auth.jwks import PublishedKeys
from crudite.auth.published import Published, away
from crudite.clock import Clock
from crudite.errors import Unavailable

FRESH = timedelta(hours=1)
"""How long what a provider says of itself is used before it is asked again."""
SECONDS = 5.0
"""How long an answer may take."""
LARGEST = 64 * 1024
"""The most bytes of an answer."""

_log = logging.getLogger("crudite")


class Refused(Exception):
    """The provider does not take what it was shown; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself, as far as it matters here.

    `says_issuer`: it names itself when it sends a browser back (RFC 9207). `takes_basic`: a client shows its secret as
    HTTP's own credentials, and not in the form.
    """

    authorization: str
    token: Address
    userinfo: Address | None
    logout: str | None
    keys: PublishedKeys
    says_issuer: bool
    takes_basic: bool


class Provider:
    """The provider at an issuer's URL, asked by a client of these credentials. `algorithms` are those that its tokens
    may be signed with; None takes one for each key, by the key's type. Raises ValueError for a bad URL."""

    def __init__(
        self, issuer: str, client_id: str, client_secret: str | None, algorithms: Collection[str] | None
    ) -> None:
        self.issuer = issuer
        self._said = Published(
            Address.of(f"{issuer.rstrip('/')}/.well-known/openid-configuration"), self._understood,
            f"what {issuer} says of itself", fresh=FRESH, largest=LARGEST,
        )  # fmt: skip
        self._client = client_id, client_secret
        self._algorithms = algorithms
        self._keys: tuple[str, PublishedKeys] | None = None  # and where they are

    async def metadata(self, clock: Clock) -> Metadata:
        """What it says of itself. Raises Unavailable when that cannot be had."""
        said = await self._said.current(clock)
        if said is None:
            raise self.away()
        return said

    async def exchange(self, said: Metadata, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        """The tokens for a code (RFC 6749, section 4.1.3). Raises Refused, Unavailable."""
        client_id, secret = self._client
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier,
        }  # fmt: skip
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if secret is not None and said.takes_basic:
            headers["authorization"] = basic(client_id, secret)
        else:
            form |= {"client_id": client_id, **({"client_secret": secret} if secret is not None else {})}
        answer = await self._asked(said.token, method="POST", headers=headers, body=urlencode(form).encode())
        if answer.status == 400 and _word(answer) == "invalid_grant":
            raise Refused("the code counts no longer, or was not meant for this")
        return self._read(said.token, answer)

    async def userinfo(self, at: Address, access_token: str) -> dict[str, Any]:
        """What it says of whoever an access token is of (OpenID Connect Core 1.0, section 5.3). Raises Unavailable."""
        return self._read(at, await self._asked(at, headers={"authorization": f"Bearer {access_token}"}))

    def away(self) -> Unavailable:
        """The problem of whoever needs it now."""
        return away("Who signs people in here cannot be asked now.")

    async def _asked(
        self, at: Address, *, method: str = "GET", headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        try:
            return await fetch(at, method=method, headers=headers, body=body, limit=LARGEST, seconds=SECONDS)
        except Unreachable as error:
            _log.warning("nobody can be signed in: %s", error)
            raise self.away() from None

    def _read(self, at: Address, answer: Answer) -> dict[str, Any]:
        try:
            if answer.status != 200:
                raise ValueError(f"{answer.status} {_word(answer)}".rstrip())
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            _log.warning("nobody can be signed in: %s answers %s", at, error)
            raise self.away() from None

    def _understood(self, document: bytes) -> Metadata:
        """What a document says. Raises ValueError when it is not this issuer's, or cannot be used."""
        said = msgspec.json.decode(document, type=dict[str, Any])
        if said.get("issuer") != self.issuer:
            raise ValueError(f"it says that it is {said.get('issuer')!r}")
        keys_at = _url(said, "jwks_uri")
        if self._keys is None or self._keys[0] != keys_at:
            self._keys = keys_at, PublishedKeys(keys_at, self._algorithms)
        userinfo, logout = said.get("userinfo_endpoint"), said.get("end_session_endpoint")
        ways = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        return Metadata(
            authorization=_url(said, "authorization_endpoint"), token=Address.of(_url(said, "token_endpoint")),
            userinfo=Address.of(_url(said, "userinfo_endpoint")) if userinfo is not None else None,
            logout=_url(said, "end_session_endpoint") if logout is not None else None,
            keys=self._keys[1],
            says_issuer=said.get("authorization_response_iss_parameter_supported") is True,
            takes_basic=not isinstance(ways, list) or "client_secret_basic" in ways,
        )  # fmt: skip


def _url(said: Mapping[str, Any], name: str) -> str:
    """One of the URLs that a provider names. Raises ValueError when it is none, or not encrypted."""
    url = said.get(name)
    if not isinstance(url, str):
        raise ValueError(f"it names no {name}")
    Address.of(url)
    return url


def _word(answer: Answer) -> str:
    """What an answer calls its error (RFC 6749, section 5.2); nothing when it does not say."""
    try:
        said = msgspec.json.decode(answer.body, type=dict[str, Any]).get("error")
    except (ValueError, RecursionError):
        return ""
    return said[:64] if isinstance(said, str) and said.isprintable() else ""
