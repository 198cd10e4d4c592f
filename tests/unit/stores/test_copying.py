"""Two values are the same as JSON, whatever a database makes of their spelling."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.stores.copying import is_same

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1e308, 10**308), (0.0, -0.0), ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}), (None, None), ("é", "é")],
)
def test_what_is_spelled_otherwise_is_the_same(one: Any, other: Any) -> None:
    assert is_same(one, other)
    assert is_same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (0, False), ([0], [False]), ("1", 1), (None, False), (None, 0), ({"a": None}, {}), ([1], [1, 2]),
     ({"a": [1]}, {"a": [2]}), ("é", "e\u0301"), ([], {}), (2**53, 2**53 + 1), (0.1, 0.2)],
)  # fmt: skip
def test_what_is_another_value_is_not_the_same(one: Any, other: Any) -> None:
    assert not is_same(one, other)
    assert not is_same(other, one)


@given(VALUES)
def test_a_value_is_the_same_after_a_way_through_json(value: Any) -> None:
    assert is_same(value, msgspec.json.decode(msgspec.json.encode(value)))


@given(VALUES, VALUES)
def test_what_has_another_spelling_in_json_is_not_the_same_but_for_numbers(one: Any, other: Any) -> None:
    one, other = _without_numbers(one), _without_numbers(other)
    encode = msgspec.json.Encoder(order="deterministic").encode
    assert is_same(one, other) == (encode(one) == encode(other))


def _without_numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_numbers(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_numbers(one) for name, one in value.items()}
    return value if value is None or isinstance(value, bool | str) else str(value)
