"""A stream of live queries: how they begin, and what happens to them when it becomes somebody else's, or nobody's."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from crudite.errors import Problem, Unauthorized, Unavailable
from crudite.ids import new_request_id
from crudite.interfaces.base import Host
from crudite.interfaces.sse.format import NOWHERE, Spelling, Waiting, has_same_schema, proof_of
from crudite.interfaces.sse.guest import StreamGuest
from crudite.interfaces.sse.retelling import Retell
from crudite.limiting import Verdict
from crudite.live import Connection, Holds
from crudite.messages import Actor, Credentials, Live, LiveQuery
from crudite.resources.request import Request


class QueryStream(StreamGuest):
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
                try:
                    await connection.subscribe(name, query, holds=holds)
                except Unavailable:
                    if connection.ended is None and not connection.is_winding_up:
                        raise
                    return  # it was given up meanwhile, as slow or gone: no fault of its credentials
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
