"""One WebSocket connection: reads calls, begins them and answers them.

Subscribing, unsubscribing and `auth` take effect in the order in which they were sent, and so do writes among
each other; other calls run side by side, a bounded number at a time. Answers go through the same outbox as
what the live engine has for the client, so that each stands where it belongs between the frames.

Who is behind the connection can change: by `auth`, or because the application asks again. Either way every
subscription is moved to what that actor may see, and no subscription is made meanwhile. Answers of the application
are taken in the order of the questions, which are numbered for that. How it ends is a subject of its own (`farewell`).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import msgspec

from crudite.changes import Mark
from crudite.errors import Fault, Malformed, Problem, Unauthorized, Unexpected
from crudite.ids import new_request_id
from crudite.interfaces.base import Host, Receive, Scope, Send
from crudite.interfaces.events import encode
from crudite.interfaces.http import Headers, credentials_of
from crudite.interfaces.marks import reach
from crudite.interfaces.websocket.calls import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Answer,
    Call,
    UnknownMethod,
    checked,
    decode_calls,
    parse_call,
    result_json,
)
from crudite.interfaces.websocket.channels import METHODS, Memberships
from crudite.interfaces.websocket.farewell import Farewell
from crudite.interfaces.websocket.format import (
    RpcFormat,
    error,
    message,
    result,
    subscribed_result,
)
from crudite.interfaces.websocket.kept import Asking, Kept
from crudite.interfaces.websocket.patience import Patience
from crudite.interfaces.websocket.requests import WRITES, request_for
from crudite.interfaces.websocket.rights import connection_problem, expiring
from crudite.live import Subscribed
from crudite.messages import ANONYMOUS, Actor, Credentials, SignIn, Written
from crudite.resources.request import Request
from crudite.server.extension import Tasks, WebSocketSink, sink_of
from crudite.types import Plain

_SIDE_BY_SIDE = 16
_MOST_IN_BATCH = 100
_ORDERED = ("subscribe", "unsubscribe", "auth")
_TOO_LARGE = 1009
_HANDSHAKE = ("sec-websocket-", "upgrade", "connection")  # how headers begin that say nothing of any call

_format = RpcFormat()
_log = logging.getLogger("crudite")


class Session:
    """Serves one connection from its handshake to its end."""

    __slots__ = (
        "_channels",
        "_connection",
        "_farewell",
        "_headers",
        "_host",
        "_kept",
        "_order",
        "_patience",
        "_place",
        "_receive",
        "_room",
        "_sink",
        "_stay",
        "_writes",
        "credentials",
    )

    def __init__(self, host: Host, headers: Headers, scope: Scope) -> None:
        self._host = host
        headers = {name: value for name, value in headers.items() if not name.startswith(_HANDSHAKE)}
        self._headers = headers
        self.credentials = credentials_of(headers, scope)
        self._connection = host.engine.connect(_format)
        self._order = asyncio.Lock()
        self._writes = asyncio.Lock()
        self._room = asyncio.Semaphore(_SIDE_BY_SIDE)
        self._sink: WebSocketSink | None = sink_of(scope)
        self._farewell = Farewell(self._connection, self._sink)
        self._kept = Kept(host, self._connection, self._base, self._farewell.say)

    def abandon(self) -> None:
        """The client went away before the connection was accepted."""
        self._connection.close()

    async def run(self, place: AbstractContextManager[None], receive: Receive, send: Send) -> None:
        """Serves the connection until either side ends it, and gives its place back. Where there is a sink it returns
        at once, and the connection goes on without it."""
        self._stay = self._host.identify.living.joined(self).__enter__()
        self._place: AbstractContextManager[None] | None = place
        say = self._farewell.say
        self._channels = Memberships(self._host, self._connection, self._stay, self._base, self._recognise, say)
        self._patience = Patience(self._host.limits, self._farewell.refuse, self._host.admission.passed)
        if self._sink is not None:
            self._connection.outbox.attach(self._sink, self._farewell.over)
            self._receive = receive
            self._sink.adopt(self._read_what_came)
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                sides = tasks.create_task(self._read(receive, tasks)), tasks.create_task(self._farewell.send_all(send))
                await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
                for side in sides:  # what is sent to a client that has left may wait for ever
                    side.cancel()
        finally:
            self._leave()

    def _leave(self) -> None:
        self._connection.close()
        self._channels.close()
        self._patience.heard()
        place, self._place = self._place, None
        if place is not None:
            self._stay.__exit__()
            place.__exit__(None, None, None)

    async def _read(self, receive: Receive, tasks: Tasks) -> None:
        """Reads one message ahead of those that are begun: a call may wait until the client has caught up, and it is to
        be heard when that has left instead."""
        beginning: asyncio.Task[None] | None = None
        while (received := await receive())["type"] != "websocket.disconnect":
            if beginning is not None:
                await beginning
            beginning = tasks.create_task(self._read_one(received, tasks))
        self._farewell.lose()

    async def _read_what_came(self) -> None:
        assert self._sink is not None
        while self._sink.has_received:
            await self._read_one(await self._receive(), self._sink)
        if self._farewell.is_gone:
            self._leave()

    async def _read_one(self, received: Mapping[str, Any], tasks: Tasks) -> None:
        if received["type"] == "websocket.disconnect":
            self._farewell.lose()
        elif self._farewell.begins_calls:
            self._patience.heard()
            raw = received.get("text")
            data = raw.encode() if raw is not None else received.get("bytes") or b""
            if len(data) <= self._host.limits.message:
                self._farewell.begun()
                try:
                    return await self._take(data, tasks)
                finally:
                    self._farewell.done()
            self._host.admission.passed["message"] += 1
            self._farewell.refuse(_TOO_LARGE)

    async def _take(self, data: bytes, tasks: Tasks) -> None:
        """Begins the work on one message: a call, or a batch of calls that are answered together."""
        if data.lstrip()[:1] != b"[":
            return await self._begin(data, tasks)
        try:
            parts = decode_calls(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            return self._send(error(None, Malformed(f"Not JSON: {fault}."), None, PARSE_ERROR))
        if not parts or len(parts) > _MOST_IN_BATCH:
            problem = Malformed(f"A batch holds 1 to {_MOST_IN_BATCH} calls.")
            return self._send(error(None, problem, None, INVALID_REQUEST))
        async with self._writes:
            answers = [answer for part in parts if (answer := await self._answer(parse_call(bytes(part)))) is not None]
        if answers:
            self._send(f"[{','.join(answer.text for answer in answers)}]")
        self._expect(answers)

    async def _begin(self, data: bytes, tasks: Tasks) -> None:
        call = parse_call(data)
        if isinstance(call, Answer) or self._is_ordered(call):
            answer = await self._answer(call)
            if answer is not None:
                self._send(answer.text)
            return
        lock = self._writes if call.method.rpartition(".")[2] in WRITES else None
        await self._room.acquire()
        self._farewell.begun()
        tasks.create_task(self._answer_aside(call, lock))

    async def _answer_aside(self, call: Call, lock: asyncio.Lock | None) -> None:
        try:
            if lock is None:
                answer = await self._answer(call)
            else:
                async with lock:
                    answer = await self._answer(call)
            if answer is not None:
                self._send(answer.text)
                self._expect([answer])
        finally:
            self._room.release()
            self._farewell.done()

    def _expect(self, answers: Sequence[Answer]) -> None:
        """Acknowledges what has been written, now that it has been answered, once its frames are sent."""
        for answer in answers:
            if answer.mark is not None and answer.number is not None:
                self._connection.expect(answer.mark, answer.number)

    async def _answer(self, call: Call | Answer) -> Answer | None:
        """The answer to one call; None when there is none to send (any more). What was no call is answered already."""
        if isinstance(call, Answer):
            return call
        number = None if call.id is msgspec.UNSET else call.id
        request_id = new_request_id()
        try:
            answer, mark = await self._perform(call, number, request_id)
            self._patience.judge(None)
        except Problem as problem:
            self._host.admission.note(problem)
            self._patience.judge(problem)
            unknown = isinstance(problem, UnknownMethod)
            answer, mark = error(number, problem, request_id, METHOD_NOT_FOUND if unknown else None), None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            answer, mark = error(number, Malformed(f"Not JSON: {fault}."), request_id), None
        except Exception:
            _log.exception("the call %r failed", call.method[:100])
            answer, mark = error(number, Unexpected(), request_id), None
        return Answer(answer, number, mark) if call.id is not msgspec.UNSET and answer is not None else None

    async def _perform(self, call: Call, number: Plain, request_id: str) -> tuple[str | None, Mark | None]:
        """The answer's text, None when it has been sent already; and the mark of what was written."""
        if call.method == "ping":
            return result(number, "{}"), None
        if self._is_ordered(call):
            params = checked(call)
            async with self._order:
                await self._pass_mark(params.get("min_cursor"))
                return await self._perform_ordered(call.method, params, number, request_id), None
        request = request_for(self._host, call, self._base(request_id))
        if request.action != "call" and "min_cursor" in call.params:
            await self._pass_mark(msgspec.json.decode(call.params["min_cursor"]))
        question = self._stay.asks()
        response = await self._host.pipeline(request)
        if request.signs_in is not None:
            async with self._order:
                await self._become(self._signed(request.signs_in), request_id)
        elif not self._order.locked() and self._stay.goes_on(request.actor):
            self._stay.becomes(request.actor, question)
        return result(number, result_json(response)), response.mark if isinstance(response, Written) else None

    def _is_ordered(self, call: Call) -> bool:
        return call.method in _ORDERED or (call.method in METHODS and bool(self._host.channels))

    async def _pass_mark(self, mark: Any) -> None:
        if mark is not None:
            await reach(self._host, mark, pointer="/min_cursor")

    async def _perform_ordered(
        self, method: str, params: Mapping[str, Any], number: Plain, request_id: str
    ) -> str | None:
        if method == "unsubscribe":
            self._kept.drop(str(params.get("sub")))
            return result(number, "{}")
        if method in METHODS:
            await self._channels.perform(method, params, number, request_id)
        else:
            await (self._subscribe if method == "subscribe" else self._auth)(params, number, request_id)
        return None  # it has been answered already, so that nothing of what follows from it came before

    def _base(self, request_id: str, actor: Actor = ANONYMOUS) -> Request:
        return Request(
            "list", "", actor=actor, credentials=self.credentials, headers=self._headers, interface="websocket",
            id=request_id, performers=self._host.performer,
        )  # fmt: skip

    async def _subscribe(self, params: Mapping[str, Any], number: Plain, request_id: str) -> None:
        asking = Asking.of(params)
        question = self._stay.asks()
        query, actor = await self._kept.live(asking.asked, request_id)
        await self._recognise(actor, question, request_id)
        holds = self._stay.holding(question)
        path = query.plan.selection.schema.path
        is_answered = False

        def announce(subscribed: Subscribed) -> bytes:
            nonlocal is_answered
            is_answered = not self._stay.is_over
            return message(result(number, subscribed_result(subscribed, path))) if is_answered else b""

        try:
            await self._kept.add(asking, query, announce, holds)
        except Problem:
            self._check_stay()
            raise
        if not is_answered:
            self._check_stay()

    async def _recognise(self, actor: Actor, question: int, request_id: str) -> None:
        """This is who was found to show the credentials."""
        self._check_stay()
        if self._stay.is_other(actor):
            await self._move(actor, question, request_id)
        self._stay.becomes(actor, question)

    async def _move(self, actor: Actor, question: int, request_id: str) -> None:
        """All that is kept live and heard is what this actor may see and hear from now on."""
        holds = self._stay.holding(question)
        await asyncio.gather(*(one.move(actor, holds, request_id) for one in (self._kept, self._channels)))

    def _check_stay(self) -> None:
        """Raises Unauthorized when the credentials came to their end while something was awaited."""
        if self._stay.is_over:
            raise Unauthorized("The credentials do not hold any longer.")

    async def _auth(self, params: Mapping[str, Any], number: Plain, request_id: str) -> None:
        """Other credentials from now on. Refused ones change nothing."""
        token = params.get("token")
        if not isinstance(token, str | None):
            raise Malformed(faults=[Fault("bad_value", "token is a text or null.", pointer="/token")])
        await self._host.pipeline.count_auth(self.credentials, "websocket")
        actor = await self._become(replace(self.credentials, token=token), request_id)
        public = {"id": actor.id, "roles": sorted(actor.roles)} if actor.is_known else None
        self._send(result(number, f'{{"actor":{encode(public)}}}'))

    def _signed(self, given: SignIn) -> Credentials:
        """What is shown from now on by somebody who has signed in or out."""
        cookies = {name: value for name, value in self.credentials.cookies.items() if name != given.name}
        if given.token is not None:
            cookies[given.name] = given.token
        return replace(self.credentials, token=None, cookies=cookies)

    async def _become(self, shown: Credentials, request_id: str) -> Actor:
        """Is whoever shows that from now on, and shows everything as he may see it, before it returns. Raises
        Unauthorized for bad credentials, which change nothing."""
        before, self._stay.actor = self._stay.actor, None
        question = self._stay.asks()
        try:
            actor = await self._host.identify(shown)
            self._check_stay()
            if shown.token is not None and not actor.is_known:
                raise Unauthorized("The token is not valid.")
        except BaseException:
            self._stay.actor = before
            raise
        self.credentials = shown
        self._stay.becomes(actor, question)
        await self._move(actor, question, request_id)  # first: once it is answered, nothing is told under old rights
        return actor

    # what happens to its credentials (auth.Guest)

    async def reconsider(self, actor: Actor, credentials: Credentials, question: int) -> None:
        """Moves every subscription to what the actor who shows these credentials may see, or whoever it was found to be
        since: that may have been for one subscription only. Whoever has asked for it does not wait for a client that
        takes nothing."""
        with self._connection.keeping_up():
            async with self._order:
                if self.credentials is credentials:
                    await self._move(self._stay.is_found(actor, question), question, new_request_id())

    def doubt(self) -> None:
        """Takes away what is live, until it is known what may be shown."""
        self._connection.suspend()
        self._channels.doubt()

    async def answered(self) -> None:
        """Returns when no call is under way: one may be signing in, or out."""
        await self._farewell.quiet()

    def warn(self, seconds: int) -> None:
        """Tells the client to show other credentials, within so many seconds."""
        self._farewell.say(expiring(seconds))

    def end(self, problem: Unauthorized) -> None:
        """Tells the client why the connection is closed, and closes it: it may come back and resume. Nothing is kept
        live from now on, what waits is given up, and no call is begun; but those under way (this may come of one) are
        answered."""
        self._channels.close(at_once=True)
        self._farewell.revoke(connection_problem(problem))

    def cut(self) -> None:
        """Closes, whatever is under way."""
        self._farewell.cut()

    def _send(self, text: str) -> None:
        self._farewell.say(message(text))
