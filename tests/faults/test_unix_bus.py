"""Siblings on a Unix socket stay together whoever of them dies, and whatever happens to the socket."""

import asyncio
import os
import signal
import stat
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from crudite.buses import open_bus
from crudite.buses.link import Patience
from crudite.buses.unix import UnixBus
from crudite.errors import BusError
from crudite.testing.buses import PATIENCE, next_of, until, woken

SOON = Patience(answer=2.0, pulse=0.05, retry=(0.01, 0.1))
ROOT = Path(__file__).parents[2]


def sibling(path: Path) -> UnixBus:
    """A bus in this process."""
    return UnixBus(f"unix://{path}", patience=SOON)


@asynccontextmanager
async def process(path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A sibling in a process of its own, which hears already."""
    command = [sys.executable, "-m", "tests.faults.siblings", f"unix://{path}"]
    running = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=ROOT)
    try:
        assert await said(running) == ""
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()  # it ends when what it said is read


async def said(running: asyncio.subprocess.Process) -> str:
    """The next that it heard."""
    assert running.stdout is not None
    return (await asyncio.wait_for(running.stdout.readline(), PATIENCE)).decode().strip()


async def test_processes_hear_each_other(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    async with process(path) as first, process(path) as second, sibling(path) as here:
        heard = await woken(here, "news")
        assert first.stdin is not None
        first.stdin.write(b"from the hub\n")
        assert [await next_of(heard), await said(second)] == [b"from the hub", "from the hub"]
        await here.publish("news", b"from us")
        assert await said(first) == "from the hub"  # its own subscribers are told too
        assert [await said(first), await said(second)] == ["from us", "from us"]


async def test_another_takes_over_from_a_hub_that_is_killed_and_all_are_woken(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    async with process(path) as hub, sibling(path) as here, sibling(path) as there:
        ours, theirs = await woken(here, "news"), await woken(there, "news")
        hub.kill()
        assert [await next_of(ours), await next_of(theirs)] == [b"", b""]
        await here.publish("news", b"one")
        assert (await until(theirs, b"one"))[-1] == b"one"
        assert here.figures.failures + there.figures.failures >= 2


async def test_one_after_the_other_is_the_hub_and_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(process(path)) for _ in range(3)]
        here = await stack.enter_async_context(sibling(path))
        for left in range(2, -1, -1):
            processes.pop(0).kill()
            for number, other in enumerate(processes):
                word = f"{left} {number}"
                while True:  # what is said while nobody is the hub may be lost, and a wake-up comes instead
                    await here.publish("news", word.encode())
                    heard = await said(other)
                    if heard == word:
                        break
        heard_last = await woken(here, "news")
        await here.publish("news", b"alone")
        assert await next_of(heard_last) == b"alone"


async def test_a_hub_that_leaves_hands_over(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    async with AsyncExitStack() as first:
        await woken(await first.enter_async_context(sibling(path)), "news")
        async with sibling(path) as here, sibling(path) as there:
            ours, theirs = await woken(here, "news"), await woken(there, "news")
            await first.aclose()
            assert [await next_of(ours), await next_of(theirs)] == [b"", b""]
            await here.publish("news", b"one")
            await until(theirs, b"one")
    assert not path.exists()


@pytest.mark.parametrize("names", [["bus"], ["bus", "bus.lock"]])
async def test_files_that_are_removed_under_a_hub_separate_nobody(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "bus"
    async with sibling(path) as here, sibling(path) as there:
        ours, theirs = await woken(here, "news"), await woken(there, "news")
        for name in names:
            (tmp_path / name).unlink()
        async with sibling(path) as late:
            heard = await woken(late, "news")
            assert [await next_of(ours), await next_of(theirs)] == [b"", b""]
            await _all_meet([here, there, late], [ours, theirs, heard])


async def _all_meet(buses: list[UnixBus], heard: list[AsyncIterator[bytes]]) -> None:
    """Each reaches each; what was said before all have found the same hub may be lost."""
    for bus in buses:
        for reader in heard:
            async with asyncio.timeout(PATIENCE):
                word = os.urandom(8)
                while True:
                    await bus.publish("news", word)
                    try:
                        async with asyncio.timeout(0.2):
                            while await anext(reader) != word:
                                pass
                        break
                    except TimeoutError:
                        continue


async def test_a_hub_that_stands_still_is_noticed_and_when_it_goes_on_all_hear_again(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    impatient = Patience(answer=0.2, pulse=0.05, retry=(0.01, 0.1))
    async with process(path) as hub, UnixBus(f"unix://{path}", patience=impatient) as here:
        heard = await woken(here, "news")
        hub.send_signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(PATIENCE):
                while not here.figures.failures:  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(0.01)
            await here.publish("news", b"meanwhile")
            assert (await until(heard, b"meanwhile"))[-1] == b"meanwhile"
        finally:
            hub.send_signal(signal.SIGCONT)
        assert await next_of(heard) == b""
        async with asyncio.timeout(PATIENCE):
            while True:
                await here.publish("news", b"after")
                if await said(hub) == "after":
                    break


async def test_only_the_owner_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    async with sibling(path) as bus:
        await woken(bus, "news")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "bus.lock").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "nonsense", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"\0\0\0\2m\xff", b"\0\0\0\3", b"\xff" * 64]
)
async def test_who_talks_nonsense_to_the_hub_harms_nobody(tmp_path: Path, nonsense: bytes) -> None:
    path = tmp_path / "bus"
    async with sibling(path) as here, sibling(path) as there:
        heard = await woken(there, "news")
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(nonsense)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
        await here.publish("news", b"one")
        assert await next_of(heard) == b"one"


async def test_a_sibling_that_does_not_read_is_bounded_and_slows_down_nobody(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    async with sibling(path) as here, process(path) as slow, sibling(path) as there:
        heard = await woken(there, "end")
        await woken(here, "news")
        slow.send_signal(signal.SIGSTOP)
        try:
            for n in range(300):
                await here.publish("news", b"%03d" % n * 30_000)  # 27 MB
                await asyncio.sleep(0)
            await here.publish("end", b"end")
            assert (await until(heard, b"end"))[-1] == b"end"
        finally:
            slow.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("url", ["unix://relative/path", "unix:", "unix:///x?y=1", "unix:///" + "long/" * 30])
def test_a_url_that_is_no_place_for_a_socket_is_refused(url: str) -> None:
    with pytest.raises(BusError):
        open_bus(url)


async def test_a_directory_that_does_not_exist_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(BusError, match="no directory"):
        async with sibling(tmp_path / "nowhere" / "bus"):
            pass
