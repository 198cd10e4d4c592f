"""A long mixed load with crashes, cuts and slow readers, and a verdict on what it left behind.

On SQLite or PostgreSQL, in one process or several; on PostgreSQL other programs write, too (`benchmarks.strangers`),
and the database dies as the servers do.

Three times a minute the writers stop, everybody comes back, and then each client's view must be what the same query
answers by REST, and the store must hold every write that was acknowledged. Memory may not grow, nor may events
become later. What cannot be: an answer of 500, a connection that ends for no reason, a traceback in the log.
"""

import json
import random
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generator import message
from benchmarks.ledger import Doing, Ledger, SoakWriter
from benchmarks.rows import body
from benchmarks.servers import BenchmarkError
from benchmarks.soaked import Soaked, StoreKind
from benchmarks.strangers import OWNER
from benchmarks.swarm import Swarm
from benchmarks.views import Notes, Query, SocketViewer, StreamViewer, Viewer

OWNERS = 40
RECORDS = 2_000  # beyond which more is deleted than created
WRITERS = 6
RATE = 150.0  # writes a second
CHECK_SECONDS = 20.0
LIFE_SECONDS = 90.0  # of one server at least, on average: memory that grows must have time to be seen
EQUAL_SECONDS = 60.0  # within which all must be equal once nobody writes
REST_SECONDS = 5.0  # after which it is looked up once more what all must be equal to
CACHES_MB = 240.0  # what the page caches of one process may take, once; memory is to be flat after that
FLAT, FLAT_CHECKS = 1.15, 24  # how much larger memory may be than half a life ago, when the life had so many checks
LATER, LATER_SECONDS = 2.0, 0.1  # how much later events may be in the last third than in the first
STATE = re.compile(r"crudite_(connections|live_(queue|connections|catch_ups|slow_closes|resets|failures|batches))")
SMALL_BUFFER = 4_096  # of the readers that become slow
LARGE = 8_000  # characters of some notes

ALL = Query({}, "")
QUERIES = [
    ALL,
    Query({"where": {"status": "todo"}}, "status=todo"),
    Query({"where": {"priority": {"gte": 7}}}, "priority[gte]=7"),
    Query({"where": {"done": True, "owner": {"lt": 9}}}, "done=true&owner[lt]=9"),
    Query({"where": {"title": {"contains": "7"}}}, "title[contains]=7"),
    Query({"sort": ["-priority", "title"], "limit": 20}, "sort=-priority,title&limit=20"),
    *(Query({"where": {"owner": owner}}, f"owner={owner}") for owner in range(OWNERS)),
    *(
        Query({"where": {"owner": owner}, "sort": ["title"], "limit": 10}, f"owner={owner}&sort=title&limit=10")
        for owner in range(OWNERS)
    ),
]


@dataclass(frozen=True)
class Check:
    """What was seen at one checkpoint: seconds since the start, age and memory of the server, lateness of events."""

    at: float
    life: int
    memory_mb: float
    late_p99: float


