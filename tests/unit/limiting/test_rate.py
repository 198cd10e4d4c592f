"""How a rate is written, and its arithmetic, as laws."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite import Rate, Request
from crudite.limiting import MemoryCounts, network, rate_fields

KEY = b"somebody...."


class Seconds:
    """A clock that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("quota", "amount", "seconds"),
    [
        ("10/second", 10, 1),
        ("100/minute", 100, 60),
        ("100 per minute", 100, 60),
        ("1000/hour", 1000, 3600),
        ("5/day", 5, 86_400),
        ("50/15 minutes", 50, 900),
        ("1/2 seconds", 1, 2),
    ],
)
def test_a_quota_is_a_number_and_a_time(quota: str, amount: int, seconds: int) -> None:
    rate = Rate(quota)
    assert (rate.amount, rate.seconds, rate.burst) == (amount, seconds, amount)


@pytest.mark.parametrize(
    "quota", ["", "5", "5/", "0/minute", "-1/minute", "5/month", "1.5/second", "5/0 minutes", "x/day"]
)
def test_what_is_no_quota_is_refused_and_told(quota: str) -> None:
    with pytest.raises(ValueError, match="a rate is written"):
        Rate(quota)


def test_an_unknown_action_a_burst_of_none_and_a_strange_by_are_refused() -> None:
    with pytest.raises(ValueError, match="and not fetch"):
        Rate("5/minute", action="fetch")
    with pytest.raises(ValueError, match="burst"):
        Rate("5/minute", burst=0)
    with pytest.raises(ValueError, match="by is"):
        Rate("5/minute", by="ip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name of a rate"):
        Rate("5/minute", name='a"b')


def test_a_rate_is_called_by_what_it_says_or_as_it_is_told() -> None:
    def office(request: Request) -> str:
        return "office"

    assert Rate("100/minute").name == "100/minute"
    assert Rate("5/minute", on="login", by="address").name == "5/minute login by address"
    assert Rate("5/minute", on=["b", "a"], action="create", interface="rest").name == "5/minute create a b rest"
    assert Rate("5/minute", by=office).name == "5/minute by function"
    assert Rate("5/minute", name="log-in").name == "log-in"


def test_a_burst_comes_at_once_and_then_one_whenever_its_share_of_the_time_has_passed() -> None:
    clock = Seconds()
    counts, rate = MemoryCounts(clock), Rate("60/minute", burst=3)

    def take() -> tuple[bool, int, float, float]:
        verdict = counts.take_now(KEY, rate, 1)
        return verdict.is_allowed, verdict.remaining, round(verdict.reset, 3), round(verdict.retry_after, 3)

    assert [take() for _ in range(4)] == [
        (True, 2, 1.0, 0.0),
        (True, 1, 2.0, 0.0),
        (True, 0, 3.0, 0.0),
        (False, 0, 3.0, 1.0),
    ]
    clock.now += 0.5
    assert take() == (False, 0, 2.5, 0.5)
    clock.now += 0.5
    assert take() == (True, 0, 3.0, 0.0)
    clock.now += 60
    assert take() == (True, 2, 1.0, 0.0)


def test_several_are_taken_whole_or_not_at_all() -> None:
    counts, rate = MemoryCounts(Seconds()), Rate("10/minute")
    assert counts.take_now(KEY, rate, 7).remaining == 3
    refused = counts.take_now(KEY, rate, 4)
    assert (refused.is_allowed, refused.remaining, round(refused.retry_after, 3)) == (False, 3, 6.0)
    assert counts.take_now(KEY, rate, 3).is_allowed
    with pytest.raises(ValueError, match="1 to 10"):
        counts.take_now(KEY, rate, 11)


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 3)), min_size=1, max_size=80),
)
def test_in_no_stretch_of_time_more_pass_than_the_burst_and_what_came_back_in_it(
    amount: int, burst: int, wishes: list[tuple[float, int]]
) -> None:
    clock = Seconds()
    counts, rate = MemoryCounts(clock), Rate(f"{amount}/minute", burst=max(burst, 3))
    passed: list[tuple[float, int]] = []
    for pause, cost in wishes:
        clock.now += pause
        verdict = counts.take_now(KEY, rate, cost)
        if verdict.is_allowed:
            passed.append((clock.now, cost))
        else:
            clock.now += verdict.retry_after
            assert counts.take_now(KEY, rate, cost).is_allowed, "who comes when told to is let in"
            passed.append((clock.now, cost))
    for first, (began, _) in enumerate(passed):
        total = 0
        for at, cost in passed[first:]:
            total += cost
            assert total <= rate.burst + (at - began) / rate.interval + 1e-3


def test_of_more_keys_than_it_keeps_those_that_owe_the_least_go() -> None:
    clock = Seconds()
    counts, rate = MemoryCounts(clock, most=100), Rate("5/minute")
    for _ in range(5):
        counts.take_now(KEY, rate, 1)
    for other in range(1_000):
        counts.take_now(b"%012d" % other, rate, 1)
    assert len(counts) <= 100
    assert not counts.take_now(KEY, rate, 1).is_allowed


def test_what_others_have_taken_is_owed_here_even_beyond_what_was_left() -> None:
    clock = Seconds()
    counts, rate = MemoryCounts(clock), Rate("60/minute", burst=5)
    counts.owe(KEY, 8.0)
    assert counts.take_now(KEY, rate, 1).retry_after == pytest.approx(4.0)
    clock.now += 4.0
    assert counts.take_now(KEY, rate, 1).is_allowed


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("somewhere", "somewhere"),
        (None, ""),
    ],
)
def test_an_address_of_ipv6_counts_as_its_network(address: str | None, counts_as: str) -> None:
    assert network(address) == counts_as


def test_the_headers_tell_policy_and_state_of_every_rate() -> None:
    counts = MemoryCounts(Seconds())
    verdicts = [
        counts.take_now(KEY, Rate("100/minute", burst=10), 1),
        counts.take_now(b"another key.", Rate("5/hour", name="slow"), 5),
    ]
    assert rate_fields(verdicts) == {
        "ratelimit-policy": '"100/minute";q=10;w=6, "slow";q=5;w=3600',
        "ratelimit": '"100/minute";r=9;t=1, "slow";r=0;t=3600',
    }
    assert rate_fields([]) == {}


def test_whoever_is_refused_is_told_when_to_come_again() -> None:
    counts, rate = MemoryCounts(Seconds()), Rate("2/minute")
    counts.take_now(KEY, rate, 2)
    problem = counts.take_now(KEY, rate, 1).problem()
    assert problem.headers == {"retry-after": "30"}
    assert problem.as_json()["retry_in"] == 30_000
    assert problem.as_json()["violated-policies"] == ["2/minute"]
    assert inf > counts.take_now(KEY, rate, 1).retry_after > 0
