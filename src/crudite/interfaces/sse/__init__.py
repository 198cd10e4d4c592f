"""Server-sent events (WHATWG HTML, section 9.2): a live query as an event stream.

Every event has an `id:`, so that a client that was cut off after any of them resumes exactly: it is the last
position complete before the event; only the last event of a frame carries the frame's own. The id holds the
cursor and a key that proves at a resume that the same is asked for with the same rights.
"""

import asyncio
from contextlib import ExitStack, suppress
from typing import Any

from crudite.channels import Channel
from crudite.errors import Fault, Forbidden, Malformed, Problem, TooManyRequests
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
from crudite.interfaces.sse.queries import QueryStream
from crudite.interfaces.sse.resuming import resume_id, without_resuming
from crudite.interfaces.sse.retelling import Retell, Retelling
from crudite.interfaces.styles import DEFAULT, Asked, Style, style_of
from crudite.interfaces.subscribing import live_query
from crudite.interfaces.tickets import redeem_ticket
from crudite.limiting import rate_fields
from crudite.live import Connection
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
                path, owner = f"{self.prefix}/{handler.name}", self.style.owner(handler.name)
                taken.append(router.add(f"{path}/subscribe", ["GET"], streams.handler(handler), owner))
                router.add(path, ["STREAM"], streams.handler(handler), owner)
        for channel in host.channels:
            path = f"{self.prefix}/channels/{channel.pattern}"
            owner = self.style.owner(path)
            taken += [router.add(one, ["GET"], streams.channel(channel), owner) for one in (path, f"{path}/subscribe")]
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
        stream = QueryStream(self._host, credentials_of(headers, scope), lambda id: make(id, headers), named, retell)
        await self._run(stream, headers, scope, receive, send)

    async def _run(
        self, stream: QueryStream | ChannelStream, headers: Headers, scope: Scope, receive: Receive, send: Send
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
        self,
        stream: QueryStream | ChannelStream,
        connection: Connection,
        sink: Sink | None,
        receive: Receive,
        send: Send,
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


async def _until_gone(receive: Receive, connection: Connection) -> None:
    """Closes the connection once the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    connection.close()
