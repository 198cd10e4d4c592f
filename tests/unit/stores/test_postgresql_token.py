"""A position in PostgreSQL's log as bytes: it comes back whole, and is never too long for a header."""

from hypothesis import given
from hypothesis import strategies as st

from crudite.changes import Reset
from crudite.stores.postgresql.log import MOST_BYTES, PostgresqlPosition, parse_token

LONG = st.integers(-(2**63), 2**63 - 1)
RUNNING = st.sets(st.integers(1, 2**40), max_size=50)


def position(tx: int, running: set[int]) -> PostgresqlPosition:
    """A position whose last transaction is later than all that run."""
    return PostgresqlPosition(1, tx, 2, 3, tuple(sorted(running)))


@given(LONG, LONG, LONG, RUNNING)
def test_a_position_comes_back_from_its_token(log: int, seq: int, salt: int, running: set[int]) -> None:
    there = PostgresqlPosition(log, max(running, default=0) + 1, seq, salt, tuple(sorted(running)))
    assert parse_token(there.token) == there


@given(st.binary(max_size=100))
def test_any_bytes_are_a_position_or_a_reset(token: bytes) -> None:
    assert isinstance(parse_token(token), PostgresqlPosition | Reset)


def test_transactions_that_began_near_each_other_take_a_byte_each() -> None:
    assert len(position(1000, set(range(700, 1000))).token) == 32 + 300
    assert len(position(10**12, {10**12 - 100 * n for n in range(1, 301)}).token) == 32 + 300


def test_a_token_that_would_be_too_long_leads_nowhere_and_is_still_its_own() -> None:
    most = set(range(1, MOST_BYTES - 31))
    assert parse_token(position(5000, most).token) == Reset("too_many")  # the first distance takes two bytes
    assert parse_token(position(MOST_BYTES - 31, most).token) == position(MOST_BYTES - 31, most)
    assert position(5000, most).token != position(5000, most | {4000}).token
    assert len(position(5000, most).token) < 50
