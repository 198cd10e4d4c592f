"""What waits is bounded, and nothing goes without a wake-up in its place."""

from hypothesis import given
from hypothesis import strategies as st

from crudite.buses.waiting import MOST_BYTES, MOST_MESSAGES, Message, Waiting

TOPICS = st.sampled_from(["a", "b", "c"])
ADDED = st.lists(
    st.builds(Message, TOPICS, st.sampled_from([b"", b"x", bytes(300_000), bytes(1_000_000)])), max_size=80
)


@given(ADDED)
def test_whatever_is_added_it_stays_within_its_bounds_and_tells_each_topic(added: list[Message]) -> None:
    waiting = Waiting()
    for message in added:
        waiting.add(message)
    got = waiting.take_all()
    payloads = [message for message in got if message.payload]
    wakes = [message.topic for message in got if not message.payload]
    assert sum(len(message.payload) for message in payloads) <= MOST_BYTES
    assert len(wakes) == len(set(wakes))
    assert {message.topic for message in got} == {message.topic for message in added}
    told = [message for message in added if message.payload]
    assert payloads == told[len(told) - len(payloads) :], "the newest stay, in their order"
    assert waiting.dropped == len(told) - len(payloads)
    assert {message.topic for message in told[: waiting.dropped]} <= set(wakes)
    assert not waiting


@given(ADDED)
def test_taking_one_by_one_is_taking_all(added: list[Message]) -> None:
    first, second = Waiting(), Waiting()
    for message in added:
        first.add(message)
        second.add(message)
    got = []
    while first:
        got.append(first.take())
    assert got == second.take_all()


def test_many_small_payloads_are_bounded_by_their_number() -> None:
    waiting = Waiting()
    for n in range(MOST_MESSAGES + 5):
        waiting.add(Message("a", b"%d" % n))
    got = waiting.take_all()
    assert got[0] == Message("a")
    assert [message.payload for message in got[1:]] == [b"%d" % n for n in range(5, MOST_MESSAGES + 5)]
