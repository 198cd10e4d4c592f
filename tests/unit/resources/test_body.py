"""Bodies: what comes in is validated, with every fault at once, and becomes plain."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from crudite.errors import Invalid, Malformed
from crudite.resources.declaring.body import Body, merge_patch
from crudite.resources.declaring.compile import compile_resources
from crudite.resources.declaring.declare import Record, Resource
from crudite.resources.declaring.fields import BigInt, Field, Password, Ref
from tests.unit.resources.shop import Account, Address, Colour, Country, Everything, Membership, Project, Task

APP = compile_resources([Account, Project, Membership, Task, Country, Everything], open=False)
TASK = APP[Task].bodies
PROJECT_KEY = "0194f3a0-0000-7000-8000-000000000001"


def faults_of(call: Any, *arguments: Any) -> list[tuple[str | None, str]]:
    with pytest.raises(Invalid) as caught:
        call(*arguments)
    return [(fault.pointer, fault.code) for fault in caught.value.faults]


def body_of(annotation: Any, **options: Any) -> Body:
    """The create body of a resource with one field called `it`."""
    cls = type("One", (Resource,), {"__annotations__": {"it": annotation}, "it": Field(**options)})
    return compile_resources([cls, Country], open=True)[cls].bodies["create"]


def test_a_valid_body_becomes_plain_values_of_the_given_fields_only() -> None:
    raw = b'{"project": "0194F3A0-0000-7000-8000-000000000001", "title": "Ship it", "due": "2026-12-01"}'

    assert TASK["create"].parse(raw) == {"project": PROJECT_KEY, "title": "Ship it", "due": "2026-12-01"}


def test_all_faults_are_named_at_once() -> None:
    raw = b'{"project": 7, "title": "", "status": "later", "due": "soon", "titel": 1, "version": 3}'

    assert faults_of(TASK["create"].parse, raw) == [
        ("/project", "uuid_type"),
        ("/title", "string_too_short"),
        ("/status", "literal_error"),
        ("/due", "date_parsing"),
        ("/titel", "unknown_field"),
        ("/version", "read_only"),
    ]


def test_an_unknown_field_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(Invalid, match="did you mean 'title'"):
        TASK["update"].parse(b'{"titel": "x"}')


def test_the_faults_do_not_repeat_what_was_sent() -> None:
    with pytest.raises(Invalid) as caught:
        APP[Account].bodies["create"].parse(
            b'{"email": "hunter2", "name": 5, "password": "hunter2", "roles": ["hunter2", 3]}'
        )

    assert "hunter2" not in json.dumps(caught.value.as_json())
    assert [fault.pointer for fault in caught.value.faults] == ["/email", "/name", "/password", "/roles/1"]


@pytest.mark.parametrize("name", ["version", "created_at", "updated_at", "members"])
def test_a_new_record_brings_nothing_that_nobody_writes(name: str) -> None:
    assert faults_of(APP[Project].bodies["create"].parse, {"name": "x", name: 1}) == [(f"/{name}", "read_only")]


def test_what_changes_a_record_may_repeat_what_the_server_has_set_but_no_link() -> None:
    at = "2026-11-20T10:00:00.000000Z"
    for action in ("replace", "update"):
        body = APP[Project].bodies[action]  # type: ignore[index]
        repeated = {"version": 3, "created_at": at, "updated_at": at}
        assert body.parse({"name": "x", **repeated}) == {"name": "x", **repeated}
        assert body.repeated == {"version", "created_at", "updated_at"}
        assert not body.repeated & {*body.names}
        assert faults_of(body.parse, {"name": "x", "version": None, "created_at": "now", "members": []}) == [
            ("/version", "int_type"), ("/created_at", "datetime_parsing"), ("/members", "read_only"),
        ]  # fmt: skip


def test_a_body_may_repeat_the_key_of_its_record() -> None:
    assert TASK["update"].parse({"id": PROJECT_KEY}) == {"id": PROJECT_KEY}


def test_a_text_key_is_required_where_nothing_makes_it() -> None:
    assert faults_of(APP[Country].bodies["create"].parse, {"name": "Germany"}) == [("/id", "missing")]
    assert APP[Country].bodies["replace"].parse({"name": "Germany"}) == {"name": "Germany"}


def test_an_update_takes_any_part_and_null_only_where_null_is_allowed() -> None:
    assert TASK["update"].parse(b"{}") == {}
    assert TASK["update"].parse(b'{"due": null}') == {"due": None}
    assert faults_of(TASK["update"].parse, b'{"title": null}') == [("/title", "string_type")]


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b'{"title": "x",}', b'{"title": "\xff"}', b'{"title": "\\ud800"}', b'{"title": "a\nb"}',
     b'{"anything": ' + b"[" * 1000 + b"]" * 1000 + b"}"],
)  # fmt: skip
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        APP[Everything].bodies["update"].parse(raw)


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"3", b"null"])
def test_a_body_that_is_no_object_is_one_fault(raw: bytes) -> None:
    assert faults_of(TASK["create"].parse, raw) == [("", "not_an_object")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", '"a\\u0000b"'), ("tags", '["a\\u0000b"]'), ("anything", '{"a": ["\\u0000"]}'),
        ("anything", '{"a\\u0000": 1}'), ("counts", '{"\\u0000": 1}'), ("address", '{"street": "\\u0000"}'),
        ("number", "NaN"), ("number", "Infinity"), ("number", "1e999"), ("anything", "[NaN]"),
        ("anything", "[-Infinity]"), ("anything", "1e999"), ("point", '{"x": NaN}'),
        ("whole", "9007199254740992"), ("whole", "-9007199254740992"),
        ("anything", '{"a": 9007199254740992}'),
        ("counts", '{"a": 9007199254740992}'), ("huge", '"9223372036854775808"'), ("huge", '"1.5"'),
        ("whole", "true"), ("whole", '"3"'), ("whole", "3.5"), ("number", '"3"'), ("number", "true"),
        ("flag", "1"),
        ("text", "3"), ("day", "20000"), ("day", '"2026-11-20T10:00:00"'), ("day", '"2026-02-30"'),
        ("moment", "1700000000"), ("moment", '"2026-11-20T14:40:37"'),
        ("moment", '"0001-01-01T00:00:00+14:00"'),
        ("hour", '"14:40Z"'), ("price", '"1.234"'), ("price", '"12345678901234567.00"'), ("price", '"NaN"'),
        ("price", '"x"'), ("level", "true"), ("level", '"1"'), ("colour", '"blue"'), ("size", "3"),
        ("email", '"nobody"'), ("password", '"short"'), ("token", '"x"'), ("country", "3"),
        ("contact", '{"kind": "fax", "value": "1"}'), ("days", '["2026-11-20", "x"]'), ("tags", "{}"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_or_compared_is_refused(name: str, value: str) -> None:
    body = APP[Everything].bodies["update"]

    faults = faults_of(lambda raw: body.merge({}, body.parse(raw)), f'{{"{name}": {value}}}'.encode())

    assert [str(pointer).split("/")[1] for pointer, _ in faults] == [name]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    ("annotation", "value", "place"),
    [(list[float], "[{}]", "/it/0"), (dict[str, list[float]], '{{"a": [{}]}}', "/it/a/0")],
    ids=["list", "object"],
)
def test_a_number_that_is_none_is_refused_wherever_it_stands(
    annotation: Any, value: str, place: str, number: str
) -> None:
    raw = f'{{"it": {value.format(number)}}}'.encode()

    assert faults_of(body_of(annotation).parse, raw) == [(place, "finite_number")]


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("huge", '"9223372036854775807"', "9223372036854775807"), ("huge", "5", "5"), ("number", "3", 3.0),
        ("price", '"12.5"', "12.50"), ("price", "7", "7.00"), ("price", '"-0"', "0.00"),
        ("moment", '"2026-11-20T15:40:37+01:00"', "2026-11-20T14:40:37.000000Z"),
        ("hour", '"14:40"', "14:40:00.000000"), ("email", '"Ada@EXAMPLE.com"', "Ada@example.com"),
        ("text", '"a\\\\u0000b"', "a\\u0000b"), ("size", "2", 2), ("colour", '"red"', "red"),
        ("days", '["2026-11-20"]', ["2026-11-20"]), ("anything", "[1, null, 1.5]", [1, None, 1.5]),
        ("point", '{"x": 1}', {"x": 1.0, "y": 0.0}),
        ("address", '{"street": "A", "since": "2026-11-20"}',
         {"street": "A", "town": None, "since": "2026-11-20"}),
    ],
)  # fmt: skip
def test_values_become_plain(name: str, value: str, plain: Any) -> None:
    cls_body = APP[Everything].whole

    assert cls_body.parse(f'{{"{name}": {value}}}'.encode()) == {name: plain}


def test_python_values_are_taken_as_well_as_plain_ones() -> None:
    values = {
        "day": date(2026, 11, 20),
        "moment": datetime(2026, 11, 20, 15, 40, tzinfo=timezone(timedelta(hours=1))),
        "token": UUID(PROJECT_KEY),
        "price": Decimal("1.5"),
        "colour": Colour.RED,
        "address": Address(street="A"),
        "country": Country(id="de", name="Germany"),
        "huge": 7,
        "days": [date(2026, 11, 20)],
    }

    assert APP[Everything].bodies["update"].parse(values) == {
        "day": "2026-11-20",
        "moment": "2026-11-20T14:40:00.000000Z",
        "token": PROJECT_KEY,
        "price": "1.50",
        "colour": "red",
        "address": {"street": "A", "town": None, "since": None},
        "country": "de",
        "huge": "7",
        "days": ["2026-11-20"],
    }


def test_python_values_that_have_no_form_in_json_are_faults() -> None:
    values = {"text": object(), "number": float("nan"), "moment": datetime(2026, 11, 20), "tags": ["\ud800"]}  # noqa: DTZ001

    pointers = {pointer for pointer, _ in faults_of(APP[Everything].bodies["update"].parse, values)}

    assert "/text" in pointers
    assert "/tags" in pointers
    for name in ("number", "moment"):
        assert f"/{name}" in {p for p, _ in faults_of(APP[Everything].bodies["update"].parse, {name: values[name]})}


def test_an_instance_is_a_body_without_what_the_server_sets() -> None:
    task = Task(project=UUID(PROJECT_KEY), title="Ship it")

    assert TASK["create"].parse(task) == {
        "project": PROJECT_KEY,
        "title": "Ship it",
        "status": "todo",
        "due": None,
    }


def test_every_form_of_json_bytes_is_read() -> None:
    raw = b'{"title": "x"}'

    assert {TASK["update"].parse(form(raw))["title"] for form in (bytes, bytearray, memoryview, msgspec.Raw)} == {"x"}


def test_a_part_of_an_object_is_merged_into_the_stored_value() -> None:
    body = APP[Everything].bodies["update"]
    old = {"address": {"street": "A", "town": "B", "since": None}, "anything": {"a": {"b": 1, "c": 2}}}

    given = body.parse(b'{"address": {"town": null}, "anything": {"a": {"b": null, "d": [1]}}, "text": "x"}')

    assert body.needs_old(given)
    assert body.merge(old, given) == {
        "address": {"street": "A", "town": None, "since": None},
        "anything": {"a": {"c": 2, "d": [1]}},
        "text": "x",
    }


def test_what_a_merge_makes_is_validated() -> None:
    body = APP[Everything].bodies["update"]
    given = body.parse(b'{"address": {"street": null}}')

    assert faults_of(body.merge, {"address": {"street": "A"}}, given) == [("/address/street", "missing")]


def test_nothing_is_read_for_an_update_without_objects_or_of_whole_python_values() -> None:
    body = APP[Everything].bodies["update"]

    assert not body.needs_old(body.parse(b'{"text": "x", "home": null}'))
    assert not body.needs_old(body.parse({"address": Address(street="A")}))
    assert not TASK["update"].needs_old(TASK["update"].parse(b'{"title": "x"}'))


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}), ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}), ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}), (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}), ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}), ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
    ],
)  # fmt: skip
def test_merging_follows_the_examples_of_rfc_7396(target: Any, patch: Any, merged: Any) -> None:
    assert merge_patch(target, patch) == merged


@pytest.mark.parametrize(
    ("annotation", "options", "good", "bad"),
    [
        (str, {"min_length": 2, "max_length": 3, "pattern": "^a"}, ["ab", "abc"], ["a", "abcd", "bcd"]),
        (int, {"gt": 0, "le": 10, "multiple_of": 5}, [5, 10], [0, 15, 7]),
        (int, {"ge": -(10**17)}, [-(2**53) + 1], [-(2**53), 2**53]),
        (float, {"ge": 0.5, "lt": 1}, [0.5, 0.75], [0.25, 1]),
        (BigInt, {"ge": 0}, ["0", "9223372036854775807"], ["-1", "9223372036854775808"]),
        (Decimal, {"decimal_places": 3, "gt": 0}, ["0.001"], ["0", "0.0001"]),
        (date, {"ge": date(2026, 1, 1)}, ["2026-01-01"], ["2025-12-31"]),
        (datetime, {"ge": datetime(2026, 1, 1, tzinfo=UTC)}, ["2026-01-01T00:00:00Z"],
         ["2025-12-31T23:59:59Z"]),
        (list[int], {"min_length": 1, "max_length": 2}, [[1], [1, 2]], [[], [1, 2, 3]]),
        (str | None, {"min_length": 2}, [None, "ab"], ["a"]),
    ],
)  # fmt: skip
def test_limits_hold(annotation: Any, options: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    body = body_of(annotation, **options)

    for value in good:
        assert "it" in body.parse(json.dumps({"it": value}).encode())
    for value in bad:
        assert [p for p, _ in faults_of(body.parse, json.dumps({"it": value}).encode())] == ["/it"]


def test_a_password_may_be_shorter_when_its_field_says_so() -> None:
    class Device(Resource):
        pin: Password = Field(min_length=4)

    body = compile_resources([Device], open=True)[Device].bodies["create"]

    assert body.parse({"pin": "1234"}) == {"pin": "1234"}
    assert faults_of(body.parse, {"pin": "123"}) == [("/pin", "string_too_short")]


def test_a_reference_takes_the_key_of_its_target() -> None:
    class Node(Record[int]):
        up: Ref["Node | None"] = Field(default=None)

    body = compile_resources([Node], open=True)[Node].bodies["create"]

    assert body.parse({"up": 3}) == {"up": 3}
    assert faults_of(body.parse, {"up": "3"}) == [("/up", "int_type")]


def test_a_flood_of_unknown_fields_is_named_up_to_a_hundred() -> None:
    flood = {f"name{number}": 1 for number in range(5000)}

    assert len(faults_of(TASK["update"].parse, flood)) == 100