class Soak:
    """The load, its clients and its server."""

    def __init__(self, swarm: Swarm, soaked: Soaked, clients: int, seed: int, minutes: float) -> None:
        self.swarm, self.soaked = swarm, soaked
        self.random = random.Random(seed)
        self.ledger, self.notes = Ledger(), Notes()
        self.writers = [SoakWriter(self.ledger, self.come_back) for _ in range(WRITERS)]
        self.viewers = [self.viewer(number) for number in range(clients)]
        self.started = time.monotonic()
        self.ends_at = self.started + minutes * 60
        self.life_seconds = max(LIFE_SECONDS, minutes * 60 / 5)
        self.plans: list[tuple[float, Callable[[], None]]] = []
        self.checks: list[Check] = []
        self.writes = self.written = self.cuts = 0
        self.is_checking = False

    def viewer(self, number: int) -> Viewer:
        """Half of the clients speak WebSocket with several queries, half server-sent events; one in ten is slow."""
        is_slow = number % 20 < 2
        if number % 2:
            queries = [ALL, *self.random.sample(QUERIES[1:], 4)] if is_slow else self.random.sample(QUERIES, 5)
            made: Viewer = SocketViewer(queries, self.notes, self.come_back)
        else:
            made = StreamViewer([ALL if is_slow else self.random.choice(QUERIES)], self.notes, self.come_back)
        if is_slow:
            made.receive_buffer = SMALL_BUFFER
        return made

    def come_back(self, client: Viewer | SoakWriter) -> None:
        """A client whose connection has ended connects again: a writer at once, others at random within two seconds."""
        if isinstance(client, Viewer):
            client.is_paused = False
        self.after(self.random.uniform(0, 2) if isinstance(client, Viewer) else 0, lambda: self.connect(client))

    def connect(self, client: Viewer | SoakWriter) -> None:
        if client not in self.swarm.clients:
            self.swarm.connect(client)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self.plans.append((time.monotonic() + seconds, call))

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Call again and again, with pauses of so many seconds on average, but not while all is compared."""

        def again() -> None:
            if not self.is_checking:
                call()
            self.after(self.random.uniform(0.5, 1.5) * seconds, again)

        self.after(self.random.uniform(0.5, 1.5) * seconds, again)

    def run(self) -> list[str]:
        """Load until the time is over; what was found to be wrong, soonest first."""
        self.fill()
        self.swarm.open([*self.writers, *self.viewers])
        self.every(0.5, self.cut)
        self.every(2, lambda: self.pause(self.random.uniform(1, 8)))
        self.every(5, lambda: self.pause(CHECK_SECONDS))
        self.every(10, self.write_many)
        self.every(self.life_seconds, self.die)
        checked, began, due_before = time.monotonic(), time.monotonic(), 0
        while (now := time.monotonic()) < self.ends_at:
            self.act(now)
            due = int((now - began) * RATE)
            for _ in range(min(due - due_before, WRITERS)):
                self.write()
            due_before = due
            self.swarm.turn(0.002)
            if now - checked > CHECK_SECONDS:
                if found := self.check():
                    return found
                checked = time.monotonic()
                began, due_before = checked, 0
        return self.check()

    def fill(self) -> None:
        """As many records as there will be, so that memory need not grow for more of them."""
        for first in range(0, RECORDS, 100):
            records = [self.fields(first + each, "x" * LARGE if each % 7 == 0 else "small") for each in range(100)]
            status, made = self.soaked.server.call("POST", "/items", records)
            if status != 201:
                raise BenchmarkError(f"a create was answered {status}: {made}")
            self.ledger.titles.update((each["id"], each["title"]) for each in made)
        self.written = RECORDS

    def act(self, now: float) -> None:
        """Do what is due."""
        due = [plan for plan in self.plans if plan[0] <= now]
        self.plans = [plan for plan in self.plans if plan[0] > now]
        for _, call in due:
            call()

    def write(self) -> None:
        """One create, update or delete by a writer that is free."""
        writer = next((each for each in self.writers if each.is_ready), None)
        if writer:
            self.writes += 1
            writer.start(self.doing())

    def doing(self) -> Doing:
        number = self.written = self.written + 1
        busy = {each.doing.key for each in self.writers if each.doing} | self.ledger.doubted.keys()
        free = [key for key in self.random.sample(list(self.ledger.titles), min(20, len(self.ledger.titles)))
                if key not in busy]  # fmt: skip
        dice = self.random.random()
        creating, deleting = (0.05, 0.45) if len(self.ledger.titles) > RECORDS else (0.4, 0.3)
        if not free or dice < creating:
            return self.creating([number], f"note {number}")
        if dice > 1 - deleting:
            return Doing(message("DELETE", f"/items/{free[0]}"), key=free[0])
        fields: dict[str, Any] = {"title": f"title {number}"}
        for name in self.random.sample(("status", "priority", "owner", "done"), 2):
            fields[name] = self.fields(self.random.randrange(10_000), "")[name]
        if self.random.random() < 0.5:
            # What fills the buffer of a slow reader.
            fields["notes"] = "x" * LARGE if self.random.random() < 0.3 else "small again"
        patch = message("PATCH", f"/items/{free[0]}", json.dumps(fields).encode())
        return Doing(patch, key=free[0], title=fields["title"])

    def creating(self, numbers: list[int], notes: str) -> Doing:
        records = [self.fields(number, notes) for number in numbers]
        request = message("POST", "/items", json.dumps(records).encode())
        return Doing(request, created=tuple(str(each["title"]) for each in records))

    def fields(self, number: int, notes: str) -> dict[str, Any]:
        made = {**body(number), "title": f"title {number}", "notes": notes, "owner": self.random.randrange(OWNERS)}
        return {**made, "priority": self.random.randrange(10)}

    def write_many(self) -> None:
        """A hundred records in one transaction."""
        writer = next((each for each in self.writers if each.is_ready), None)
        if writer:
            self.writes += 1
            numbers = range(self.written + 1, self.written + 101)
            self.written += 100
            writer.start(self.creating(list(numbers), "one of many"))

    def cut(self) -> None:
        """A client's network fails; one in ten has forgotten all when it is back."""
        viewer = self.random.choice(self.viewers)
        if viewer in self.swarm.clients:
            self.cuts += 1
            self.swarm.close(viewer)
            if self.random.random() < 0.1:
                for view in viewer.views:
                    view.void()
            viewer.lost()

    def pause(self, seconds: float) -> None:
        """A client stops reading for a while; for a long one, one whose buffer is small."""
        can = [each for each in self.viewers if each in self.swarm.clients and not each.is_paused]
        can = [each for each in can if each.receive_buffer or seconds < CHECK_SECONDS]
        if not can:
            return
        viewer = self.random.choice(can)
        viewer.is_paused = True
        self.swarm.pause(viewer)
        self.after(seconds, lambda: self.go_on(viewer))

    def go_on(self, viewer: Viewer) -> None:
        if viewer.is_paused and viewer in self.swarm.clients:
            viewer.is_paused = False
            viewer.unsettle()
            self.swarm.go_on(viewer)

    def die(self) -> None:
        """Something dies, and is started again."""
        if not self.soaked.die():
            return
        for viewer in self.viewers:
            self.go_on(viewer)
        self.swarm.until(
            lambda: not any(each in self.swarm.clients for each in self.writers),
            10,
            lambda: "a writer's connection outlived its server.",
        )

    def check(self) -> list[str]:
        """Let everything come to rest, then compare all that is held anywhere."""
        self.swarm.until(lambda: not any(each.doing for each in self.writers), 30, lambda: "a write hangs.")
        for viewer in self.viewers:
            self.go_on(viewer)
        self.soaked.rest()
        stored = self.fetch(ALL)
        found = self.ledger.faults({each["id"]: each["title"] for each in stored if each["owner"] != OWNER})
        found += self.soaked.faults(stored)
        if found:
            return [f"{len(found)} records of the store are wrong: {found[0]}"]
        queries = {view.query.url: view.query for each in self.viewers for view in each.views}.values()
        deadline, self.is_checking = time.monotonic() + EQUAL_SECONDS, True
        while True:
            answers = {query.url: {record["id"]: record for record in self.fetch(query)} for query in queries}
            found = self.unequal(answers)
            if not found:
                break
            if time.monotonic() > deadline:
                return [f"{len(found)} views are not what REST answers: {found[0]}; the server: {self.state()}"]
            rested = time.monotonic() + REST_SECONDS
            while self.unequal(answers) and time.monotonic() < rested:
                self.act(time.monotonic())
                self.swarm.turn(0.02)
        self.is_checking = False
        self.soaked.go_on()
        self.checks.append(self.seen())
        log = self.soaked.server.log()
        at = log.find("Traceback")
        return [] if at < 0 else [f"the server's log has a traceback: {log[max(0, at - 500) : at + 5_000]}"]

    def unequal(self, answers: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
        """The views that are not what was answered to their queries. Whoever is idle in a transaction for long may end
        it in between, so that it has to be asked again."""
        return [
            difference(viewer, view.query, view.records, answers[view.query.url])
            for viewer in self.viewers
            for view in viewer.views
            if not viewer.is_ready or view.records != answers[view.query.url]
        ]

    def state(self) -> str:
        """What the server tells of its connections, and what it has written last."""
        figures = [line for line in self.soaked.server.text("/metrics").splitlines() if STATE.match(line)]
        return f"{', '.join(figures)}; {self.soaked.server.said()}"

    def seen(self) -> Check:
        lags = sorted(self.notes.lags) or [0.0]
        self.notes.lags.clear()
        check = Check(
            at=time.monotonic() - self.started,
            life=self.soaked.life,
            memory_mb=self.soaked.resident_bytes() / 1e6,
            late_p99=lags[int(len(lags) * 0.99)],
        )
        held = sum(len(view.records) for each in self.viewers for view in each.views)
        print(
            f"  {check.at:5.0f} s: all equal ({len(self.ledger.titles):,} records, {held:,} held by clients), "
            f"memory {check.memory_mb:.0f} MB, late p99 {check.late_p99 * 1000:.0f} ms of {len(lags):,}",
            flush=True,
        )
        return check

    def fetch(self, query: Query) -> list[dict[str, Any]]:
        """What REST answers: a window, or all pages."""
        question, found = {**query.json, "limit": query.json.get("limit", 1000)}, []
        deadline = time.monotonic() + EQUAL_SECONDS
        while True:
            status, page, following = self.soaked.server.page("/items/query", question)
            if status == 503 and time.monotonic() < deadline:
                continue  # it has lost its database, and has not found it again
            if status != 200:
                raise BenchmarkError(f"a query was answered {status}: {page}")
            found += page
            if query.is_window or not following:
                return found
            question["cursor"] = following

    def summary(self) -> str:
        return (
            f"{self.writes:,} writes; deaths: {dict(self.soaked.deaths)}; "
            f"{self.cuts:,} cuts, {self.notes.resumed:,} subscriptions resumed; begun anew: {dict(self.notes.resets)}; "
            f"closed by the server: {dict(self.notes.closes)}"
        )


def difference(viewer: Viewer, query: Query, held: dict[str, dict[str, Any]], answer: dict[str, dict[str, Any]]) -> str:
    """In words, how a view is not what it should be."""
    who = f"{type(viewer).__name__} of {query.url!r}" + ("" if viewer.is_ready else ", not ready")
    wrong = [key for key in held.keys() & answer.keys() if held[key] != answer[key]]
    example = f"; it holds {held[wrong[0]]} instead of {answer[wrong[0]]}" if wrong else ""
    return f"{who} lacks {len(answer.keys() - held.keys())}, has {len(held.keys() - answer.keys())} too many{example}"


def run(
    directory: Path, core: int | None, minutes: float, clients: int, seed: int, store: StoreKind, workers: int
) -> int:
    """Soak for so many minutes; 0 when all holds, and what does not is printed."""
    place = directory / "soak"
    place.mkdir()
    soaked = Soaked(place, core, store, workers, random.Random(seed))
    with Swarm(soaked.server.port) as swarm:
        soak = Soak(swarm, soaked, clients, seed, minutes)
        try:
            found = soak.run()
        except BenchmarkError as error:
            found = [str(error)]
        finally:
            soaked.stop()
    found += memory_faults(soak.checks, CACHES_MB * workers) + lag_faults(soak.checks)
    print(f"\n{soak.summary()}\n")
    print("\n".join(f"WRONG: {each}" for each in found) or "Everything holds.")
    return 1 if found else 0


def memory_faults(checks: list[Check], caches_mb: float = CACHES_MB) -> list[str]:
    """Memory that grows by more than caches take, from life to life, or still in the second half of a long life."""
    found = []
    least = checks[0].memory_mb if checks else 0.0
    for life in sorted({each.life for each in checks}):
        sizes = [each.memory_mb for each in checks if each.life == life]
        half = sizes[len(sizes) // 2]
        if max(sizes) > least + caches_mb:
            found.append(f"memory grew from {least:.0f} to {max(sizes):.0f} MB by life {life + 1}")
        elif len(sizes) >= FLAT_CHECKS and sizes[-1] > half * FLAT:
            found.append(f"memory grew from {half:.0f} to {sizes[-1]:.0f} MB in the second half of life {life + 1}")
    return found


def lag_faults(checks: list[Check]) -> list[str]:
    """Events that become later and later."""
    third = len(checks) // 3
    if not third:
        return []
    first, last = (statistics.median(each.late_p99 for each in some) for some in (checks[:third], checks[-third:]))
    if last <= first * LATER + LATER_SECONDS:
        return []
    return [f"events were {first * 1000:.0f} ms late (p99) in the first third and {last * 1000:.0f} ms in the last"]
