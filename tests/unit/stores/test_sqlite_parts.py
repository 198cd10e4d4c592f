"""Small parts of the SQLite store that decide without a file."""

import time

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.schema import FieldType
from crudite.stores.sqlite.connections import Deadline
from crudite.stores.sqlite.conversion import convert
from crudite.stores.sqlite.ddl import NOW, UUID7, check
from crudite.stores.sqlite.log import SqlitePosition
from crudite.stores.sqlite.reads import _is_bounded
from crudite.stores.sqlite.statements import Clock
from crudite.stores.sqlite.store import SqliteStore

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64, INT64, INT64)
def test_a_token_holds_its_position(log: int, seq: int, salt: int) -> None:
    token = SqlitePosition(log, seq, salt).token
    assert len(token) == 24
    assert [int.from_bytes(token[n : n + 8], signed=True) for n in (0, 8, 16)] == [log, seq, salt]


def test_a_position_covers_the_marks_up_to_it() -> None:
    position = SqlitePosition(1, 10, 2)
    assert [position.covers(mark) for mark in ("9", "10", "11")] == [True, True, False]


def test_a_clock_never_stands_still_or_goes_back() -> None:
    clock = Clock(floor=0)
    ticks = [clock.tick() for _ in range(1000)]
    assert len({version for version, _ in ticks}) == 1000
    assert ticks == sorted(ticks)
    future = time.time_ns() // 1000 + 10_000_000
    clock.pass_by(future)
    assert clock.tick()[0] == future + 1


def test_a_clock_tells_the_same_moment_twice() -> None:
    assert Clock(floor=4_102_444_799_999_999).tick() == (4_102_444_800_000_000, "2100-01-01T00:00:00.000000Z")


def test_keys_and_times_that_the_database_makes_are_of_their_types() -> None:
    connection = apsw.Connection(":memory:")
    key, moment = connection.execute(f"SELECT {UUID7}, {NOW}").fetchall()[0]
    assert FieldType("uuid").check(key) == key
    assert FieldType("datetime").check(moment) == moment
    assert int(str(key).replace("-", "")[:12], 16) == pytest.approx(time.time() * 1000, abs=60_000)


@pytest.mark.parametrize("kind", ["text", "integer", "float", "decimal", "boolean", "date", "time", "datetime"])
def test_null_passes_every_check(kind: str) -> None:
    condition = check("NULL", FieldType(kind))  # type: ignore[arg-type]
    assert apsw.Connection(":memory:").execute(f"SELECT ({condition}) IS NOT FALSE").fetchall() == [(1,)]


def test_what_cannot_be_converted_fits_nowhere() -> None:
    assert convert("x", FieldType("boolean"), FieldType("date")).fits == "FALSE"


def test_a_plan_is_cheap_when_every_step_is_a_search_or_ends_by_itself() -> None:
    limited = "SELECT 1 FROM x AS t WHERE TRUE ORDER BY t.a LIMIT ?1"
    assert _is_bounded("SEARCH t USING INDEX a (a=?)", "")
    assert _is_bounded("SCAN t USING INDEX a", limited)
    assert not _is_bounded("SCAN t USING INDEX a", limited.replace("TRUE", "t.b = ?2"))
    assert not _is_bounded("SCAN t", "SELECT 1 FROM x AS t WHERE TRUE ORDER BY t.a")
    assert not _is_bounded("USE TEMP B-TREE FOR ORDER BY", limited)


def test_a_store_takes_a_path_as_it_is() -> None:
    assert SqliteStore("dir/app.db").path == "dir/app.db"


def test_a_deadline_ends_what_works_long_and_lets_a_short_statement_be_however_late_it_is() -> None:
    connection = apsw.Connection(":memory:")
    deadline = Deadline(connection)
    counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT max(i) FROM n"
    for _ in range(100):  # the looks at all of them together are many
        deadline.start(-1.0)
        assert connection.execute(counting, (100,)).fetchall() == [(100,)]
    deadline.start(-1.0)
    with pytest.raises(apsw.InterruptError):
        connection.execute(counting, (1_000_000,)).fetchall()
    deadline.stop()
    assert connection.execute(counting, (1_000_000,)).fetchall() == [(1_000_000,)]
