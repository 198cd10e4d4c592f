"""What of a query decides how it is kept live."""

from datetime import datetime

from crudite.live.tiers import is_ordered, others, own_part, tier_of
from crudite.messages import LiveQuery
from crudite.query.match import compile_matcher
from crudite.query.parse import where
from crudite.query.tree import EVERYTHING
from tests.unit.live.world import query, resolve, task


def again(now: datetime) -> LiveQuery:
    raise AssertionError("not called here")


def tier(live: LiveQuery) -> str:
    return tier_of(live).name


def watched(live: LiveQuery) -> set[str]:
    return {schema.name for schema in others(live)}


def test_a_filter_over_own_fields_and_one_through_other_records_are_exact() -> None:
    assert tier(query(where(status="todo", points__gt=1), sort=["-points"])) == "exact"
    assert tier(query(where(team__open=True))) == "exact"
    assert tier(query(where(team__tasks__status="done"))) == "exact"
    assert tier(query(fields=("id",), sometimes=(("title", where(team__open=True)),))) == "exact"


def test_a_limit_makes_a_window_where_the_sort_is_by_own_fields() -> None:
    assert tier(query(limit=5)) == "window"
    assert tier(query(where(team__open=True), fields=("id",), sort=["-points"], limit=5)) == "window"
    by_team = tier_of(query(sort=["team.name"], limit=5))
    assert by_team.name == "rerun"
    assert by_team.reason == "It has a limit, and its sort by team.name reads more than the records' own fields."


def test_numbers_and_moments_are_run_again() -> None:
    assert tier(query(counts=True)) == "rerun"
    assert tier(query(rebind=again)) == "rerun"


def test_a_sort_by_what_the_records_do_not_show_is_run_again() -> None:
    hidden = query(fields=("id", "title"), sort=["points"])
    assert is_ordered(hidden.plan)
    assert tier(hidden) == "rerun"
    assert is_ordered(query(sort=["team.name"]).plan)
    assert not is_ordered(query(sort=["points"]).plan)


def test_the_other_resources_are_those_behind_paths_sorts_and_conditions() -> None:
    assert watched(query(where(status="todo"), limit=3)) == set()
    assert watched(query(where(team__open=True))) == {"team"}
    assert watched(query(sort=["team.name"])) == {"team"}
    assert watched(query(where(team__tasks__status="todo"))) == {"team", "task"}
    assert watched(query(fields=("id",), sometimes=(("title", where(team__open=True)),))) == {"team"}


def test_the_own_part_of_a_conjunction_leaves_out_what_reads_other_records() -> None:
    both = own_part(resolve(where(status="todo", team__open=True)))
    assert compile_matcher(both)(task(1, status="todo"))
    assert not compile_matcher(both)(task(1, status="done"))
    assert own_part(resolve(where(status="todo") | where(team__open=True))) == EVERYTHING
