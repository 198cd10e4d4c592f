"""A rerun group tells the difference between two results, and when the next one is due."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from crudite.errors import TooLarge
from crudite.live.frames import Changed, Frame
from crudite.live.rerun import RerunGroup
from crudite.messages import LiveQuery
from crudite.query.parse import where
from crudite.stores.base import Page
from tests.unit.live.world import query, task

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def group(live: LiveQuery, records: int = 100) -> RerunGroup:
    return RerunGroup("g1", "key", live, records)


def page(*titles: tuple[int, str], more: bool = False, total: int | None = None) -> Page:
    texts = [json.dumps({"id": id, "title": title}) for id, title in titles]
    return Page([id for id, _ in titles], [1] * len(titles), texts, more=more, total=total)


def test_the_first_result_is_a_snapshot_and_no_frame() -> None:
    live = group(query(limit=2))
    assert live.apply(page((1, "a"))) is None
    assert live.snapshot is not None
    assert list(live.snapshot.records) == ['{"id": 1, "title": "a"}']


def test_the_next_result_is_told_by_its_difference() -> None:
    live = group(query(limit=2))
    live.apply(page((1, "a"), (2, "b")))
    assert live.apply(page((2, "B"), (3, "c"))) == Frame(
        added=('{"id": 3, "title": "c"}',), changed=(Changed(2, {"title": "B"}),), removed=(1,)
    )
    assert live.apply(page((2, "B"), (3, "c"))) is None


def test_the_order_is_told_only_when_the_records_do_not_tell_it() -> None:
    hidden = group(query(fields=("id", "title"), sort=["points"]))
    hidden.apply(page((1, "a"), (2, "b")))
    assert hidden.apply(page((2, "b"), (1, "a"))) == Frame(order=(2, 1))
    shown = group(query(sort=["title"], limit=2))
    shown.apply(page((1, "a"), (2, "b")))
    assert shown.apply(page((2, "b"), (1, "a"))) is None


def test_a_live_number_tells_its_value_when_it_changes() -> None:
    live = group(query(counts=True))
    assert live.plans(NOON)[0].total
    assert live.apply(page(total=3)) is None
    assert live.apply(page(total=3)) is None
    assert live.apply(page(total=4)) == Frame(value=4)


def test_a_set_without_a_limit_of_its_own_must_not_be_larger_than_allowed() -> None:
    live = group(query(where(team__open=True)), records=2)
    assert live.plans(NOON)[0].limit == 2
    with pytest.raises(TooLarge):
        live.apply(page((1, "a"), (2, "b"), more=True))
    group(query(limit=2)).apply(page((1, "a"), (2, "b"), more=True))


def test_only_a_change_with_an_image_in_the_filter_concerns_the_group() -> None:
    from crudite.changes import Change
    from tests.unit.live.world import TASK

    live = group(query(where(status="todo"), limit=3))
    todo, done = json.dumps(task(1, status="todo")), json.dumps(task(1, status="done"))
    assert live.concerns(Change(TASK, 1, "updated", todo, done, "1"))
    assert live.concerns(Change(TASK, 1, "created", None, todo, "1"))
    assert not live.concerns(Change(TASK, 1, "updated", done, done, "1"))


def test_a_run_is_bound_to_its_own_moment_and_the_next_is_at_the_nearest_boundary_and_just_after_it() -> None:
    bound: list[datetime] = []

    def rebind(now: datetime) -> LiveQuery:
        bound.append(now)
        return query(boundary_plans=(query().plan, query().plan), wakes_at_midnight=True)

    live = group(query(rebind=rebind))
    assert len(live.plans(NOON)) == 3
    assert bound == [NOON]
    late = Page([1], [1], ["{}"], first=("2026-11-20T22:00:00.000000Z", 1))
    early = Page([1], [1], ["{}"], first=("2026-11-20T13:30:00.000000Z", 1))
    nothing = Page([], [], [])
    boundary = datetime(2026, 11, 20, 13, 30, tzinfo=UTC)
    assert live.next_moment([late, early], NOON) == boundary
    assert live.next_moment([late, early], boundary) == boundary + timedelta(microseconds=1)
    assert live.next_moment([nothing, nothing], NOON) == datetime(2026, 11, 21, tzinfo=UTC)
    date = Page([1], [1], ["{}"], first=("2026-11-21", 1))
    assert live.next_moment([date], NOON) == datetime(2026, 11, 21, tzinfo=UTC)


def test_a_query_that_names_no_moment_has_none() -> None:
    assert group(query(limit=2)).next_moment([], NOON) is None
