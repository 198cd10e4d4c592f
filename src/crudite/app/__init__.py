"""The application: the one place where the parts are made and joined."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from crudite.app.arguments import check_arguments
from crudite.app.declarations import Declarations
from crudite.app.defaults import about_actors, default_interfaces, opened_bus, opened_store, several, shared_with
from crudite.app.entrance import find_endpoint, refuse, serve_lifespan
from crudite.app.siblings import Siblings
from crudite.app.upkeep import beside, upkeep
from crudite.auth import Authenticate, Authenticator, Identification, Narrowing
from crudite.buses.base import Bus
from crudite.channels import Channel, Channels, Hub
from crudite.clock import Clock
from crudite.errors import DeclarationError, Problem
from crudite.ids import new_request_id
from crudite.interfaces.base import Admission, Interface, Limits, Receive, Router, Scope, Send, Worker
from crudite.interfaces.cors import Cors
from crudite.interfaces.forgery import OldBrowsers
from crudite.interfaces.hosts import Hosts
from crudite.interfaces.rest import Rest
from crudite.interfaces.rest.quick import QuickAnswers, QuickResource
from crudite.interfaces.tickets import take_ticket
from crudite.limiting import Counts, Limiter, Rate, Rates, counted_in, network, open_counts
from crudite.live import Engine, Retention
from crudite.messages import ANONYMOUS, Response
from crudite.pipeline import Pipeline
from crudite.query.simplify import join
from crudite.query.tree import Filter
from crudite.resources.actions import Actions
from crudite.resources.declaring.compile import compile_resources
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.definition import Definitions
from crudite.resources.handlers import perform_handler
from crudite.resources.hooks import call
from crudite.resources.records import Records
from crudite.resources.request import Request
from crudite.rules import allow
from crudite.server.guard import Guard
from crudite.server.quick import Quick
from crudite.stores.base import Store
from crudite.stores.mirrored import Database
from crudite.tokens import Sealer

Mode: TypeAlias = Literal["run", "dev"]

_log = logging.getLogger("crudite")


class App(Declarations):
    """An application made of resources: `app = App(Todo)`. It is an ASGI application, for any ASGI server.

    `store` is a URL such as `sqlite:///todo.db`, or a store; by default the environment variable `CRUDITE_STORE`,
    else a SQLite file beside the module that makes the application, and called as it. `auth` tells who shows some
    credentials: a function, or ways such as `Sessions(Account)`, of which the first that knows them decides.
    `interfaces` are the ways to speak, by default REST, server-sent events, WebSocket, the browser client and the API
    description. `provide` gives handlers what they need: a type and how to make it. `lifespan` is run around the
    application's life, given the app.
    `hosts` are the names it answers to; without it, any, but on a loopback address only local names. `limits` bounds
    what one client may ask for, `retention` how far back the change log reaches. `clock` tells what rules, queries and
    defaults mean by `now`: a function that returns a time with a zone, by default the machine's. `bus` is a URL such as
    `nats://127.0.0.1`, or a bus, by which processes on the same store wake each other; by default the environment
    variable `CRUDITE_BUS`, else none. `rates` say how often one client may come, and `rates_store` where that is
    counted: `shared` among all processes over the bus, within milliseconds; exactly in the database (`store`) or on a
    server (`redis://host`); in each process alone (`memory`). `staff` is the rule, such as `allow.role("staff")`, for
    who may look behind the scenes from another machine (see `Insight`).
    `origins` are the pages of other sites that may speak to it from a browser, such as `https://app.example.org` or
    `https://*.example.org`, with the cookies of their users; `*` is for anybody, without those. `old_browsers` says
    that browsers which do not tell where a request comes from write with a token only (`GET /csrf-token`).
    `channels` are what clients may join to hear what is told at the moment and kept nowhere.

    Raises DeclarationError, naming every fault, when the resources cannot work together.
    """

    def __init__(
        self,
        *resources: type[Record[Any]],
        store: str | Store | Database | None = None,
        auth: Authenticate | Sequence[Authenticate] | None = None,
        interfaces: Sequence[Interface] | None = None,
        provide: dict[Any, Callable[..., Any]] | None = None,
        lifespan: "Callable[[App], AbstractAsyncContextManager[Any]] | None" = None,
        hosts: Sequence[str] | None = None,
        limits: Limits | None = None,
        retention: Retention | None = None,
        clock: Callable[[], datetime] | None = None,
        bus: str | Bus | None = None,
        rates: Sequence[Rate] = (),
        rates_store: str | Counts = "shared",
        staff: Filter = allow.nobody,
        origins: Sequence[str] | Cors = (),
        old_browsers: bool = False,
        channels: Sequence[Channel] = (),
        title: str | None = None,
    ) -> None:
        check_arguments(
            resources,
            {"store": store, "auth": auth, "interfaces": interfaces, "provide": provide, "lifespan": lifespan,
             "hosts": hosts, "clock": clock, "rates": rates, "channels": channels},
        )  # fmt: skip
        self.title = title or "Crudite"
        self.limits = limits or Limits()
        self.retention = retention or Retention()
        self.clock = Clock.of(clock)
        self.admission = Admission(self.limits)
        self.guard = Guard(self.limits, self.admission.passed, network)
        self.staff = about_actors(staff)
        self.is_leaving = False
        self.worker: Worker | None = None
        """Which one it is of several processes behind one port, where it is; to be set before it starts."""
        self.mode: Mode = "dev" if os.environ.get("CRUDITE_MODE") == "dev" else "run"
        ways = several(auth)
        joining = self._joining = [way for way in ways if isinstance(way, Authenticator)]
        resources = tuple(dict.fromkeys((*resources, *(kept for way in joining for kept in way.resources))))
        narrow = [way.narrow for way in joining if isinstance(way, Narrowing)]
        self.staff = join((self.staff, *(one("insight", "read") for one in narrow)), either=False)
        self.definitions: Definitions = compile_resources(
            resources, open=self.mode == "dev", narrow=narrow, provide=provide or {}
        )
        self.channels = Channels(channels, self.definitions)
        self.store = opened_store(store, sys._getframe(1).f_globals.get("__file__"))  # noqa: SLF001 (the module that makes the application)
        self.hosts = hosts
        self.origins, self._sharing = shared_with(origins, takes_silence=not old_browsers)
        self.identify = Identification(ways, self.clock)
        self._seconds = None if clock is None else lambda: self.clock().timestamp()
        self.limiter = Limiter(self._seconds or monotonic)
        self._rates, self._rates_store = Rates(rates, self.limiter), rates_store
        self.definitions.catalog = counted_in(rates_store, self.definitions.catalog)
        self._asked_bus = bus if bus is not None else os.environ.get("CRUDITE_BUS") or "local:"
        self.bus = opened_bus(self._asked_bus)
        self.interfaces = tuple(interfaces) if interfaces is not None else default_interfaces()
        if old_browsers:
            self.interfaces += (OldBrowsers(),)
        super().__init__(provide or {})
        self._user_lifespan = lifespan
        self.pipeline = Pipeline(
            self.identify, self._rates, self._middleware, self._error_handlers, self._perform, self.definitions
        )
        self._siblings: Siblings | None = None
        self._running: AsyncExitStack | None = None
        self._starting: asyncio.Lock | None = None
        self._router: Router | None = None
        self._quick: Quick | None = None
        for way in joining:
            way.join(self)
        self.check_routes()
        self._counts()

    # what application code asks for

    @property
    def records(self) -> Records:
        """The records API, acting as the server itself: hooks run, no rule holds."""
        return Records(self._actions.performer(self._system_request()))

    async def revoke(self, *, account: str | int | None = None, session: str | None = None) -> None:
        """Has `auth` judge anew whoever lives on an answer of it: all connections of an account (an `Actor.id`), or
        those of one session (an `Actor.session`). Call it when a session has ended, or the rights have changed.

        A connection whose credentials are refused by now, or are nobody's or somebody else's, is told so and closed.
        One whose actor has other rights is moved to what he may see. Returns when all in this process are; the other
        processes on the store do the same as soon as they have come there in the change log.

        Raises TypeError unless one of the two is given, RuntimeError where the application has not been started; and
        from `auth` itself and a handler that a live query reads, which it would wait for.
        """
        if (account is None) == (session is None):
            raise TypeError("revoke() takes an account or a session")
        if self._siblings is None:
            raise RuntimeError("the application is not running, so it cannot tell others what is revoked")
        await self._siblings.revoke(account=account, session=session)

    async def emit(self, channel: str | type[Record[Any]], event: str, data: Any = None) -> None:
        """Tells everybody who is in a channel, in all processes, something that is kept nowhere: each hears it at most
        once, and whoever is not there now never. What is emitted in one process is heard in that order.

        `data` is what JSON can hold; records show what is not secret, to everybody who may be there. With a resource in
        place of a channel `data` is one of its records, or the key of one, and goes to those in the channels of the
        resource who may read it: to each as he may.

        Raises NotFound for what can be no channel, TooLarge for more than the bus carries, RuntimeError where the
        application has not been started.
        """
        if self._running is None:
            raise RuntimeError("the application is not running, so nobody is in a channel")
        await self.hub.emit(channel, event, data)

    # its life

    @asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """The life of the application, for a server that mounts it: `FastAPI(lifespan=app.lifespan)`."""
        async with self:
            yield

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Opens the store and starts the live engine; once, however often it is called."""
        if self._running is not None:
            return
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._running is None:
                async with AsyncExitStack() as stack:
                    await self._open(stack)
                    self._running = stack.pop_all()
                    self.is_leaving = False

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._running is not None

    async def say_goodbye(self, within: float = 0.0) -> None:
        """Ends living connections, telling each when to come back: a tenth of them a second, all of them within so many
        seconds. Nobody new is accepted; requests are answered until `stop`."""
        if self._running is not None:
            self.is_leaving = True
            await self.engine.drain(within)
            await self._living.aclose()

    async def settled(self) -> None:
        """Returns when everything that was committed before the call has been handed to every living connection, what
        other processes have revoked before it included.

        A barrier for tests. Raises RuntimeError when the application is not running.
        """
        if self._running is None or self._siblings is None:
            raise RuntimeError("the application is not running")
        await self.engine.settled()
        await self._siblings.settled()
        await self.engine.settled()

    async def stop(self) -> None:
        """Says goodbye to living connections, finishes what was accepted, closes the store."""
        if self._starting is None:
            return
        async with self._starting:  # a request that comes meanwhile must not start what is still being closed
            running, self._running, self._router = self._running, None, None
            if running is not None:
                await running.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        names = {*self.definitions.by_path, *self.handlers, *(channel.pattern for channel in self.channels)}
        if faults := [*self._rates.faults(names), *self._faults_of_steps(names)]:
            raise DeclarationError(faults)
        await self.store.open(self.definitions.catalog)
        stack.push_async_callback(self.store.close)
        for way in self._joining:
            if isinstance(way, AbstractAsyncContextManager):
                await stack.enter_async_context(way)
        self.sealer = Sealer(self.store.secret)
        self._actions = Actions(self.definitions, self.store, self.sealer, self.clock)
        self._living = await stack.enter_async_context(AsyncExitStack())
        catalog, secret, limits = self.definitions.catalog, self.store.secret, self.limits.live
        self.bus = opened_bus(self._asked_bus)  # a bus of ours works once, and an application may start again
        await self._living.enter_async_context(self.bus)
        await self._living.enter_async_context(self.limiter.counting(self._counts()))
        siblings = self._siblings = Siblings(self.store, self.bus, self.identify.living, limits.tick)
        await self._living.enter_async_context(beside(siblings.run()))
        foresee = siblings.foresee if self.is_private else None
        engine = Engine(
            self.store, catalog, secret=secret, limits=limits, clock=self.clock, hear=siblings.hear, foresee=foresee
        )
        self.engine = await self._living.enter_async_context(engine)
        reading = self._actions.reading
        self.hub = Hub(self.channels, self.bus, self.limits.channels, limits.outbox // 4, reading)
        if self.channels:
            await self._living.enter_async_context(beside(self.hub.run()))
        for work in upkeep(self, self.store, self.retention):
            await self._living.enter_async_context(beside(work))
        for kind, make in self._provide.items():
            self.definitions.provided[kind] = await call(make)
        if self._user_lifespan is not None:
            await stack.enter_async_context(self._user_lifespan(self))
        self._router = self._routes()
        self._quick = self._quick_answers(self._router)

    # requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entrance."""
        if scope["type"] == "lifespan":
            return await serve_lifespan(receive, send, self.start, self.stop)
        if self._running is None:
            _log.info("started by the first request: the server that mounts this application sends no lifespan")
            await self.start()
        assert self._router is not None
        take_ticket(scope)
        if self._sharing is not None and scope["type"] == "http":
            if await self._sharing.answers_preflight(scope, send):
                return None
            send = self._sharing.sharing(scope, send)
        found = find_endpoint(scope, self._router, self._own_hosts)
        if isinstance(found, Problem):
            return await refuse(scope, receive, send, found, self._files, self._router)
        endpoint, parameters = found
        await endpoint(scope, receive, send, parameters)

    @property
    def quick(self) -> Quick | None:
        """The answers that our own server may have without the ordinary way; None where there are none."""
        return self._quick if self._running is not None else None

    def performer(self, request: Request) -> Any:
        """The records API's way to act as the actor of a request."""
        return self._actions.performer(request)

    @property
    def hosts(self) -> Sequence[str] | None:
        """The names that the application answers to; None for any."""
        return self._hosts

    @hosts.setter
    def hosts(self, names: Sequence[str] | None) -> None:
        self._hosts = tuple(names) if names is not None else None
        self._own_hosts = Hosts(self._hosts)

    @property
    def rates(self) -> Rates:
        """How often one client may come."""
        return self._rates

    @property
    def is_private(self) -> bool:
        """Whether answers can depend on who asks."""
        return self.identify.is_needed

    @property
    def routes(self) -> Router:
        """What answers which path."""
        return self._router or self._routes()

    async def _perform(self, request: Request) -> Response:
        if request.action == "call":
            if request.name in self.channels:
                return self.channels.judge(request, self._actions.live_queries)
            return await perform_handler(self.handlers[request.name], request, self._actions, self.definitions.provided)
        return await self._actions.perform(request)

    # joining

    def _counts(self) -> Counts:
        where = self._rates_store
        if not isinstance(where, str):
            return where
        return open_counts(where, self.limiter.memory, self.bus, self.store, self._seconds)

    def _routes(self) -> Router:
        router = Router()
        for interface in self.interfaces:
            interface.mount(self, router)
        return router

    def _quick_answers(self, router: Router) -> Quick | None:
        if self.is_private or self.origins:
            return None
        every: dict[bytes, QuickResource] = {}
        for interface in self.interfaces:
            if isinstance(interface, Rest):
                every |= interface.quick(self, self._actions, router, self.store)
        return QuickAnswers(every, lambda server, host: self._own_hosts.admits(server, host), self.pipeline, self.store)

    def check_routes(self) -> None:
        """Raises DeclarationError when two resources or handlers want the same path."""
        router = Router()
        faults = [fault for interface in self.interfaces for fault in interface.mount(self, router)]
        if faults:
            raise DeclarationError(dict.fromkeys(faults))  # two interfaces may share a style

    def _system_request(self) -> Request:
        return Request(
            "list", "", actor=ANONYMOUS, is_system=True, id=new_request_id(), performers=self._actions.performer
        )


__all__ = ["App", "default_interfaces"]
