"""An exact group tells, from two images, what a change does to its set, and nothing else."""

import json

from crudite.changes import Change
from crudite.live.dependencies import Dependencies
from crudite.live.exact import ExactGroup
from crudite.live.frames import Changed, Frame
from crudite.live.keysets import Conditions
from crudite.live.tiers import membership
from crudite.messages import LiveQuery
from crudite.query.parse import where
from crudite.types import PlainRecord
from tests.unit.live.world import TASK, query, task


def conditions(live: LiveQuery) -> Conditions:
    return Dependencies(10).conditions(membership(live.plan), live.plan.selection.mask)


def frame(live: LiveQuery, before: PlainRecord | None, after: PlainRecord | None) -> Frame | None:
    texts = [None if image is None else json.dumps(image) for image in (before, after)]
    key = (after or before or {})["id"]
    return ExactGroup("g1", "key", live, conditions(live)).frame([Change(TASK, key, "updated", *texts, "1")])


TODO = query(where(status="todo"), fields=("id", "title", "points"))


def test_a_record_that_comes_in_is_added_whole() -> None:
    found = frame(TODO, task(7, "a", status="done"), task(7, "a", status="todo", points=3))
    assert found == Frame(added=('{"id":7,"title":"a","points":3}',))


def test_a_record_that_goes_out_is_removed_by_key_alone() -> None:
    assert frame(TODO, task(7, "a", status="todo"), task(7, "b", status="done")) == Frame(removed=(7,))
    assert frame(TODO, task(7, "a", status="todo"), None) == Frame(removed=(7,))


def test_a_record_that_stays_in_tells_only_what_changed() -> None:
    found = frame(TODO, task(7, "a", status="todo", points=3), task(7, "b", status="todo", points=3))
    assert found == Frame(changed=(Changed(7, {"title": "b"}),))


def test_a_record_that_was_never_in_is_not_told() -> None:
    assert frame(TODO, task(7, "a", status="done"), task(7, "b", status="done")) is None


def test_a_change_of_hidden_fields_is_not_told() -> None:
    assert frame(TODO, task(7, "a", status="todo"), task(7, "a", status="todo", team=2, version=2)) is None


def test_a_field_whose_condition_stops_holding_becomes_absent() -> None:
    live = query(fields=("id",), sometimes=(("points", where(status="todo")),))
    found = frame(live, task(7, status="todo", points=3), task(7, status="done", points=4))
    assert found == Frame(changed=(Changed(7, {}, ("points",)),))
    back = frame(live, task(7, status="done", points=3), task(7, status="todo", points=3))
    assert back == Frame(changed=(Changed(7, {"points": 3}),))


def test_a_conditional_field_that_stays_hidden_is_not_told() -> None:
    live = query(fields=("id",), sometimes=(("points", where(status="todo")),))
    assert frame(live, task(7, status="done", points=3), task(7, status="done", points=4)) is None


def test_true_and_one_are_two_values_inside_json() -> None:
    live = query(fields=("id", "data"))
    found = frame(live, task(7, data={"a": 1}), task(7, data={"a": True}))
    assert found == Frame(changed=(Changed(7, {"data": {"a": True}}),))


def test_the_keys_of_a_query_limit_its_set() -> None:
    live = query(keys=(7, 9), fields=("id",))
    assert frame(live, None, task(7)) == Frame(added=('{"id":7}',))
    assert frame(live, None, task(8)) is None
