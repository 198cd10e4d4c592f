"""Whatever dies takes nobody's data along: several processes on one database, written to and watched over all of them.

After each fault every acknowledged write is there once, every live view is what a fresh query answers, and nobody
hangs (`Load.holds`). The clients are elsewhere, over real sockets.
"""

import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.chaos import break_at_random, by_way_of, crashed, ended, killed, on, restarted
from tests.faults.fleet import PROGRAM, Load, fetch, load, program
from tests.services.brokers import Broker
from tests.services.clocks import machine_clock
from tests.services.cluster import Cluster, cluster
from tests.services.disks import Disk, small_disk
from tests.services.proxy import Proxy


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A PostgreSQL of these tests' own, which they kill."""
    with cluster() as running:
        yield running


@pytest.fixture(params=["nats", "valkey"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """A broker to kill."""
    running: Broker = request.getfixturevalue(f"{request.param}_broker")
    return running


def cut_off(running: Load, resets: int = 0) -> list[str]:
    """The clients that have lost their connection, or what they showed: but for so many times."""
    return [
        f"{type(tab).__name__} of {tab.query}: ended {tab.codes}, {tab.resets} resets"
        for tab in running.tabs
        if tab.codes or tab.resets != resets
    ]


# whoever serves


async def test_workers_are_killed_and_then_their_parent(tmp_path: Path, server: Cluster) -> None:
    async with load(tmp_path, on(server), workers=2) as running:
        (parent,) = running.fleet.parents
        for number in (2, 1):
            process = int(parent.said(rf"worker {number} \(pid (\d+)\) answers")[-1][1])
            os.kill(process, signal.SIGKILL)
            await parent.until(rf"worker {number} \(pid \d+\) answers", times=2)
            await running.holds()
        assert {code for tab in running.tabs for code in tab.codes} == {None}
        before = [len(tab.codes) for tab in running.tabs]
        await running.fleet.replace(parent)
        await running.holds()
        for tab, count in zip(running.tabs, before, strict=True):
            assert tab.codes[count] in (0, 1001)  # its worker has noticed, and told when to come back


async def test_workers_are_replaced_on_postgresql_and_nobody_is_refused_or_cut_off(
    tmp_path: Path, server: Cluster
) -> None:
    async with load(tmp_path, on(server), workers=2) as running:
        (parent,) = running.fleet.parents
        since = len(parent.lines)
        parent.process.send_signal(signal.SIGHUP)
        await parent.until("all workers have been replaced", since)
        await running.holds()
        assert running.refusals.total() == 0
        for tab in running.tabs:
            assert (set(tab.codes) <= {0, 1001}, tab.resets, tab.resumed) == (True, 0, len(tab.codes))
            assert tab.codes


# the database


@pytest.mark.parametrize(("fault", "resets"), [(ended, 0), (restarted, 0), (crashed, 1), (killed, 1)])
async def test_postgresql_goes_and_comes_back(
    tmp_path: Path, server: Cluster, fault: Callable[[Cluster], Awaitable[None]], resets: int
) -> None:
    """After a crash a new log begins, so everybody is sent his set anew."""
    async with load(tmp_path, on(server), servers=2, program=program(server.url)) as running:
        for _ in range(2):
            await fault(server)
            await running.holds()
        assert cut_off(running, 2 * resets) == []


async def test_the_way_to_postgresql_is_slow_is_cut_says_no_more_and_is_dead_for_a_while(
    tmp_path: Path, server: Cluster
) -> None:
    async with (
        Proxy(server.port) as way,
        load(tmp_path, on(server, way.port), servers=2, program=program(server.url)) as running,
    ):
        way.delay = 0.02
        await running.holds()
        way.delay = 0.0
        for _ in range(3):
            way.cut()
            await running.until(5)
        await running.holds()
        way.half_close()
        await running.holds()
        way.hold()
        await running.until_held_up()
        way.release()
        await running.holds()
        way.refuse()
        await running.until_refused(20)
        way.accept()
        await running.holds()
        assert cut_off(running) == []


# the bus


async def test_the_bus_is_killed_and_comes_back(tmp_path: Path, server: Cluster, broker: Broker) -> None:
    store = on(server) if broker.url.startswith("nats") else f"sqlite:///{tmp_path}/app.db"
    async with load(tmp_path, store, servers=2, program=program(broker.url)) as running:
        broker.kill()
        await running.holds()
        broker.start()
        await running.holds()
        assert cut_off(running) == []
        assert running.refusals.total() == 0


async def test_the_way_to_the_bus_is_slow_is_cut_says_no_more_and_is_dead(tmp_path: Path, broker: Broker) -> None:
    async with Proxy(broker.port) as way:
        text = program(by_way_of(broker, way))
        async with load(tmp_path, f"sqlite:///{tmp_path}/app.db", servers=2, program=text) as running:
            way.delay = 0.5
            await running.holds()
            way.delay = 0.0
            for fault in (way.cut, way.half_close, way.hold, way.release, way.refuse, way.accept):
                fault()
                await running.holds()
            assert cut_off(running) == []
            assert running.refusals.total() == 0


LOSSY = {
    "nats": "from crudite.buses.nats import NatsBus as Bus",
    "redis": "from crudite.buses.redis import RedisBus as Bus",
}
HALF = """
from random import random

class Lossy(Bus):
    async def publish(self, topic, payload=b""):
        if random() < 0.5:
            await super().publish(topic, payload)
"""


async def test_a_bus_that_loses_half_of_what_it_is_given_costs_nobody_anything(
    tmp_path: Path, server: Cluster, broker: Broker
) -> None:
    url = broker.url
    lossy = LOSSY[url.partition(":")[0]] + HALF + PROGRAM.format(bus=f"Lossy({url!r})")
    async with load(tmp_path, on(server), servers=2, program=lossy) as running:
        for _ in range(3):
            await running.holds()
        assert cut_off(running) == []


# the machine


async def full(running: Load, fill: Callable[[], None]) -> None:
    """While there is no room writes are refused, and all that is there is seen."""
    fill()
    await running.until_refused(20)
    for port in running.fleet.ports:
        await fetch(port)


async def test_the_disk_of_sqlite_is_full(tmp_path: Path) -> None:
    (place := tmp_path / "disk").mkdir()
    with small_disk(place, 24) as disk:
        async with load(tmp_path, f"sqlite:///{place}/app.db", workers=2, large=4_000) as running:
            for _ in range(2):
                await full(running, disk.fill)
                disk.free()
                await running.holds()
            assert cut_off(running) == []


@contextmanager
def on_small_disk(megabytes: int) -> Iterator[tuple[Cluster, Disk]]:
    """A PostgreSQL with all that it has on a small disk."""
    with cluster() as own:
        own.stop()
        aside, data = own.folder / "aside", own.folder / "data"
        data.rename(aside)
        data.mkdir(mode=0o700)
        with small_disk(data, megabytes) as disk:
            subprocess.run(["cp", "-a", f"{aside}/.", data], check=True)
            own.start()
            try:
                yield own, disk
            finally:
                own.stop("immediate")
        data.rmdir()
        aside.rename(data)
        own.start()


async def test_the_disk_of_postgresql_is_full(tmp_path: Path) -> None:
    with on_small_disk(96) as (own, disk):
        async with load(tmp_path, on(own), servers=2, program=program(own.url), large=20_000) as running:
            await full(running, disk.fill)
            disk.free()
            await running.holds()
            assert cut_off(running) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_clock_jumps(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with machine_clock(monkeypatch) as clock, cluster() as own:
        url = f"sqlite:///{tmp_path}/app.db" if kind == "sqlite" else on(own)
        async with load(tmp_path, url, workers=2) as running:
            for hours in (1, -1, 24 * 400, -24 * 400, 0):
                clock.set_ahead(timedelta(hours=hours))
                await running.holds()
            years = {row["updated_at"][:4] for row in await fetch(running.fleet.ports[0])}
            assert len(years) > 1  # it did jump
            assert cut_off(running) == []
            assert running.refusals.total() == 0


# anything


async def test_one_fault_after_the_other(tmp_path: Path, server: Cluster, nats_broker: Broker) -> None:
    assert len(await break_at_random(tmp_path, server, nats_broker, seed=1, faults=8)) == 8
