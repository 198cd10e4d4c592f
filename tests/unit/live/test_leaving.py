"""A server that goes away ends its connections in steps."""

from crudite.live.leaving import steps


def sizes(count: int, within: float) -> list[int]:
    return [len(step) for step in steps(range(count), within)]


def test_a_tenth_of_all_ends_each_second() -> None:
    assert sizes(10_000, 30) == [100] * 100


def test_all_have_ended_in_time() -> None:
    assert sizes(10_000, 2) == [500] * 20


def test_few_end_in_steps_of_ten() -> None:
    assert sizes(25, 30) == [10, 10, 5]


def test_without_time_all_end_at_once() -> None:
    assert sizes(10_000, 0) == [10_000]
    assert sizes(0, 0) == sizes(0, 5) == []


def test_everybody_is_in_one_step() -> None:
    assert [one for step in steps(range(1_234), 7) for one in step] == list(range(1_234))
