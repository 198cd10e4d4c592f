"""The keys that an issuer publishes (RFC 7517). A token that names another key than those has them fetched again."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from crudite.auth.fetching import Address
from crudite.auth.published import Published, away
from crudite.auth.signatures import UnknownKey, opened, read_published_keys

FRESH = timedelta(minutes=10)
"""How long keys are used before they are fetched again."""
LARGEST = 256 * 1024
"""The most bytes of a set of keys."""

_AWAY = "Tokens cannot be checked now."


class PublishedKeys:
    """The keys at an address."""

    def __init__(self, url: str, algorithms: Collection[str] | None) -> None:
        self._keys = Published(
            Address.of(url), lambda body: read_published_keys(body, algorithms), "what tokens are checked with",
            fresh=FRESH, largest=LARGEST,
        )  # fmt: skip

    async def opened(self, token: str, typ: str | None, clock: Callable[[], datetime]) -> dict[str, Any]:
        """The claims of a token that the issuer signed. Raises BadToken; Unavailable when nobody knows."""
        keys = await self._keys.current(clock)
        if keys is None:
            raise away(_AWAY)
        try:
            return opened(token, keys, typ)
        except UnknownKey:
            before = self._keys.fetched
            await self._keys.renew(clock)
            if self._keys.fetched != before:
                return opened(token, await self._keys.current(clock) or (), typ)
            if self._keys.is_away:
                raise away(_AWAY) from None  # it may well be a new key
            raise
