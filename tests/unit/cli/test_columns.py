"""Columns find their fields, and texts are read by the fields' types."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from crudite import BigInt, Field, Record, Resource, allow
from crudite.cli.data.columns import Columns
from crudite.cli.data.source import Row
from crudite.cli.failures import Failure
from crudite.resources.declaring.compile import compile_resources
from crudite.resources.declaring.definition import Definition


class Size(IntEnum):
    small = 1
    large = 2


class Everything(Record[str], rules=allow.everyone):
    text: str = Field(default="d")
    must: str
    number: int | None
    big: BigInt | None
    ratio: float | None
    price: Decimal | None = Field(default=None, decimal_places=2)
    ok: bool | None
    day: date | None
    at: time | None
    moment: datetime | None
    size: Size | None
    status: Literal["a", "b"] = "a"
    data: dict[str, int] | None


class Small(Resource, rules=allow.everyone):
    flight_no: int
    note: str = ""


def definition(cls: type[Any]) -> Definition:
    return compile_resources([cls], open=False)[cls]


def read(**cells: str) -> tuple[dict[str, Any], list[str]]:
    columns = Columns(definition(Everything), None)
    converted = columns.convert(Row(2, dict(cells)), is_text=True)
    return converted.values, [fault.detail for fault in converted.faults]


@pytest.mark.parametrize(
    ("column", "text", "plain"),
    [
        ("must", " a ", " a "),
        ("number", " 12 ", 12),
        ("number", "12.0", 12),
        ("big", "9007199254740993", "9007199254740993"),
        ("ratio", "1e3", 1000.0),
        ("price", "12.5", "12.50"),
        ("ok", "Yes", True),
        ("ok", "0", False),
        ("day", "2013-07-10", "2013-07-10"),
        ("at", "05:15", "05:15:00.000000"),
        ("moment", "2013-07-10T05:15:00-04:00", "2013-07-10T09:15:00.000000Z"),
        ("moment", "2013-07-10 05:15", "2013-07-10T05:15:00.000000Z"),
        ("size", "2", 2),
        ("status", " b ", "b"),
        ("data", '{"a": 1}', {"a": 1}),
    ],
)
def test_a_text_is_read_by_the_type_of_its_field(column: str, text: str, plain: Any) -> None:
    assert read(**{column: text}) == ({column: plain}, [])


@pytest.mark.parametrize(
    ("column", "text", "fault"),
    [
        ("number", "12.5", "expected an integer, not '12.5'"),
        ("ratio", "nan", "expected a number, not 'nan'"),
        ("price", "1.234", "expected at most 2 decimal places, not '1.234'"),
        ("ok", "maybe", "expected true or false, not 'maybe'"),
        ("day", "10.7.2013", "expected a date such as 2026-11-20, not '10.7.2013'"),
        ("status", "c", "expected one of 'a', 'b', not 'c'"),
        ("data", "{", "expected JSON, not '{'"),
    ],
)
def test_a_text_of_another_type_is_a_fault_that_says_what_was_expected(column: str, text: str, fault: str) -> None:
    assert read(**{column: text}) == ({}, [fault])


def test_every_fault_of_a_row_is_told() -> None:
    assert len(read(number="x", ok="x", day="x")[1]) == 3


def test_an_empty_cell_is_null_the_default_or_an_empty_text() -> None:
    assert read(number="", status="", text="", must="")[0] == {"number": None, "must": ""}


def test_a_time_without_an_offset_belongs_to_the_zone() -> None:
    columns = Columns(definition(Everything), None, zone=ZoneInfo("America/New_York"))
    converted = columns.convert(Row(2, {"moment": "2013-07-10 05:15"}), is_text=True)
    assert converted.values == {"moment": "2013-07-10T09:15:00.000000Z"}


def test_values_of_json_are_taken_as_they_are() -> None:
    columns = Columns(definition(Everything), None)
    moment = datetime(2013, 7, 10, tzinfo=UTC)
    assert columns.convert(Row(1, {"number": "12", "moment": moment}), is_text=False).values == {
        "number": "12",
        "moment": moment,
    }


def test_a_column_finds_its_field_in_spite_of_capitals_and_spaces() -> None:
    columns = Columns(definition(Small), ["Flight No", "NOTE"])
    assert columns.convert(Row(2, {"Flight No": "7", "NOTE": "x"}), is_text=True).values == {
        "flight_no": 7,
        "note": "x",
    }


def test_a_column_can_be_given_its_field_be_left_out_or_hold_the_key() -> None:
    columns = Columns(
        definition(Everything),
        ["code", "a", "b", "number", "big", "ratio", "ok", "day", "at", "moment", "size", "data"],
        key="code",
        renamed={"a": "must"},
        ignored=["b"],
    )
    assert columns.convert(Row(2, {"code": "k", "a": "m", "b": "?"}), is_text=True).values == {
        "id": "k",
        "must": "m",
    }


def test_every_column_and_field_that_fits_nothing_is_told_at_once() -> None:
    with pytest.raises(Failure) as caught:
        Columns(definition(Small), ["nots", "extra"], renamed={"extra": "nope", "gone": "note"}, ignored=["lost"])
    assert str(caught.value).splitlines()[1:] == [
        "- --map extra=nope: Small has no field nope (did you mean note?).",
        "- --ignore lost: there is no such column.",
        "- --map or --key gone: there is no such column.",
        "- Small has no field nots (did you mean note?).",
        "- No column fills flight_no, which Small needs.",
    ]


def test_two_columns_cannot_fill_one_field() -> None:
    with pytest.raises(Failure, match="note and NOTE both fill note"):
        Columns(definition(Small), ["flight_no", "note", "NOTE"])


def test_what_only_we_set_is_left_out_and_said() -> None:
    columns = Columns(definition(Small), ["flight_no", "version"])
    assert columns.convert(Row(2, {"flight_no": "1", "version": "9"}), is_text=True).values == {"flight_no": 1}
    assert columns.left_out == ("version",)
