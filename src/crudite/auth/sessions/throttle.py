"""How often somebody may try a password.

Tries are counted by the address they come from, and by the account they are for. An account is never closed by that: it
gets further tries as time passes, and addresses from which its owner is signed in have tries of their own, which no
stranger can use up. A name that nobody has is counted like any other, so that the answer does not tell.
"""

from crudite.limiting import Limiter, Rate, network
from crudite.types import Key

ACCOUNT_RATE = Rate("10/5 minutes", name="log-in by account")
ADDRESS_RATE = Rate("100/5 minutes", name="log-in by address")
VISITOR_RATE = Rate("100/hour", name="visitors by address")
MAIL_RATE = Rate("5/hour", name="mail by account")


class Throttle:
    """Counts tries, and slows those down who try too often. Its methods raise TooManyRequests, which says when to come
    again."""

    def __init__(self, limiter: Limiter, account: Rate, address: Rate, visitor: Rate) -> None:
        self._limiter = limiter
        self._account = account
        self._address = address
        self._visitor = visitor
        self._names = Rate(address.quota, burst=address.burst, name="accounts by address")

    async def from_address(self, address: str | None) -> None:
        """Somebody at this address tries something."""
        await self._take(f"address {place(address)}", self._address)

    async def on_account(self, name: str, address: str | None, *, at_home: bool) -> None:
        """Somebody tries a password of the account with this name. `at_home` says that its owner is signed in at the
        address already."""
        key = (
            f"home {place(address)} {name}" if at_home else f"account {name}"
        )  # whatever the name is, they do not meet
        await self._take(key, self._account)

    async def in_session(self, session: str) -> None:
        """Somebody tries the password of the account that he is signed in to: whoever has stolen the session, from
        wherever he likes."""
        await self._take(f"session {session}", self._account)

    async def visitor(self, address: str | None) -> None:
        """Somebody without an account at this address gets a session, which costs a row."""
        await self._take(f"address {place(address)}", self._visitor)

    async def may_mail(self, name: str, account: Key) -> bool:
        """Whether one more mail may go to an account: strangers can ask for them. It is counted by the account, which
        can change its address, and by the mailbox, for which there can be several accounts."""
        own = await self._limiter.take(f"account {account}", MAIL_RATE)
        return own.is_allowed and (await self._limiter.take(f"mailbox {name.casefold()}", MAIL_RATE)).is_allowed

    async def names(self, address: str | None, many: int) -> None:
        """Somebody at this address writes so many names of accounts: as many as he may try passwords, counted apart, so
        that whoever makes accounts for others can still log in."""
        await self._take(f"address {place(address)}", self._names, min(max(many, 1), self._names.burst))

    async def _take(self, key: str, rate: Rate, cost: int = 1) -> None:
        verdict = await self._limiter.take(key, rate, cost)
        if not verdict.is_allowed:
            raise verdict.problem()


def place(address: str | None) -> str:
    """What an address counts as; nothing for none."""
    return network(address) if address else ""
