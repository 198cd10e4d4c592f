"""Quick answers: from the target in a request line to bytes, through plans that are compiled once.

What is asked in one turn of the event loop is answered at its end, in one snapshot. Plans are made by the parts of
the ordinary way (the same parser, rules and resolver), so that both ask the store for the same. Whatever is no
answer with a record or a list, from a missing record to a fault of ours, is left to the ordinary way.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from crudite.changes import Position
from crudite.errors import Problem, StoreError
from crudite.interfaces.hosts import Hosts
from crudite.interfaces.http import opened_head, parameters_of, quick_answer
from crudite.interfaces.rest.answers import JSON, OPEN, RawHeaders, check_accept, is_not_modified, page_links
from crudite.pipeline import Pipeline
from crudite.query.parse import parse_url
from crudite.resources.access import clocks_of
from crudite.resources.definition import Definition
from crudite.resources.reading import Asked as AskedList
from crudite.resources.reading import Reading
from crudite.resources.request import Request
from crudite.server.quick import Answer, Asked, Asker
from crudite.stores.base import Glance, Page, SupportsGlance

_KEY = re.compile(rb"[A-Za-z0-9_-]{1,200}")
_MOST_LISTS = 1_000
_LONGEST_QUERY = 500
_ORDINARY = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade"))


class QuickReads:
    """`GET` of one resource and of its records, as anybody may read them. `literals` are the names below its path
    that are no keys. Raises Problem for a resource that nobody may read without being known."""

    def __init__(self, definition: Definition, reading: Reading, literals: frozenset[bytes]) -> None:
        self.name = definition.path
        self.literals = literals
        self._definition = definition
        self._reading = reading
        self._parse_key = definition.schema.key_field.type.parse
        self._lists: dict[bytes, _QuickList] = {}
        self._selection, self._is_shared = reading.shown(Request("read", self.name, definition=definition))
        self._is_steady = not clocks_of(self._selection)
        self._before, _, self._after = opened_head([JSON, (b"etag", b'"v?"'), *OPEN]).partition(b"?")

    def read(self, glance: Glance, key: bytes, asked: Asked) -> Answer | None:
        """The answer to `GET` of a record."""
        if not self._is_steady:
            return None
        row = glance.lookup(self._selection, self._parse_key(key.decode()))
        if row is None:
            return None
        if asked.none_match is not None and self._is_shared:
            etag = f'"v{row.version}"'
            if is_not_modified({"if-none-match": asked.none_match}, etag):
                return quick_answer(304, [(b"etag", etag.encode()), *OPEN])
        body = row.json.encode()
        return Answer(200, b"%b%d%b%d\r\n\r\n" % (self._before, row.version, self._after, len(body)), body)

    def list(self, glance: Glance, query_string: bytes, asked: Asked) -> Answer | None:
        """The answer to `GET` of the resource with a query."""
        found = self._lists.get(query_string)
        if found is None:
            found = self._compiled(query_string)
            if len(query_string) <= _LONGEST_QUERY and found.is_steady:
                if len(self._lists) >= _MOST_LISTS:
                    self._lists.clear()
                self._lists[query_string] = found
        return found.answer(glance, asked)

    def _compiled(self, query_string: bytes) -> "_QuickList":
        query = parse_url(parameters_of({"query_string": query_string}))
        request = Request("list", self.name, definition=self._definition, query=query)
        return _QuickList(self._reading, self._reading.asked(request), query_string)


class _QuickList:
    """One list, as often as it is asked for. Its headers are made again only when the log has moved."""

    def __init__(self, reading: Reading, asked: AskedList, query_string: bytes) -> None:
        self.is_steady = asked.is_steady
        self._reading = reading
        self._asked = asked
        self._query_string = query_string
        self._read_at: Position | None = None
        self._etag: str | None = None
        self._headers: RawHeaders = []
        self._head = b""

    def answer(self, glance: Glance, asked: Asked) -> Answer | None:
        """The list as it is now."""
        position = glance.position() if self._asked.identity is not None else None
        page = glance.page(self._asked.plan)
        if page is None:
            return None
        if position is None or position != self._read_at:
            self._make_headers(page, position)
        is_conditional = asked.none_match is not None and self._etag is not None
        if is_conditional and is_not_modified({"if-none-match": asked.none_match}, self._etag):
            return quick_answer(304, [*self._headers, *OPEN])
        body = f"[{','.join(page.records)}]".encode()
        return Answer(200, b"%b%d\r\n\r\n" % (self._head, len(body)), body)

    def _make_headers(self, page: Page, position: Position | None) -> None:
        self._read_at = position
        listed = self._reading.listed(self._asked, page)
        self._headers = page_links(listed, self._query_string)
        if position is not None:
            self._etag = f'"{self._reading.etag(self._asked, position)}"'
            self._headers.append((b"etag", self._etag.encode()))
        self._head = opened_head([JSON, *self._headers, *OPEN])


class _Waiting(NamedTuple):
    """What is to be answered at the end of the turn."""

    answer: Callable[[Glance, bytes, Asked], Answer | None]
    what: bytes
    asked: Asked
    asker: Asker


class QuickAnswers:
    """An application's quick answers (`server.quick.Quick`), by the paths of its resources."""

    def __init__(
        self,
        resources: Mapping[bytes, QuickReads],
        hosts: Callable[[], Hosts],
        pipeline: Pipeline,
        store: SupportsGlance,
    ) -> None:
        self._resources = resources
        self._hosts = hosts
        self._pipeline = pipeline
        self._store = store
        self._waiting: list[_Waiting] = []

    def recognize(self, headers: Sequence[tuple[bytes, bytes]]) -> Asked | None:
        """What the headers of a request say; None where the ordinary way must look at them."""
        given = dict(headers)
        if not _ORDINARY.isdisjoint(given) or len(given) != len(headers):
            return None
        accept = given.get(b"accept", b"*/*").decode("latin-1")
        try:
            check_accept({"accept": accept})
        except Problem:
            return None
        if "text/event-stream" in accept:
            return None
        none_match = given.get(b"if-none-match")
        return Asked(
            given.get(b"host", b"").decode("latin-1"), None if none_match is None else none_match.decode("latin-1")
        )

    def ask(self, method: bytes, target: bytes, body: bytes, asked: Asked, server: str | None, asker: Asker) -> bool:
        """Answers at the end of the loop's turn, together with whatever else waits then."""
        if not self._hosts().admits(server, asked.host):
            return False
        path, mark, query_string = target.partition(b"?")
        resource = self._resources.get(path)
        if resource is not None:
            waiting = _Waiting(resource.list, query_string, asked, asker)
            action = "list"
        else:
            above, _, key = path.rpartition(b"/")
            resource = self._resources.get(above)
            if resource is None or mark or key in resource.literals or not _KEY.fullmatch(key):
                return False
            waiting = _Waiting(resource.read, key, asked, asker)
            action = "read"
        if not self._pipeline.is_bare(resource.name, action):
            return False
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._answer_all)
        self._waiting.append(waiting)
        return True

    def _answer_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        answers: list[Answer | None] = [None] * len(waiting)
        try:
            with self._store.glance() as glance:
                for index, one in enumerate(waiting):
                    answers[index] = _answer(one, glance)
        except StoreError:
            pass  # the ordinary way tells each of them
        for one, answer in zip(waiting, answers, strict=True):
            one.asker.respond(answer)


def _answer(waiting: _Waiting, glance: Glance) -> Answer | None:
    try:
        return waiting.answer(glance, waiting.what, waiting.asked)
    except (Problem, ValueError):  # the ordinary way makes it again, and tells
        return None
