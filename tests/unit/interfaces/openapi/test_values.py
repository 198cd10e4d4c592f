"""The schemas of values accept what the types of fields accept."""

import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.interfaces.openapi.values import decimal_pattern, operators_of, operators_schema, value_schema
from crudite.query.comparisons import compare
from crudite.query.tree import OPERATORS, Condition, Path
from crudite.schema import FieldSpec, FieldType

TYPES = [
    FieldType("text"), FieldType("integer"), FieldType("bigint"), FieldType("float"), FieldType("boolean"),
    FieldType("decimal", places=2), FieldType("date"), FieldType("time"), FieldType("datetime"),
    FieldType("uuid"), FieldType("text", choices=("red", "blue")), FieldType("json", item=FieldType("text")),
    FieldType("json"),
]  # fmt: skip


@pytest.mark.parametrize("type", TYPES, ids=repr)
def test_exactly_the_operators_that_a_field_takes_are_named(type: FieldType) -> None:
    path = Path((), FieldSpec("field", type), (), type)

    def is_taken(operator: Any) -> bool:
        codes: list[str] = []
        value = True if operator in ("isnull", "exists") else None
        compare(path, Condition(("field",), operator, value), False, lambda code, _: codes.append(code))
        return "bad_operator" not in codes

    assert set(operators_of(type)) == {operator for operator in OPERATORS if is_taken(operator)}


@given(value=st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**15), max_value=10**15))
def test_every_decimal_that_the_type_accepts_has_the_form_that_is_described(value: Any) -> None:
    plain = FieldType("decimal", places=2).check(f"{value:.2f}")
    assert re.fullmatch(decimal_pattern(2), plain)


@pytest.mark.parametrize("value", ["12.345", "1e5", "", "1.", "12345678901234567", "NaN"])
def test_what_is_no_decimal_of_two_places_does_not_have_that_form(value: str) -> None:
    assert not re.fullmatch(decimal_pattern(2), value)


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [("14:40", True), ("14:40:37.5", True), ("14:40:37.000000", True), ("24:00", False), ("14:40Z", False)],
)
def test_a_time_has_no_zone(value: str, is_valid: bool) -> None:
    assert jsonschema.Draft202012Validator(value_schema(FieldType("time"))).is_valid(value) is is_valid


def test_an_object_of_operators_has_the_right_value_for_each() -> None:
    schema = jsonschema.Draft202012Validator(operators_schema(FieldType("integer")))
    assert schema.is_valid({"gte": 1, "lt": 5})
    assert schema.is_valid({"in": [1, None], "between": [1, 2]})
    assert not schema.is_valid({})
    assert not schema.is_valid({"contains": "1"})
    assert not schema.is_valid({"between": [1]})
    assert not schema.is_valid({"lt": None})
