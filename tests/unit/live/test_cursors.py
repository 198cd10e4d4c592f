"""A cursor opens only with the secret that sealed it, and a key tells rights from schemas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.live.cursors import Cursors
from crudite.query.parse import where
from tests.unit.live.world import TEAM, query

CURSORS = Cursors(b"0123456789abcdef")
OTHER = Cursors(b"another secret of this length")


@given(st.binary(max_size=200))
def test_a_sealed_token_opens_again_and_with_no_other_secret(token: bytes) -> None:
    cursor = CURSORS.seal(token)
    assert CURSORS.open(cursor) == token
    assert OTHER.open(cursor) is None


def test_the_same_position_gives_the_same_cursor() -> None:
    assert CURSORS.seal(b"position") == CURSORS.seal(b"position")
    assert CURSORS.seal(b"position") != CURSORS.seal(b"positions")


@pytest.mark.parametrize("cursor", ["", "0", "nonsense", "ÄÖ", "A" * 500, CURSORS.seal(b"p")[:-2]])
def test_what_was_not_sealed_does_not_open(cursor: str) -> None:
    assert CURSORS.open(cursor) is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Cursors(b"short")


def test_keys_differ_with_the_query_and_tell_a_change_of_the_schema() -> None:
    todo, done = CURSORS.key(query(where(status="todo"))), CURSORS.key(query(where(status="done")))
    assert todo != done
    assert Cursors.same_schema(todo, done)
    assert not Cursors.same_schema(todo, CURSORS.key(query(schema=TEAM, fields=("id", "name"))))
    assert todo == CURSORS.key(query(where(status="todo")))
