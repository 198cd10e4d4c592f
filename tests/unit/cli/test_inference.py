"""A class is made up from data, and the data fits it."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crudite.cli.data.columns import Columns
from crudite.cli.data.inference import Inferred, infer
from crudite.cli.data.source import Source
from crudite.cli.failures import Failure
from crudite.resources.declaring.compile import compile_resources


def inferred(folder: Path, content: str, name: str = "a.csv", key: str | None = None) -> Inferred:
    (folder / name).write_text(content, "utf-8", newline="")
    return infer(Source(folder / name), "Thing", key=key)


def fields(found: Inferred) -> list[str]:
    """The lines of the class's fields."""
    body = found.code.partition("rules=allow.everyone):\n")[2].partition("\n\n\n")[0]
    return [line.strip() for line in body.splitlines() if ": " in line]


def test_each_column_gets_the_narrowest_type_of_all_its_values(tmp_path: Path) -> None:
    found = inferred(
        tmp_path,
        "n,big,price,ratio,ok,day,moment,at,key,word\n"
        "1,9007199254740993,12.50,0.5,yes,2013-07-10,2013-07-10T05:00:00Z,05:00,"
        "0192f3a0-0000-7000-8000-000000000000,x\n"
        "2,1,3.00,2,no,2013-07-11,2013-07-10 06:00,06:30,0192f3a0-0000-7000-8000-000000000001,007\n",
    )
    assert fields(found) == [
        "n: int",
        "big: BigInt",
        "price: Decimal = Field(decimal_places=2)",
        "ratio: float",
        "ok: bool",
        "day: date",
        "moment: datetime",
        "at: time",
        "key: UUID",
        "word: str",
    ]


def test_a_column_with_gaps_may_be_null_and_a_text_may_be_empty(tmp_path: Path) -> None:
    assert fields(inferred(tmp_path, "a,b,c\n1,x,\n,,\n")) == [
        "a: int | None = None",
        'b: str = ""',
        'c: str = ""',
    ]


def test_numbers_that_begin_with_zero_stay_texts(tmp_path: Path) -> None:
    assert fields(inferred(tmp_path, "zip\n01234\n99999\n")) == ["zip: str"]


def test_a_column_id_without_repeats_is_the_key(tmp_path: Path) -> None:
    found = inferred(tmp_path, "id,n\na,1\nb,2\n")
    assert "class Thing(Record[str], rules=allow.everyone):" in found.code
    assert fields(found) == ["n: int"]


def test_a_column_id_with_repeats_becomes_a_field_of_another_name(tmp_path: Path) -> None:
    found = inferred(tmp_path, "id\n1\n1\n")
    assert "class Thing(Resource," in found.code
    assert found.fields == {"id": "own_id"}


def test_a_key_that_is_asked_for_has_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="code is no key"):
        inferred(tmp_path, "code\na\na\n", key="code")


def test_names_that_cannot_be_fields_are_changed(tmp_path: Path) -> None:
    found = inferred(tmp_path, "class,where,2nd,Flight No,flight_no,version\n1,1,1,1,1,1\n")
    assert list(found.fields.values()) == [
        "class_",
        "own_where",
        "field_2nd",
        "flight_no",
        "flight_no_2",
        "own_version",
    ]


def test_json_keeps_its_own_types(tmp_path: Path) -> None:
    found = inferred(
        tmp_path,
        '[{"a": [1], "b": {"c": 1}, "d": null, "e": "x"}, {"a": [], "b": {}, "d": 1.5, "f": true}]',
        "a.json",
    )
    assert fields(found) == [
        "a: list[Any]",
        "b: dict[str, Any]",
        "d: float | None = None",
        "e: str | None = None",
        "f: bool | None = None",
    ]


def test_a_name_that_is_no_class_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n1\n")
    with pytest.raises(Failure, match="flight no is no name for a class"):
        infer(Source(tmp_path / "a.csv"), "flight no")


cells = st.one_of(
    st.just(""),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.dates().map(str),
    st.datetimes().map(str),
    st.times().map(str),
    st.uuids().map(str),
    st.sampled_from(["true", "No", "yes", "12.0", "1e5", "-0", "007"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8),
)


@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_data_it_fits_the_class_that_was_made_from_it(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("left", "right"), *rows])
    (tmp_path / "a.csv").write_text(text.getvalue(), "utf-8", newline="")
    source = Source(tmp_path / "a.csv")
    if not any(not row.fault for row in source.rows()):
        return
    found = infer(source, "Thing")
    namespace: dict[str, object] = {"__name__": __name__}
    exec(found.code.replace("app = App(Thing)", ""), namespace)
    cls = namespace["Thing"]
    assert isinstance(cls, type)
    definition = compile_resources([cls], open=False)[cls]
    columns = Columns(definition, source.columns, renamed=found.fields)
    for row in source.rows():
        converted = columns.convert(row, is_text=True)
        assert converted.faults == ()
        definition.bodies["create"].parse(converted.values)
