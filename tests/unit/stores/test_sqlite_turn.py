"""Turns at writing: in the order in which processes came, and never for longer than a while."""

import fcntl
import threading
from pathlib import Path

import pytest

from crudite.stores import open_store
from crudite.stores.sqlite.turn import Turn
from crudite.testing.samples import BOOK, LIBRARY, create, unit

SOON = 10.0


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A database of which only the write-ahead log matters here."""
    (tmp_path / "app.db-wal").touch()
    return f"{tmp_path}/app.db"


class Taker:
    """A process, which is here a thread, that takes its turn."""

    def __init__(self, turn: Turn, name: str, order: list[str]) -> None:
        self.turn = turn
        self.thread = threading.Thread(target=self._take, args=(name, order))
        self.thread.start()

    def _take(self, name: str, order: list[str]) -> None:
        self.turn.take()
        order.append(name)
        self.turn.give()


def until_waiting(count: int, path: str) -> None:
    """Returns when so many wait for the lock: the kernel has their places."""
    inode = f":{Path(f'{path}-wal').stat().st_ino} "
    while sum("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()) < count:
        pass


def test_who_came_first_is_served_first(path: str) -> None:
    held, order = Turn(path), list[str]()
    held.take()
    takers = []
    for count, name in enumerate("abc", 1):
        takers.append(Taker(Turn(path, SOON), name, order))
        until_waiting(count, path)
    held.give()
    for taker in takers:
        taker.thread.join(SOON)
    assert order == ["a", "b", "c"]


def test_a_turn_of_somebody_who_is_gone_is_over(path: str) -> None:
    gone, next_one = Turn(path), Turn(path, SOON)
    gone.take()
    gone.close()
    next_one.take()
    next_one.give()
    next_one.close()


def test_a_turn_that_comes_too_late_is_passed_on(path: str) -> None:
    stopped, patient = Turn(path), Turn(path, 0.01)
    stopped.take()
    patient.take()  # returns without a turn
    patient.give()
    stopped.give()
    third = Turn(path, SOON)
    third.take()
    third.give()
    patient.take()
    patient.give()
    third.take()
    third.give()


async def test_a_process_that_was_stopped_in_its_turn_delays_a_write_and_does_not_prevent_it(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/app.db")
    await store.open(LIBRARY)
    with (tmp_path / "app.db-wal").open("rb") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        commit = await store.write(unit(create(BOOK, title="a")))
        assert commit.mark is not None
    await store.close()
