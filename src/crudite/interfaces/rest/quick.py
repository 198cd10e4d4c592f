"""Quick answers: from the target in a request line to bytes, through plans that are compiled once.

What is asked in one turn of the event loop is answered at its end, in one snapshot, by a store that reads at once
(`SupportsGlance`); of a store that has to be waited for (`SupportsAsk`) single records are asked, and each is answered
when it comes. Plans are made by the parts of the ordinary way (the same parser, rules and resolver), so that both ask
the store for the same. Whatever is no answer with a record or a list, from a missing record to a fault of ours, is
left to the ordinary way.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast
from urllib.parse import quote

from crudite.changes import Commit, Position, Unit
from crudite.errors import Problem, StoreError
from crudite.ids import new_request_id
from crudite.interfaces.http import opened_head, parameters_of, quick_answer, quick_problem
from crudite.interfaces.rest.answers import (
    JSON,
    OPEN,
    RawHeaders,
    check_accept,
    check_content_type,
    is_not_modified,
    page_links,
)  # fmt: skip
from crudite.pipeline import Pipeline, unavailable
from crudite.query.parse import parse_url
from crudite.query.plan import Selection
from crudite.resources.access import clocks_of
from crudite.resources.declaring.definition import Definition
from crudite.resources.reading import Asked as AskedList
from crudite.resources.reading import Reading
from crudite.resources.request import Request
from crudite.resources.writing.creating import PlainCreate
from crudite.server.quick import Answer, Asked, Asker
from crudite.stores.base import Glance, Page, Row, Store, SupportsAsk, SupportsGlance, SupportsSubmit
from crudite.types import Key

_log = logging.getLogger("crudite")

_KEY = re.compile(rb"[A-Za-z0-9_-]{1,200}")
_MOST_LISTS = 1_000
_LONGEST_QUERY = 500
_ORDINARY = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"crudite-after"))
"""Headers of requests that take the ordinary way; and of those with a body."""
_WITH_BODY = frozenset((b"cookie", b"prefer", b"x-request-id"))


class QuickReads:
    """`GET` of one resource and of its records, as anybody may read them. Raises Problem for one that nobody may
    read without being known."""

    def __init__(self, definition: Definition, reading: Reading) -> None:
        self.name = definition.path
        self._definition = definition
        self._reading = reading
        self._parse_key = definition.schema.key_field.type.parse
        self._lists: dict[bytes, _QuickList] = {}
        self._selection, self._is_shared = reading.shown(Request("read", self.name, definition=definition))
        self.is_steady = not clocks_of(self._selection)
        self._head = opened_head([JSON, (b"etag", b'"v%d"'), *OPEN]) + b"%d\r\n\r\n"

    def read(self, glance: Glance, key: bytes, asked: Asked) -> Answer | None:
        """The answer to `GET` of a record."""
        if not self.is_steady:
            return None
        row = glance.lookup(*self.asked(key))
        return None if row is None else self.shown(row, asked)

    def asked(self, key: bytes) -> tuple[Selection, Key]:
        """What a store is asked for the record of a key. Raises what the parser of keys does."""
        return self._selection, self._parse_key(key.decode())

    def shown(self, row: Row, asked: Asked) -> Answer:
        """The answer to `GET` of a record that was found."""
        if self._is_shared and _has(asked, etag := f'"v{row.version}"'):
            return quick_answer(304, [(b"etag", etag.encode()), *OPEN])
        body = row.json.encode()
        return Answer(200, self._head % (row.version, len(body)), body)

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
        if self._etag is not None and _has(asked, self._etag):
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


class QuickCreates:
    """`POST` of one record to a resource."""

    def __init__(self, definition: Definition, plain: PlainCreate, most: int) -> None:
        self._plain = plain
        self._most = most
        self._is_quoted = definition.schema.key_field.type.kind == "text"
        told = [(b"etag", b'"v%d"'), (b"crudite-after", b"%b"), (b"location", b"%b/%b")]
        self._head = opened_head([JSON, *told, *OPEN]) + b"%d\r\n\r\n"

    def unit(self, body: bytes, request_id: str) -> Unit | None:
        """What is to be written; None where the ordinary way must decide. Raises the problem of a bad body."""
        return self._plain.unit(body, request_id) if len(body) <= self._most else None

    def answer(self, path: bytes, commit: Commit) -> Answer:
        """The answer to a committed unit."""
        stored, mark = commit.stored[0], commit.mark
        key = (quote(str(stored.key), safe="") if self._is_quoted else str(stored.key)).encode()
        if stored.json is None or mark is None:
            marked = [] if mark is None else [(b"crudite-after", mark.encode())]
            headers = [(b"etag", b'"v%d"' % stored.version), *marked, (b"location", b"%b/%b" % (path, key)), *OPEN]
            if stored.json is None:
                return quick_answer(201, headers)
            return quick_answer(201, [JSON, *headers], stored.json.encode())
        body = stored.json.encode()
        return Answer(201, self._head % (stored.version, mark.encode(), path, key, len(body)), body)


class QuickResource(NamedTuple):
    """What is quick below one path. `literals` are the names below it that are no keys."""

    name: str
    literals: frozenset[bytes]
    reads: QuickReads | None
    creates: QuickCreates | None


class _Waiting(NamedTuple):
    """What is to be answered at the end of the turn."""

    answer: Callable[[Glance, bytes, Asked], Answer | None]
    what: bytes
    asked: Asked
    asker: Asker


class QuickAnswers:
    """An application's quick answers (`server.quick.Quick`), by the paths of its resources. `admits` tells whether a
    server at an address answers to a name."""

    def __init__(
        self,
        resources: Mapping[bytes, QuickResource],
        admits: Callable[[str | None, str], bool],
        pipeline: Pipeline,
        store: Store,
    ) -> None:
        self._resources = resources
        self._admits = admits
        self._pipeline = pipeline
        self._store = store
        self._glances = isinstance(store, SupportsGlance)
        self._waiting: list[_Waiting] = []

    def recognize(self, headers: Sequence[tuple[bytes, bytes]]) -> Asked | None:
        """What the headers of a request say; None where the ordinary way must look at them."""
        given = {name: value.decode("latin-1") for name, value in headers}
        length = given.get(b"content-length", "")
        is_ordinary = not _ORDINARY.isdisjoint(given) or len(given) != len(headers) or b"host" not in given
        if is_ordinary or (length and not (_WITH_BODY.isdisjoint(given) and length.isdigit())):
            return None
        named = {name.decode("latin-1"): value for name, value in given.items()}
        try:
            check_accept(named)
            if length:
                check_content_type(named, "application/json")
        except Problem:
            return None
        if "text/event-stream" in named.get("accept", ""):
            return None
        return Asked(named.get("host", ""), named.get("if-none-match"), int(length) if length else None)

    def ask(self, method: bytes, target: bytes, body: bytes, asked: Asked, server: str | None, asker: Asker) -> bool:
        """Reads are answered at the end of the loop's turn, together with whatever else waits then; a write when it
        is committed."""
        if not self._admits(server, asked.host):
            return False
        if method == b"POST":
            return self._create(target, body, asker)
        return asked.length is None and self._read(target, asked, asker)

    def _read(self, target: bytes, asked: Asked, asker: Asker) -> bool:
        path, mark, query_string = target.partition(b"?")
        resource = self._resources.get(path)
        if resource is not None and resource.reads is not None:
            waiting = _Waiting(resource.reads.list, query_string, asked, asker)
            return self._glances and self._pipeline.is_bare(resource.name, "list") and self._glance_later(waiting)
        above, _, key = path.rpartition(b"/")
        resource = self._resources.get(above)
        if resource is None or (reads := resource.reads) is None:
            return False
        if mark or key in resource.literals or not _KEY.fullmatch(key):
            return False
        if not self._pipeline.is_bare(resource.name, "read"):
            return False
        if self._glances:
            return self._glance_later(_Waiting(reads.read, key, asked, asker))
        return reads.is_steady and self._ask_store(reads, key, asked, asker)

    def _ask_store(self, reads: QuickReads, key: bytes, asked: Asked, asker: Asker) -> bool:
        def settle(found: Row | Exception | None) -> None:
            asker.respond(reads.shown(found, asked) if isinstance(found, Row) else None)

        try:
            cast(SupportsAsk, self._store).ask(*reads.asked(key), settle)
        except Exception:  # the ordinary way finds it again, and tells
            return False
        return True

    def _glance_later(self, waiting: _Waiting) -> bool:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._answer_reads)
        self._waiting.append(waiting)
        return True

    def _answer_reads(self) -> None:
        waiting, self._waiting = self._waiting, []
        answers: list[Answer | None] = [None] * len(waiting)
        try:
            with cast(SupportsGlance, self._store).glance() as glance:
                for index, one in enumerate(waiting):
                    answers[index] = _answer(one, glance)
        except StoreError:
            pass  # the ordinary way tells each of them
        for one, answer in zip(waiting, answers, strict=True):
            try:
                one.asker.respond(answer)
            except Exception:  # the others must hear all the same
                _log.exception("an answer could not be given")

    def _create(self, target: bytes, body: bytes, asker: Asker) -> bool:
        resource = self._resources.get(target)
        if resource is None or (creates := resource.creates) is None:
            return False
        if not self._pipeline.is_bare(resource.name, "create") or self._pipeline.explains(StoreError):
            return False
        request_id = new_request_id()

        def settle(outcome: Commit | Exception) -> None:
            if isinstance(outcome, Commit):
                answer: Answer | None = creates.answer(target, outcome)
            elif isinstance(outcome, StoreError):  # maybe it is done: the ordinary way would do it once more
                answer = quick_problem(unavailable(outcome, request_id), request_id)
            else:  # it has changed nothing: the ordinary way tries again, and tells why
                answer = None
            asker.respond(answer)

        try:
            unit = creates.unit(body, request_id)
            if unit is not None:
                cast(SupportsSubmit, self._store).submit(unit, settle)
        except (Problem, StoreError):  # the ordinary way finds it again, and tells
            return False
        return unit is not None


def _answer(waiting: _Waiting, glance: Glance) -> Answer | None:
    try:
        return waiting.answer(glance, waiting.what, waiting.asked)
    except Exception:  # the ordinary way makes it again, whatever it is, and tells
        return None


def _has(asked: Asked, etag: str) -> bool:
    """Whether the asker has what an entity tag stands for."""
    return asked.none_match is not None and is_not_modified({"if-none-match": asked.none_match}, etag)
