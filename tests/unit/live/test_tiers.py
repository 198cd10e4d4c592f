"""A query is exact when the two images of a change tell everything, and only then."""

from datetime import datetime

from crudite.live.tiers import is_exact, is_ordered, own_part, watched
from crudite.messages import LiveQuery
from crudite.query.match import compile_matcher
from crudite.query.parse import where
from crudite.query.tree import EVERYTHING
from tests.unit.live.world import query, resolve, task


def again(now: datetime) -> LiveQuery:
    raise AssertionError("not called here")


def test_a_filter_over_own_fields_is_exact() -> None:
    assert is_exact(query(where(status="todo", points__gt=1), sort=["-points"]))


def test_windows_numbers_moments_and_other_records_are_not_exact() -> None:
    assert not is_exact(query(limit=5))
    assert not is_exact(query(counts=True))
    assert not is_exact(query(rebind=again))
    assert not is_exact(query(where(team__open=True)))
    assert not is_exact(query(fields=("id",), sometimes=(("title", where(team__open=True)),)))


def test_a_sort_by_what_the_records_do_not_show_is_not_exact() -> None:
    hidden = query(fields=("id", "title"), sort=["points"])
    assert is_ordered(hidden.plan)
    assert not is_exact(hidden)
    assert is_ordered(query(sort=["team.name"]).plan)
    assert not is_ordered(query(sort=["points"]).plan)


def test_the_watched_resources_are_those_behind_paths_sorts_and_conditions() -> None:
    assert watched(query(where(status="todo"), limit=3)) == set()
    assert watched(query(where(team__open=True))) == {"team"}
    assert watched(query(sort=["team.name"])) == {"team"}
    assert watched(query(where(team__tasks__status="todo"))) == {"team", "task"}
    assert watched(query(fields=("id",), sometimes=(("title", where(team__open=True)),))) == {"team"}
    assert watched(query(rebind=again)) == {"task"}


def test_the_own_part_of_a_conjunction_leaves_out_what_reads_other_records() -> None:
    both = own_part(resolve(where(status="todo", team__open=True)))
    assert compile_matcher(both)(task(1, status="todo"))
    assert not compile_matcher(both)(task(1, status="done"))
    assert own_part(resolve(where(status="todo") | where(team__open=True))) == EVERYTHING
