"""Definitions turn records into instances and back, make defaults, and describe themselves."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from crudite.errors import Invalid, Malformed
from crudite.messages import ANONYMOUS, Actor
from crudite.resources.declaring.compile import compile_resources
from crudite.resources.declaring.declare import Record, Resource
from crudite.resources.declaring.fields import Field, Ref
from crudite.rules import me, now, today
from crudite.schema import INT64, SAFE_INTEGER
from tests.unit.resources.shop import (
    Account,
    Address,
    Colour,
    Country,
    Everything,
    Membership,
    Point,
    Project,
    Size,
    Task,
)

APP = compile_resources([Account, Project, Membership, Task, Country, Everything], open=False)
EVERYTHING = APP[Everything]
KEY = "0194f3a0-0000-7000-8000-000000000001"
NOON = datetime(2026, 11, 20, 12, 0, 0, 500, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
whole = st.integers(-SAFE_INTEGER, SAFE_INTEGER)
finite = st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | whole | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
addresses = st.builds(Address, street=texts, town=st.none() | texts, since=st.none() | st.dates())


def is_named_once(moment: datetime) -> bool:
    """Whether no change of the clock leaves it out or names it twice: then it is equal to nothing (PEP 495)."""
    return moment.replace(fold=0).utcoffset() == moment.replace(fold=1).utcoffset()


YEARS = datetime(2, 1, 1), datetime(9998, 1, 1)  # noqa: DTZ001 (the strategy adds the zone)
everythings = st.builds(
    Everything,
    id=whole,
    text=texts,
    whole=whole,
    huge=st.integers(-INT64 - 1, INT64),
    number=finite,
    price=st.integers(-(10**17), 10**17).map(lambda number: Decimal(number).scaleb(-2)),
    flag=st.booleans(),
    day=st.dates(),
    hour=st.times(),
    moment=st.datetimes(*YEARS, timezones=st.timezones()).filter(is_named_once),
    token=st.uuids(),
    choice=st.sampled_from(["a", "b"]),
    level=st.sampled_from([1, 2, 3]),
    colour=st.sampled_from(Colour),
    size=st.sampled_from(Size),
    email=st.just("ada@example.com"),
    password=st.just("correct horse"),
    country=st.none() | texts,
    address=addresses,
    point=st.builds(Point, finite, finite),
    contact=st.fixed_dictionaries({"kind": st.sampled_from(["mail", "phone"]), "value": texts}),
    tags=st.lists(texts, max_size=3),
    days=st.lists(st.dates(), max_size=3),
    counts=st.dictionaries(texts, whole, max_size=3),
    anything=anything,
    note=st.none() | texts,
    home=st.none() | addresses,
)


@given(everythings)
def test_a_record_comes_back_as_it_went(record: Everything) -> None:
    assert EVERYTHING.from_plain(EVERYTHING.to_plain(record)) == record


@given(everythings)
def test_plain_values_pass_through_json_and_validation_unchanged(record: Everything) -> None:
    plain = EVERYTHING.to_plain(record)

    assert EVERYTHING.bodies["create"].parse_json(json.dumps(plain).encode()) == plain
    assert EVERYTHING.bodies["create"].parse_python(plain) == plain
    assert EVERYTHING.bodies["create"].parse(record) == plain
    assert EVERYTHING.validated(plain) == plain


def test_application_code_sees_python_values() -> None:
    plain = {
        "id": KEY, "project": KEY, "title": "x", "status": "todo", "due": "2026-12-01", "version": 3,
        "created_at": "2026-11-20T14:40:37.123456Z", "updated_at": "2026-11-20T14:40:37.123456Z",
    }  # fmt: skip

    task = APP[Task].from_plain(plain)

    assert task.project == UUID(KEY)
    assert task.due == date(2026, 12, 1)
    assert task.created_at == datetime(2026, 11, 20, 14, 40, 37, 123456, tzinfo=UTC)
    assert APP[Task].to_plain(task) == plain


def test_a_part_of_a_record_makes_an_instance_with_that_part() -> None:
    task = APP[Task].from_plain({"id": KEY, "title": "x"})

    assert not hasattr(task, "status")
    assert APP[Task].to_plain(task) == {"id": KEY, "title": "x"}


def test_changing_a_draft_leaves_the_plain_record_as_it_was() -> None:
    plain: dict[str, Any] = {
        "tags": ["a"],
        "anything": {"a": [1]},
        "address": {"street": "A", "town": None, "since": None},
    }
    draft = EVERYTHING.from_plain(plain)

    draft.tags.append("b")
    draft.anything["a"].append(2)
    draft.address.street = "B"

    assert plain == {
        "tags": ["a"],
        "anything": {"a": [1]},
        "address": {"street": "A", "town": None, "since": None},
    }
    assert EVERYTHING.to_plain(draft) == {
        "tags": ["a", "b"],
        "anything": {"a": [1, 2]},
        "address": {"street": "B", "town": None, "since": None},
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", 3), ("text", None), ("whole", 1.5), ("whole", True), ("number", float("inf")), ("flag", 1),
        ("day", NOON), ("day", "soon"), ("hour", time(1, tzinfo=UTC)),
        ("moment", datetime(2026, 11, 20)),  # noqa: DTZ001
        ("token", 3), ("colour", "blue"), ("level", 4), ("price", Decimal("0.001")), ("price", 1.5),
        ("tags", "x"),
        ("anything", {"a": object()}), ("anything", float("nan")), ("huge", 2**63), ("text", "\0"),
        ("address", {"nothing": 1}), ("country", 3),
    ],
)  # fmt: skip
def test_a_draft_with_a_value_of_the_wrong_type_is_refused(name: str, value: Any) -> None:
    draft = EVERYTHING.from_plain({"id": 1})
    setattr(draft, name, value)

    with pytest.raises(Invalid) as caught:
        EVERYTHING.to_plain(draft)

    assert [fault.pointer for fault in caught.value.faults] == [f"/{name}"]


def test_limits_are_checked_on_what_a_hook_has_set() -> None:
    with pytest.raises(Invalid) as caught:
        APP[Task].validated({"title": ""})

    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/title", "string_too_short")]


class Defaults(Resource):
    plain: str = "x"
    many: list[str] = Field(default=["a"])
    made: int = Field(default_factory=lambda: 7)
    called: dict[str, Any] = Field(default=dict)
    colour: Colour = Colour.RED
    owner: Ref[Account] = Field(default=me.id)
    reviewer: Ref[Account | None] = Field(default=me.id)
    roles: list[str] = Field(default=me.roles)
    team: str | None = Field(default=me.team)
    at: datetime = Field(default=now)
    day: date = Field(default=today)
    note: str | None = None
    needed: str


DEFAULTS = compile_resources([Defaults, Account], open=True)[Defaults]


def test_defaults_are_plain_and_made_for_who_asks_and_when() -> None:
    ada = Actor(id=KEY, roles=frozenset({"b", "a"}), claims={"team": "red"})

    assert DEFAULTS.make_defaults(ada, NOON) == {
        "plain": "x", "many": ["a"], "made": 7, "called": {}, "colour": "red", "owner": KEY, "reviewer": KEY,
        "roles": ["a", "b"], "team": "red", "at": "2026-11-20T12:00:00.000500Z", "day": "2026-11-20",
        "note": None,
    }  # fmt: skip


def test_only_what_is_absent_gets_a_default() -> None:
    given = {"many": [], "made": 1, "owner": KEY, "note": "n"}

    made = DEFAULTS.make_defaults(ANONYMOUS, NOON, given)

    assert not made.keys() & given.keys()
    assert made["plain"] == "x"


def test_a_default_that_the_actor_has_no_value_for_is_null_or_missing() -> None:
    made = DEFAULTS.make_defaults(ANONYMOUS, NOON)

    assert made["reviewer"] is None
    assert made["team"] is None
    assert "owner" not in made
    with pytest.raises(Invalid) as caught:
        DEFAULTS.make_defaults(ANONYMOUS, NOON, {})
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/owner", "missing")]


def test_an_actor_whose_key_is_of_another_type_has_no_value() -> None:
    assert "owner" not in DEFAULTS.make_defaults(Actor(id="ada"), NOON)


def test_two_records_do_not_share_a_default() -> None:
    first, second = (DEFAULTS.make_defaults(ANONYMOUS, NOON) for _ in range(2))

    first["many"].append("b")
    first["called"]["x"] = 1

    assert second["many"] == ["a"]
    assert second["called"] == {}


def test_a_field_with_a_default_may_be_left_out_of_a_body() -> None:
    assert DEFAULTS.bodies["create"].parse(b'{"needed": "x"}') == {"needed": "x"}


def test_the_components_are_a_valid_openapi_document() -> None:
    document = {
        "openapi": "3.1.0",
        "info": {"title": "x", "version": "1"},
        "paths": {},
        "components": {"schemas": dict(APP.components)},
    }

    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []  # type: ignore[arg-type]


def test_every_body_and_record_has_a_component_of_a_stable_name() -> None:
    assert {
        "Task",
        "TaskCreate",
        "TaskReplace",
        "TaskUpdate",
        "Address",
        "Point",
        "Contact",
    } <= APP.components.keys()
    assert APP[Task].json_schema("create") == {"$ref": "#/components/schemas/TaskCreate"}
    assert APP[Task].json_schema("list") == {"$ref": "#/components/schemas/Task"}


def test_the_schema_of_a_body_says_what_is_needed() -> None:
    schema = APP.components["TaskCreate"]

    assert schema["required"] == ["project", "title"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["status"]["default"] == "todo"
    assert schema["properties"]["title"]["minLength"] == 1
    assert "version" not in schema["properties"]
    assert "required" not in APP.components["TaskUpdate"]


def test_the_schema_of_a_record_leaves_secrets_out_and_promises_no_restricted_field() -> None:
    schema = APP.components["Account"]

    assert "password" not in schema["properties"]
    assert "email" not in schema["required"]
    assert "version" in schema["required"]


def test_decimals_and_big_integers_are_documented_as_text() -> None:
    shown = APP.components["Everything"]["properties"]

    assert shown["price"]["type"] == shown["huge"]["type"] == "string"


def test_definitions_are_found_by_class_path_and_name() -> None:
    assert APP[Task] is APP.by_path["tasks"] is APP.by_name["Task"] is APP.get(Task)
    assert Task in APP
    assert Defaults not in APP
    assert APP.get(Defaults) is None
    assert len(APP) == 6
    assert APP.catalog["Task"] is APP[Task].schema


sent = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | texts, inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(st.sampled_from(list(EVERYTHING.schema.fields)) | st.text(), sent, max_size=6)


@given(bodies | sent)
def test_whatever_is_sent_is_either_storable_or_a_problem(data: Any) -> None:
    for action in ("create", "update"):
        body = EVERYTHING.bodies[action]  # type: ignore[index]
        for form in (json.dumps(data).encode(), data):
            try:
                values = body.merge({}, body.parse(form))
            except (Invalid, Malformed) as problem:
                json.dumps(problem.as_json()).encode()
            else:
                assert values == {name: EVERYTHING.whole.parse({name: value})[name] for name, value in values.items()}


@given(st.binary(max_size=60))
def test_any_bytes_are_a_body_or_a_problem(raw: bytes) -> None:
    for data in (raw, b'{"anything": ' + raw + b"}", b'{"text": "' + raw + b'"}'):
        try:
            values = EVERYTHING.bodies["update"].parse(data)
        except (Invalid, Malformed):
            continue
        json.dumps(values, ensure_ascii=False).encode()


def test_what_makes_a_default_is_named_when_it_gives_what_the_field_cannot_have() -> None:
    class Order(Record[int]):
        number: int = Field(default_factory=lambda: "first")

    definition = compile_resources([Order], open=True)[Order]

    with pytest.raises(TypeError, match=r"Order\.number: what makes its default gave 'first': expected an integer"):
        definition.make_defaults(ANONYMOUS, datetime.now(UTC), {})
