"""Rows come out of files with the line that they begin at."""

from pathlib import Path

import pytest

from crudite.cli.data.source import Row, Source, snake_case
from crudite.cli.failures import Failure


def source(folder: Path, name: str, content: str | bytes, **more: str) -> Source:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Source(path, **more)


def test_csv_gives_texts_by_column_and_the_line_of_each_row(tmp_path: Path) -> None:
    read = source(tmp_path, "a.csv", 'id,note\n1,"two\nlines"\n\n2,x\n')
    assert list(read.rows()) == [Row(2, {"id": "1", "note": "two\nlines"}), Row(5, {"id": "2", "note": "x"})]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(tmp_path: Path, delimiter: str) -> None:
    read = source(tmp_path, "a.csv", f"id{delimiter}note\n1{delimiter}x\n")
    assert list(read.rows()) == [Row(2, {"id": "1", "note": "x"})]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert source(tmp_path, "a.csv", b"\xef\xbb\xbfid\n1\n").columns == ["id"]


def test_a_csv_row_of_another_length_than_the_header_is_faulty(tmp_path: Path) -> None:
    read = source(tmp_path, "a.csv", "id,note\n1\n2,x,y\n")
    assert [row.fault for row in read.rows()] == [
        "it has 1 cells, and the header 2",
        "it has 3 cells, and the header 2",
    ]


def test_a_csv_file_in_another_encoding_is_read_when_it_is_said(tmp_path: Path) -> None:
    read = source(tmp_path, "a.csv", "id\nä\n".encode("latin-1"), encoding="latin-1")
    assert list(read.rows()) == [Row(2, {"id": "ä"})]


def test_a_csv_file_in_another_encoding_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"a.csv is not in utf-8") as caught:
        list(source(tmp_path, "a.csv", b"id\n\xe4\n").rows())
    assert "--encoding" in caught.value.hint


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="several columns called id"):
        source(tmp_path, "a.csv", "id,id\n1,2\n")


def test_json_lines_give_values_and_tell_what_is_no_object(tmp_path: Path) -> None:
    read = source(tmp_path, "a.jsonl", '{"n": 1}\n\n[2]\n{"n": \n')
    rows = list(read.rows())
    assert rows[0] == Row(1, {"n": 1})
    assert [(row.line, row.fault.split(":")[0]) for row in rows[1:]] == [
        (3, "it is no JSON object"),
        (4, "it is no JSON"),
    ]


def test_an_array_gives_the_line_that_each_item_begins_at(tmp_path: Path) -> None:
    read = source(tmp_path, "a.json", '[\n  {"n": 1,\n   "m": 2},\n  {"n": 1},\n  3]\n')
    assert [(row.line, row.values) for row in read.rows()] == [(2, {"n": 1, "m": 2}), (4, {"n": 1}), (5, {})]


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"a.json is no JSON array"):
        list(source(tmp_path, "a.json", '{"n": 1}').rows())


def test_a_file_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"a.xls is none of .csv, .tsv, .json, .jsonl, .ndjson"):
        source(tmp_path, "a.xls", "")


def test_progress_ends_with_the_size_of_the_file(tmp_path: Path) -> None:
    told: list[int] = []
    list(source(tmp_path, "a.csv", "id\n1\n").rows(told.append))
    assert told[-1] == 5


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("Flight No.", "flight_no"),
        ("scheduledTime", "scheduled_time"),
        ("  a--b__c ", "a_b_c"),
        ("id", "id"),
        ("Größe (cm)", "größe_cm"),
    ],
)
def test_a_column_is_called_as_a_field_would_be(column: str, name: str) -> None:
    assert snake_case(column) == name
