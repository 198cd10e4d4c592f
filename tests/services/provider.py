"""A small provider of OpenID Connect, over a socket: discovery, sign-in, tokens, who somebody is, and signing out.

It checks what a real one checks: the redirect URI, the client, the code, which is good for one use, and the verifier.
"""

import base64
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.services.issuer import Issuer, response, rsa, signed

_KEY = rsa("one")  # one for all: it takes long to make


class Provider(Issuer):
    """The provider. `person` is who is signed in there and says yes to everything; `tells` are further claims of the
    next tokens, None takes one away; `now` is its clock, in seconds."""

    def __init__(self, now: int) -> None:
        super().__init__(_KEY)
        self.now = now
        self.person: dict[str, Any] = {"sub": "ann-7", "email": "ann@example.org", "email_verified": True}
        self.tells: dict[str, Any] = {}
        self.says_more: dict[str, Any] = {}
        """Further members of what it says of itself."""
        self.userinfo: dict[str, Any] | None = None
        """What it tells of the person when asked, where that is something else."""
        self.token_made: str | None = None
        """The ID token that it gives in place of a right one."""
        self.client: tuple[str, str | None] = ("notes", "secret of notes")
        self.redirect_uri = "https://notes.example/log-in/openid/callback"
        self.takes_codes_twice = False
        self.codes: dict[str, dict[str, str]] = {}
        self.given: dict[str, dict[str, Any]] = {}

    def _answer(self, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        parts = urlsplit(path)
        match parts.path:
            case "/.well-known/openid-configuration":
                return _json(200, self._metadata())
            case "/authorize":
                return self._authorize({name: values[0] for name, values in parse_qs(parts.query).items()})
            case "/token":
                form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
                return self._tokens(headers.get("authorization"), form)
            case "/userinfo":
                person = self.given.get(headers.get("authorization", "").removeprefix("Bearer "))
                return _json(401, {}) if person is None else _json(200, self.userinfo or person)
            case _:
                return super()._answer(path, headers, body)

    def _metadata(self) -> dict[str, Any]:
        said = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo", "jwks_uri": f"{self.url}/jwks",
            "end_session_endpoint": f"{self.url}/logout", "authorization_response_iss_parameter_supported": True,
            **self.says_more,
        }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}

    def _authorize(self, asked: dict[str, str]) -> bytes:
        is_right = (
            asked["redirect_uri"] == self.redirect_uri and asked["client_id"] == self.client[0]
            and asked["response_type"] == "code" and "openid" in asked["scope"].split()
            and asked["code_challenge_method"] == "S256"
        )  # fmt: skip
        if not is_right:
            return response(400, b"")
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url, "session_state": "more than it must"}
        return response(302, b"", f"location: {self.redirect_uri}?{urlencode(back)}")

    def _tokens(self, authorization: str | None, form: dict[str, str]) -> bytes:
        id, secret = self.client
        basic = base64.b64encode(f"{id}:{secret}".replace(" ", "+").encode()).decode()
        if authorization != f"Basic {basic}" and (form.get("client_id"), form.get("client_secret")) != self.client:
            return _json(401, {"error": "invalid_client"})
        asked = self.codes.get(form["code"]) if self.takes_codes_twice else self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if asked is None or challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return _json(400, {"error": "invalid_grant"})
        access = secrets.token_urlsafe(8)
        self.given[access] = self.person
        token = self.token_made or self.id_token(**{"nonce": asked["nonce"], **self.tells})
        return _json(200, {"access_token": access, "token_type": "Bearer", "id_token": token})

    def id_token(self, **claims: Any) -> str:
        """An ID token of the person, signed with the newest key."""
        given = {
            "iss": self.url, "aud": self.client[0], "sub": self.person["sub"], "iat": self.now, "exp": self.now + 300,
            **claims,
        }  # fmt: skip
        return signed(self.keys[-1], {name: value for name, value in given.items() if value is not None})


def _json(status: int, said: dict[str, Any]) -> bytes:
    return response(status, json.dumps(said).encode(), "content-type: application/json")


@asynccontextmanager
async def providing(now: int) -> AsyncIterator[Provider]:
    """A provider for as long as the block lasts."""
    provider = Provider(now)
    await provider.rises()
    try:
        yield provider
    finally:
        provider.answers.set()
        await provider.falls()
