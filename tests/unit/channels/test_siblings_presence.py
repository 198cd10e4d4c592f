"""What processes know of each other's members, whatever a bus does to what they say."""

from collections.abc import Iterable
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from crudite.channels.limits import Allowance, ChannelLimits
from crudite.channels.roll import Roll, difference
from crudite.channels.siblings import Change, SiblingsPresence
from crudite.channels.telling import Present

LIMITS = ChannelLimits(beat=1, grace=2)


class Process:
    """One process, whose members come and go."""

    def __init__(self, name: str) -> None:
        self.roll = Roll()
        self.touched: set[str] = set()
        self.siblings = SiblingsPresence(name, self.roll, LIMITS, self._touch, lambda: None)
        self.name = name

    def _touch(self, channels: Iterable[str]) -> None:
        self.touched.update(channels)

    def put(self, channel: str, number: int, member: str, state: int = 0) -> None:
        present = Present(member, None, msgspec.Raw(b"%d" % state))
        self.roll.put(channel, (self.name, number), present)
        self.siblings.changed(Change(channel, number, member, present))

    def drop(self, channel: str, number: int, member: str) -> None:
        self.roll.drop(channel, (self.name, number), member)
        self.siblings.changed(Change(channel, number, member))

    def known(self) -> dict[str, dict[str, Present]]:
        return {channel: self.roll.members(channel) for channel in "ab" if self.roll.count(channel)}


def exchange(processes: list[Process], now: float, draws: Random, loss: float) -> None:
    """Everybody tells what is due; of that some is lost, and the rest may come in any order."""
    for sender in processes:
        messages = sender.siblings.take_due()
        for hearer in processes:
            arriving = [message for message in messages if draws.random() >= loss]
            if loss:
                draws.shuffle(arriving)
            for message in arriving:
                hearer.siblings.hear(message, now)


steps = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 4), st.integers(0, 3)), max_size=40)


@given(st.integers(0, 2**32), st.lists(steps, min_size=2, max_size=3), st.sampled_from([0.0, 0.3, 0.7]))
def test_a_few_beats_after_the_last_loss_all_processes_know_the_same(seed: int, told: list, loss: float) -> None:  # type: ignore[type-arg]
    draws, now = Random(seed), 0.0
    processes = [Process(f"p{at}") for at in range(len(told))]
    for at in range(max(map(len, told))):
        for process, of_it in zip(processes, told, strict=True):
            if at < len(of_it):
                comes, channel, number, state = of_it[at]
                member = f"m{number % 3}"  # which may be at several processes
                if comes:
                    process.put(channel, number, member, state)
                else:
                    process.drop(channel, number, member)
        now += 0.1
        exchange(processes, now, draws, loss)
    for _ in range(4):
        now += 1.0
        for process in processes:
            process.siblings.beat(now)
        for _ in range(3):
            exchange(processes, now, draws, 0.0)
    members = [{channel: set(of) for channel, of in process.known().items()} for process in processes]
    assert all(one == members[0] for one in members)
    for process in processes:  # each by itself is known everywhere as it is
        own = sorted(process.roll.of(process.name), key=repr)
        assert all(sorted(other.roll.of(process.name), key=repr) == own for other in processes)


def test_a_process_that_is_silent_is_forgotten_and_one_that_says_goodbye_sooner() -> None:
    one, other = Process("one"), Process("other")
    other.put("a", 1, "ann")
    exchange([one, other], 0.0, Random(0), 0.0)
    other.siblings.beat(0.5)
    for _ in range(3):
        exchange([one, other], 0.5, Random(0), 0.0)
    assert one.known().keys() == {"a"}
    one.siblings.beat(3.4)
    assert one.known().keys() == {"a"}
    one.siblings.beat(3.5)
    assert one.known() == {}
    assert one.touched == {"a"}
    exchange([one, other], 4.0, Random(0), 0.0)
    other.siblings.beat(4.0)
    for _ in range(3):
        exchange([one, other], 4.0, Random(0), 0.0)
    assert one.known().keys() == {"a"}
    one.siblings.hear(other.siblings.farewell(), 4.0)
    one.siblings.beat(5.9)
    assert one.known().keys() == {"a"}
    one.siblings.beat(6.0)
    assert one.known() == {}


def test_a_part_with_many_members_goes_in_pieces_that_every_bus_takes() -> None:
    one, other = Process("one"), Process("other")
    for number in range(500):
        other.put("a", number, f"member-{number}-{'x' * 40}")
    other.siblings.missed()
    messages = other.siblings.take_due()
    assert max(map(len, messages)) < 5_990
    for message in messages:
        one.siblings.hear(message, 0.0)
    assert one.roll.count("a") == 500


def test_what_no_process_says_is_passed_over() -> None:
    one = Process("one")
    for payload in (b"{}", b"no json", b'{"type":"beat"}', b"\xff"):
        one.siblings.hear(payload, 0.0)
    assert one.known() == {}


def test_the_newest_connection_of_a_member_says_how_it_is_shown() -> None:
    roll = Roll()
    old, new = Present("m", 1, msgspec.Raw(b'"old"')), Present("m", 1, msgspec.Raw(b'"new"'))
    roll.put("a", ("p", 1), old)
    roll.put("a", ("q", 1), new)
    assert roll.members("a") == {"m": new}
    roll.drop("a", ("q", 1), "m")
    assert roll.members("a") == {"m": old}
    assert difference({"m": old}, {"m": new, "n": old}) == ([old], [new], [])
    roll.drop("a", ("p", 1), "m")
    assert roll.members("a") == {}
    assert difference({"m": old}, {}) == ([], [], ["m"])


def test_an_allowance_gives_so_many_at_once_and_then_one_at_a_time() -> None:
    allowance = Allowance(ChannelLimits(rate=2, burst=3), 0.0)
    assert [allowance.take(0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert [allowance.take(0.25), allowance.take(0.5), allowance.take(0.5)] == [0.25, 0, 0.5]
    assert [allowance.take(100.0) for _ in range(4)] == [0, 0, 0, 0.5]
