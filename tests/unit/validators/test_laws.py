"""Laws of validators: by name, by value, in a body and in JSON Schema they say the same."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite import Field, Invalid, Resource, validators
from crudite.resources.declaring.compile import compile_resources

RULES = (
    "alphanumeric", "array", "boolean", "double", "email", "float", "integer", "integerArray", "list:red,green,a b",
    "maximum:3", "minimum:2", "notblank", "notpadded", "notpattern:[<>]", "number", "pattern:^[a-z]+$", "string",
    "stringArray", "unique", "url",
)  # fmt: skip
TOLD_WHOLE = set(RULES) - {"email", "url"}
"""Those whose JSON Schema tells all of it, for values of the types that they are for."""

TEXTS = st.one_of(
    st.text(st.sampled_from("aZ0 é<\t_:"), max_size=5), st.sampled_from(["red", "a b", "a@b.org", "http://a.b"])
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2.0]), TEXTS)
REPEATING = st.lists(st.sampled_from([0, 1, 1.0, True, "a", None]), max_size=4)
VALUES = st.one_of(LEAVES, st.lists(LEAVES, max_size=4), REPEATING, st.dictionaries(TEXTS, LEAVES, max_size=2))


def resource_of(rules: list[str]) -> Any:
    """The body of a resource whose one field, of any JSON, has these validators."""
    cls = type("One", (Resource,), {"__annotations__": {"it": Any}, "it": Field(validate=rules)})
    return compile_resources([cls], open=True)[cls].bodies["create"]


BODIES = {rule: resource_of([rule]) for rule in RULES}


def is_for(rule: str, value: Any) -> bool:
    """Whether JSON Schema's words say something of such a value: a length says nothing of a number."""
    if rule in ("maximum:3", "minimum:2"):
        return isinstance(value, str | list)
    if rule in ("alphanumeric", "notblank", "notpadded", "notpattern:[<>]", "pattern:^[a-z]+$"):
        return isinstance(value, str)
    return rule != "unique" or isinstance(value, list)


def test_every_predefined_validator_is_held_against_the_laws() -> None:
    assert {rule.partition(":")[0] for rule in RULES} == set(validators.NAMES)


@given(st.sampled_from(RULES), VALUES)
def test_a_rule_that_is_read_and_written_again_is_the_same(rule: str, value: Any) -> None:
    validator = validators.named(rule)

    assert validator.rule == rule
    assert validators.named(validator.rule) == validator
    assert validators.check(value, rule) is validators.check(value, validator) is validator.accepts(value)


@given(st.sampled_from(RULES), VALUES)
def test_a_body_takes_what_the_validator_accepts_and_nothing_else(rule: str, value: Any) -> None:
    if validators.check(value, rule):
        assert BODIES[rule].parse({"it": value}) == {"it": value}
    else:
        with pytest.raises(Invalid) as caught:
            BODIES[rule].parse({"it": value})
        assert [fault.rule for fault in caught.value.faults] == [rule]


@given(st.lists(st.sampled_from(RULES), min_size=1, max_size=4, unique=True), VALUES)
def test_of_several_validators_exactly_those_are_told_that_fail(rules: list[str], value: Any) -> None:
    failing = [rule for rule in rules if not validators.check(value, rule)]
    try:
        resource_of(rules).parse({"it": value})
        told = []
    except Invalid as invalid:
        told = [fault.rule for fault in invalid.faults]

    assert told == failing


@pytest.mark.parametrize("rule", RULES)
@given(value=VALUES)
def test_json_schema_excludes_nothing_that_is_accepted_and_tells_all_that_it_can(rule: str, value: Any) -> None:
    schema = BODIES[rule].adapter.json_schema()["properties"]["it"]
    is_valid = jsonschema.Draft202012Validator(schema).is_valid(value)

    if validators.check(value, rule):
        assert is_valid
    elif rule in TOLD_WHOLE and is_for(rule, value):
        assert not is_valid


@given(st.text(max_size=6))
def test_what_is_neither_blank_nor_padded_is_what_stripping_leaves(text: str) -> None:
    both = validators.check(text, "notblank") and validators.check(text, "notpadded")

    assert both is (text.strip() == text != "")
