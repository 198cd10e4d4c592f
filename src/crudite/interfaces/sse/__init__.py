"""Server-sent events (WHATWG HTML, section 9.2): a live query as an event stream.

Every event has an `id:`, so that a client that was cut off after any of them resumes exactly: it is the last
position complete before the event; only the last event of a frame carries the frame's own. The id holds the
cursor and a key that proves at a resume that the same is asked for with the same rights.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from crudite.channels import Channel
from crudite.errors import Fault, Forbidden, Malformed, Problem, TooManyRequests, Unauthorized
from crudite.ids import new_request_id
from crudite.interfaces.addresses import key_in, nesting_in
from crudite.interfaces.base import EVENT_STREAM, Host, Receive, Router, Scope, Send
from crudite.interfaces.http import (
    Headers,
    credentials_of,
    decode_json,
    parameters_of,
    read_headers,
    send_problem,
    suppress_gone,
    url_arguments,
)
from crudite.interfaces.marks import names_mark, pass_mark
from crudite.interfaces.origins import shows_by_itself
from crudite.interfaces.speaking import channel_name
from crudite.interfaces.sse.channels import ChannelStream
from crudite.interfaces.sse.format import NOWHERE, Spelling, Waiting, has_same_schema, proof_of
from crudite.interfaces.sse.guest import StreamGuest
from crudite.interfaces.sse.resuming import resume_id, without_resuming
from crudite.interfaces.sse.retelling import Retell, Retelling
from crudite.interfaces.styles import DEFAULT, Asked, Style, style_of
from crudite.interfaces.subscribing import live_query
from crudite.interfaces.tickets import redeem_ticket
from crudite.limiting import Verdict, rate_fields
from crudite.live import Connection, Holds
from crudite.messages import Actor, Credentials, Live, LiveQuery
from crudite.resources.declaring.definition import Placement
from crudite.resources.handlers import Handler
from crudite.resources.request import Request
from crudite.server.extension import Sink, sink_of

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class Sse:
    """The server-sent events interface, below `prefix`.

    `style` is how the streams of resources speak: as this module says, or as those of an older system did:
    `"wheelhouse"`, or `Wheelhouse(…)` with its options. Raises ValueError for a style that has no streams.
    """

    name = "sse"

    def __init__(self, prefix: str = "", style: str | Style = DEFAULT) -> None:
        self.prefix = prefix.rstrip("/")
        self.style = style_of(style)
        if self.style is not DEFAULT and self.style.words is None:
            raise ValueError(f"the {self.style.name} style has no event streams")

    def mount(self, host: Host, router: Router) -> list[str]:
        """Adds a stream beside every list, record, reading handler and channel, and one for several queries."""
        streams = _Streams(host, self.style)
        taken: list[str | None] = []
        if self.style is DEFAULT:
            taken.append(router.add(f"{self.prefix}/subscribe", ["GET"], streams.several, EVENT_STREAM))
        for definition in host.definitions:
            for place in host.definitions.places[definition]:
                if "subscribe" in place.actions:
                    taken += self._mount_resource(streams, router, place)
        for handler in host.handlers.values():
            if handler.kind == "read":
                path = f"{self.prefix}/{handler.name}"
                taken.append(router.add(f"{path}/subscribe", ["GET"], streams.handler(handler), handler.name))
                router.add(path, ["STREAM"], streams.handler(handler), handler.name)
        for channel in host.channels:
            path = f"{self.prefix}/channels/{channel.pattern}"
            taken += [router.add(one, ["GET"], streams.channel(channel), path) for one in (path, f"{path}/subscribe")]
        faults = self.style.faults(host.definitions) + router.speak_below(self.prefix, self.style.narrowing)
        return faults + [f"{owner} has the path of an event stream already." for owner in taken if owner]

    def _mount_resource(self, streams: "_Streams", router: Router, place: Placement) -> list[str | None]:
        owner, base = self.style.owner(place.definition.name), f"{self.prefix}{place.pattern}".rstrip("/")
        taken = []
        if "list" in place.actions:
            endpoint = streams.records(place)
            is_root = place.pattern == "/"  # where the stream of several queries is
            taken.append(router.add(f"{base}/subscribe", ["GET"], endpoint, owner, yields=is_root))
            router.add(base, ["STREAM"], endpoint, owner)
        if "read" in place.actions:
            single = streams.records(place, single=True)
            taken.append(router.add(f"{base}/{{key}}/subscribe", ["GET"], single, owner))
            router.add(f"{base}/{{key}}", ["STREAM"], single, owner)
        return taken


class _Streams:
    """Makes the endpoints that stream."""

    def __init__(self, host: Host, style: Style) -> None:
        self._host = host
        self._style = style

    def records(self, place: Placement, *, single: bool = False) -> Any:
        """The endpoint for the records of a resource at a place, or for one of them."""
        definition = place.definition

        async def endpoint(scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
            style = self._style

            def asks() -> Asked:
                parameters, text = without_resuming(scope), keys[-1] if single else None
                return Asked(self._host.definitions, definition, "GET", parameters, read_headers(scope), text)

            def make(request_id: str, headers: Headers) -> list[tuple[str, Request]]:
                asked = asks()
                key = key_in(keys[-1], definition) if single else None
                nesting = nesting_in(scope, place, keys[: len(place.above)])
                action = "read" if single else "list"
                request = self._request(action, definition.path, request_id, headers, scope)
                request.definition, request.query = definition, style.listing(asked)
                request.key, request.nesting, request.around = key, nesting, style.around(asked)
                return [("", request)]

            retell = None if style.words is None else lambda asker: Retelling(style, asks(), asker)
            await self._stream(scope, receive, send, make, named=False, retell=retell)

        return endpoint

    def handler(self, handler: Handler) -> Any:
        """The endpoint for the query of a handler."""

        async def endpoint(scope: Scope, receive: Receive, send: Send, values: tuple[str, ...]) -> None:
            def make(request_id: str, headers: Headers) -> list[tuple[str, Request]]:
                request = self._request("call", handler.name, request_id, headers, scope)
                request.args, request.args_at = handler.in_path(values, url_arguments(without_resuming(scope))), None
                return [("", request)]

            await self._stream(scope, receive, send, make, named=False)

        return endpoint

    def channel(self, channel: Channel) -> Any:
        """The endpoint for the channels of a declaration."""

        async def endpoint(scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
            headers = read_headers(scope)
            find = lambda: self._host.channels.find(channel_name(channel, keys))  # noqa: E731
            make = lambda id: self._request("call", "", id, headers, scope)  # noqa: E731
            stream = ChannelStream(self._host, credentials_of(headers, scope), find, make)
            try:
                await self._run(stream, headers, scope, receive, send)
            finally:
                stream.leave()

        return endpoint

    async def several(self, scope: Scope, receive: Receive, send: Send, _: tuple[str, ...]) -> None:
        """`GET /subscribe?queries={…}`: several queries on one stream."""

        def make(request_id: str, headers: Headers) -> list[tuple[str, Request]]:
            given = dict(parameters_of(scope)).get("queries", "")
            queries = decode_json(given.encode()) if given else None
            if not isinstance(queries, dict) or not queries:
                fault = Fault("bad_value", "queries takes a JSON object of name to subscription.", parameter="queries")
                raise Malformed(faults=[fault])
            if len(queries) > (most := self._host.limits.live.subscriptions):
                raise TooManyRequests(f"A stream has at most {most} queries.")
            base = self._request("list", "", request_id, headers, scope)
            return [(name, live_query(self._host, base, asked)) for name, asked in queries.items()]

        await self._stream(scope, receive, send, make, named=True)

    def _request(self, action: Any, name: str, request_id: str, headers: Headers, scope: Scope) -> Request:
        request = Request(
            action, name, credentials=credentials_of(headers, scope), headers=headers, interface="sse",
            id=request_id, is_live=True, performers=self._host.performer,
        )  # fmt: skip
        request.style = self._style.name
        return request

    async def _stream(
        self, scope: Scope, receive: Receive, send: Send, make: Any, *, named: bool, retell: Retell | None = None
    ) -> None:
        headers = read_headers(scope)
        stream = _Stream(self._host, credentials_of(headers, scope), lambda id: make(id, headers), named, retell)
        await self._run(stream, headers, scope, receive, send)

    async def _run(
        self, stream: "_Stream | ChannelStream", headers: Headers, scope: Scope, receive: Receive, send: Send
    ) -> None:
        request_id = headers.get("x-request-id", "")[:64] or new_request_id()
        with self._host.identify.living.joined(stream) as stream.stay, ExitStack() as held:
            try:
                held.enter_context(self._host.admission.admit(scope))  # first of all: a crowd is to cost little
                self._refuse_foreign(scope, headers)
                await redeem_ticket(self._host, scope, headers)
                stream.credentials = credentials_of(headers, scope)
                if names_mark(scope):
                    await pass_mark(self._host, scope)
                connection = await stream.open(request_id, resume_id(scope, headers) if stream.has_ids else None)
            except Problem as problem:
                self._host.admission.note(problem)
                return await send_problem(scope, send, problem, request_id, tell=self._style.problem)
            try:
                with suppress_gone():
                    told = [(name.encode(), text.encode()) for name, text in rate_fields(stream.verdicts).items()]
                    await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *told]})
                    if scope["method"] == "HEAD":
                        return await send({"type": "http.response.body", "body": b""})
                    with suppress(TimeoutError):  # a client that does not even take why it ended
                        async with asyncio.timeout(None) as stream.patience:
                            await self._serve(stream, connection, sink_of(scope), receive, send)
            finally:
                connection.close()

    def _refuse_foreign(self, scope: Scope, headers: Headers) -> None:
        """Raises Forbidden for a stream that a page opens which could not read it, or with cookies that are not for
        it."""
        origins = self._host.origins
        if not origins.admits(scope, headers) and (shows_by_itself(headers) or not origins.admits_everybody):
            raise Forbidden("This stream is not for pages of that origin.")

    async def _serve(
        self, stream: "_Stream | ChannelStream", connection: Connection, sink: Sink | None, receive: Receive, send: Send
    ) -> None:
        if sink is not None and stream.retelling is None:
            connection.outbox.attach(sink)
            async for _ in connection.outbox.turns():
                if stream.is_over:
                    connection.outbox.end("closed")
        else:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(_until_gone(receive, connection))
                async for parts in stream.retold(connection.messages()):
                    await send({"type": "http.response.body", "body": b"".join(parts), "more_body": True})
                    if stream.is_over:
                        break
                watching.cancel()
        await send({"type": "http.response.body", "body": stream.last_words})


class _Stream(StreamGuest):
    """The queries of one stream, and what becomes of them when its credentials do (`auth.Guest`).

    `make` makes their requests, by name. `stay` is there before anything is asked for.
    """

    verdicts: Sequence[Verdict] = ()  # the last of each rate

    def __init__(
        self,
        host: Host,
        credentials: Credentials,
        make: Callable[[str], Sequence[tuple[str, Request]]],
        named: bool,
        retell: Retell | None,
    ) -> None:
        self.credentials = credentials
        self._host = host
        self._make = make
        self._named = named
        self.retelling = None if retell is None else retell(lambda: self._request)
        self._keys: Mapping[str, str] = {}
        self._connection: Connection | None = None
        self._order = asyncio.Lock()  # rights do not change while it opens
        self._is_doubted = False

    @property
    def is_over(self) -> bool:
        """Whether each of its queries has ended with a problem, so that nothing more can come."""
        return self._connection is not None and not self._connection.members and not self._order.locked()

    async def open(self, request_id: str, resume: str | None) -> Connection:
        """Subscribes to every query. Raises the problem of the first that is refused."""
        async with self._order:
            question = self.stay.asks()  # one is asked for each query: whatever is asked after the first counts more
            queries: list[tuple[str, LiveQuery]] = []
            for name, request in self._make(request_id):
                queries.append((name, await self._live(request)))
                self._request = request
                self.verdicts = tuple({v.rate: v for v in (*self.verdicts, *request.verdicts)}.values())
                self.stay.becomes(request.actor, question)
            self._keys = {name: self._host.engine.key(query) for name, query in queries}
            if self._problem is not None:
                raise self._problem
            cursor, _, proof = (resume or "").partition("~")
            is_same = proof == proof_of(self._keys) or cursor == NOWHERE
            spelling = Spelling(proof_of(self._keys), self._named)
            format = Waiting(spelling, frozenset(self._keys), cursor if is_same and resume else NOWHERE)
            self._connection = format.connection = connection = self._host.engine.connect(format)
            try:
                with connection.keeping_up():  # nobody reads it yet
                    await self._begin(connection, queries, resume, self.stay.holding(question))
                if self._problem is not None:
                    raise self._problem
            except BaseException as error:
                connection.close()
                if isinstance(error, Problem) and self._problem is not None:
                    raise self._problem from None  # which is why it was refused
                raise
            return connection

    async def _begin(
        self, connection: Connection, queries: Sequence[tuple[str, LiveQuery]], resume: str | None, holds: Holds
    ) -> None:
        connection.send(f"retry: {self._host.engine.retry_in()}\n\n".encode())
        cursor, _, proof = (resume or "").partition("~")
        # Who was cut off within a snapshot has nothing to resume from, but asks for the same.
        own = proof_of(self._keys)
        is_same = proof == own or cursor == NOWHERE
        other = None if has_same_schema(proof, own) else ""  # a key of other rights, or of another schema
        for name, query in queries:
            key = self._keys[name] if is_same else other
            since = cursor if resume is not None else None
            await connection.subscribe(name, query, cursor=since, key=key, holds=holds)

    def doubt(self) -> None:
        """Takes away what is live, until it is known what may be shown."""
        self._is_doubted = True
        if self._connection is not None:
            self._connection.suspend()

    async def reconsider(self, actor: Actor, credentials: Credentials, question: int) -> None:
        """Where the actor sees something else by now, or it was not known, every query begins again, with a reset.

        What differs cannot be told alone: whoever is cut off in the middle of that could not resume.
        """
        async with self._order:
            if self._connection is None:
                return
            holds, was_doubted, self._is_doubted = self.stay.holding(question), self._is_doubted, False
            found = await self._found(self._connection, self.stay.is_found(actor, question))
            keys = {name: self._host.engine.key(one) for name, one in found.items() if isinstance(one, LiveQuery)}
            if keys == {name: self._keys[name] for name in found} and not was_doubted:
                return
            self._keys = keys
            with self._connection.keeping_up():  # whoever has asked for it does not wait for the client
                await self._begin_again(self._connection, found, holds)

    async def _found(self, connection: Connection, actor: Actor) -> Mapping[str, LiveQuery | Problem]:
        found: dict[str, LiveQuery | Problem] = {}
        for name, request in self._make(new_request_id()):
            if name in connection.members:
                request.actor, request.is_free = actor, True
                try:
                    found[name] = await self._live(request)
                    self._request = request
                except Problem as problem:
                    found[name] = problem
        return found

    async def _begin_again(
        self, connection: Connection, found: Mapping[str, LiveQuery | Problem], holds: Holds
    ) -> None:
        format = Waiting(Spelling(proof_of(self._keys), self._named), frozenset(found), NOWHERE)
        format.connection = connection
        connection.speak(format)
        ended = {name: connection.members[name].subscription for name in found if name in connection.members}
        for name, to in ended.items():  # all of them before any begins: what is held stands at one position
            connection.unsubscribe(name)
            connection.send(format.reset(to, "rights"))
            self._host.engine.metrics.resets["rights"] += 1
            if isinstance(problem := found[name], Problem):
                connection.send(format.problem(to, problem))
        if ended:  # what comes is not to be older than what was shown, and the lane that it is of may be behind
            await self._host.engine.fence()
        for name in ended:
            if isinstance(query := found[name], LiveQuery):
                await connection.subscribe(name, query, holds=holds)
        if not connection.members:
            connection.outbox.end("closed")

    def end(self, problem: Unauthorized) -> None:
        """Tells the client why, and ends the stream: it may come back and resume. What waits is given up."""
        self._problem = problem
        if self._connection is not None:
            self._connection.close()

    async def _live(self, request: Request) -> LiveQuery:
        with self._host.identify.living.waited_for():
            response = await self._host.pipeline(request)
        assert isinstance(response, Live)
        return response.query


async def _until_gone(receive: Receive, connection: Connection) -> None:
    """Closes the connection once the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    connection.close()
