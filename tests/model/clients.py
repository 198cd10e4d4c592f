"""Clients that do what the wire's documentation says and nothing else, and report every moment at which it says that
what they hold is a whole state."""

import asyncio
from collections.abc import Callable
from typing import Any

from crudite.testing import Line
from crudite.testing.asgi import Exchange, make_scope
from tests.model.held import Held, Shown, Violation
from tests.model.oracle import Row, Who
from tests.model.roles import FLEETING, Roles

Report = Callable[[list[Held]], None]
"""Called with subscriptions of one connection that now stand at one position."""


class Client:
    """Somebody with one connection at a time, to `app`: which may be another process the next time."""

    kind = ""

    def __init__(self, app: Any, number: int, report: Report, roles: Roles) -> None:
        self.app = app
        self.number = number
        self.token: str | None = "ann"
        self.subs: dict[str, Held] = {}
        self.too_large: list[Shown] = []  # subscriptions that were ended since they hold too much
        self.line = Line()
        self.exchange: Exchange | None = None
        self.failure: BaseException | None = None
        self.is_let_in = False  # whether it has ever been taken for anybody on this connection
        self.told = asyncio.Event()
        self._report = report
        self._roles = roles
        self._reading: asyncio.Task[None] | None = None
        self._made = 0

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return f"{self.kind}{self.number}"

    @property
    def who(self) -> Who:
        """Who shows its token now."""
        return self._roles.identify(self.token)

    @property
    def is_connected(self) -> bool:
        """Whether something may still come."""
        return self._reading is not None and not self._reading.done() and not self.line.is_cut

    @property
    def is_at_rest(self) -> bool:
        """Whether it is connected and holds all its sets; or has none."""
        return not self.subs or (self.is_connected and all(sub.is_ready for sub in self.subs.values()))

    async def until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Waits until something holds, or the connection is lost. Raises Violation."""
        try:
            async with asyncio.timeout(seconds):
                while self.is_connected and not holds():
                    self.told.clear()
                    await self.told.wait()
        except TimeoutError:
            waiting = [sub.name for sub in self.subs.values() if not sub.is_ready]
            raise Violation(f"{self.name} waited for {seconds} s; not ready: {waiting}") from None

    async def leave(self) -> None:
        """Ends the connection, if there is one."""
        exchange, self.exchange = self.exchange, None
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if exchange is not None:
            try:
                async with asyncio.timeout(20):
                    await exchange.__aexit__(None, None, None)
            except TimeoutError:
                raise Violation(f"the application goes on with {self.name}, which has gone away") from None
            except ConnectionResetError:
                pass  # a server would say the same of a client that is gone
            except Exception as error:
                raise Violation(f"the application failed under {self.name}: {error!r}") from error

    async def _connect(self, scope: Row, *messages: Row) -> None:
        self.line, self.is_let_in = Line(), False
        self.exchange = Exchange(self.app, scope, self.line)
        await self.exchange.__aenter__()
        for message in messages:
            self.exchange.send(message)
        self._reading = asyncio.create_task(self._read(self.exchange))

    async def _read(self, exchange: Exchange) -> None:
        try:
            while (message := await exchange.take()) is not None:
                self._take(message)
                self.told.set()
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError | ConnectionResetError):
                self.failure = error
            raise
        finally:
            self.told.set()

    def judge(self, who: Who) -> None:
        """All that is told has been judged by the rights of this one."""
        for sub in self.subs.values():
            sub.who, sub.other = who, None

    def lose(self, sub: Held) -> None:
        """A subscription is over."""
        sub.is_over = True
        self.subs.pop(sub.name, None)

    def _take(self, message: Any) -> None:
        raise NotImplementedError

    def _ended(self, sub: Held, problem: Row) -> None:
        """A problem ends a subscription: the application stops, it may not be asked for any more, or is too large."""
        if problem["status"] == 503:
            raise ConnectionResetError
        if problem["status"] == 413:
            self.too_large.append(sub.copy())
        elif not (problem["status"] == 401 and self._may_be_refused(sub)):
            raise Violation(f"{sub.name} of {sub.who} ended: {problem}")
        self.lose(sub)

    def _may_be_refused(self, sub: Held) -> bool:
        asks_in_vain = any(who is not None and sub.asked.is_refused(who) for who in (sub.who, sub.other))
        return asks_in_vain or self._roles.is_doubtful(self.token)

    def _expired(self, problem: Row, *shown: str | None) -> None:
        """A problem ends the connection: its credentials hold no longer; or never did, and it has nothing to lose."""
        tokens = (self.token, *shown)
        holds = self.is_let_in and not any(
            (token or "").endswith(FLEETING) or self._roles.is_doubtful(token) for token in tokens
        )
        if problem["status"] != 401 or holds:
            raise Violation(f"{self.name} was closed: {problem}")

    def _new_name(self) -> str:
        self._made += 1
        return f"{self.name}q{self._made}"

    def _scope(self, kind: str, url: str, **headers: str) -> Row:
        shown = {"authorization": f"Bearer {self.token}"} if self.token is not None else {}
        return dict(make_scope(kind, "GET", url, None, {**shown, **headers}, ""))
