"""The matching index names every group that a record may concern, and few others."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crudite.live.matching import Equality, Interval, MatchIndex, place
from crudite.query.match import compile_matcher
from crudite.query.parse import where
from crudite.query.tree import NOTHING, Filter
from crudite.types import PlainRecord
from tests.unit.live.world import TASK, resolve, task

TITLES = ("", "a", "b", "ab")
PRICES = (None, "0.00", "1.50", "-2.00", "10.00")


def at(**conditions: Any) -> Any:
    return place(resolve(where(**conditions)))


def test_the_reference_is_chosen_before_text_before_numbers_before_enumerations() -> None:
    assert at(status="todo", points=3, title="a", team=7) == Equality(TASK.fields["team"], frozenset([7]))
    assert at(status="todo", points=3, title="a") == Equality(TASK.fields["title"], frozenset(["a"]))
    assert at(status="todo", points=3) == Equality(TASK.fields["points"], frozenset([3]))
    assert at(status="todo") == Equality(TASK.fields["status"], frozenset(["todo"]))


def test_the_shorter_list_is_chosen_among_fields_of_one_rank() -> None:
    assert at(id__in=[1, 2, 3], team__in=[4, 5]) == Equality(TASK.fields["team"], frozenset([4, 5]))


def test_alternatives_on_one_field_count_as_a_list() -> None:
    both = resolve(where(team=1) | where(team__in=[2, 3]) | where(team=None))
    assert place(both) == Equality(TASK.fields["team"], frozenset([1, 2, 3, None]))


def test_alternatives_on_different_fields_have_no_place() -> None:
    assert place(resolve(where(team=1) | where(title="a"))) is None


def test_a_negated_equality_has_no_place() -> None:
    assert at(team__ne=1) is None
    assert at(team__nin=[1, 2]) is None


def test_a_value_inside_json_has_no_place() -> None:
    assert at(data__isnull=True) is None


def test_a_range_is_used_only_without_an_equality() -> None:
    assert at(points__gt=3, points__lte=9) == Interval(TASK.fields["points"], 3, 9)
    assert at(points__gt=3, status="todo") == Equality(TASK.fields["status"], frozenset(["todo"]))


def test_the_narrowest_bounds_of_a_range_count() -> None:
    assert at(points__gt=3) == Interval(TASK.fields["points"], 3, None)
    bounds = resolve(where(points__gt=3) & where(points__gte=5) & where(points__lt=9))
    assert place(bounds) == Interval(TASK.fields["points"], 5, 9)


def test_decimals_are_found_by_their_number_and_not_by_their_text() -> None:
    index: MatchIndex[str] = MatchIndex()
    index.add("cheap", at(price__lt="9.00"))
    assert index.candidates(task(1, price="10.00")) == set()
    assert index.candidates(task(1, price="8.99")) == {"cheap"}


def test_a_filter_that_nothing_is_in_is_never_named() -> None:
    index: MatchIndex[str] = MatchIndex()
    index.add("none", place(NOTHING))
    assert index.candidates(task(1)) == set()


def test_ten_thousand_groups_by_team_name_one_candidate() -> None:
    index: MatchIndex[int] = MatchIndex()
    for team in range(10_000):
        index.add(team, at(team=team, status="todo"))
    assert index.candidates(task(1, team=77)) == {77}


def test_closed_ranges_are_looked_up_from_their_nearer_end() -> None:
    index: MatchIndex[int] = MatchIndex()
    for low in range(0, 1000, 10):
        index.add(low, at(points__gte=low, points__lte=low + 9))
    assert index.candidates(task(1, points=12)) == {0, 10}
    assert index.candidates(task(1, points=985)) == {980, 990}


def test_a_removed_group_leaves_nothing_behind() -> None:
    index: MatchIndex[str] = MatchIndex()
    places = [at(team=1), at(points__gt=1), at(points__lt=1), at(points__gt=1, points__lt=5), at(team__ne=1)]
    for number, spot in enumerate(places):
        index.add(f"group {number}", spot)
        index.add(f"other {number}", spot)
    for number, spot in enumerate(places):
        index.remove(f"group {number}", spot)
    assert index.candidates(task(1, team=1, points=2)) == {"other 0", "other 1", "other 3", "other 4"}
    for number, spot in enumerate(places):
        index.remove(f"other {number}", spot)
    assert index.candidates(task(1, team=1, points=2)) == set()


records: st.SearchStrategy[PlainRecord] = st.builds(
    task,
    st.integers(1, 4),
    st.sampled_from(TITLES),
    team=st.sampled_from([None, 1, 2]),
    status=st.sampled_from([None, "todo", "done"]),
    points=st.sampled_from([None, -1, 0, 1, 5]),
    price=st.sampled_from(PRICES),
)
conditions: st.SearchStrategy[Filter] = st.one_of(
    st.sampled_from([None, 1, 2]).map(lambda value: where(team=value)),
    st.lists(st.sampled_from([None, 1, 2]), max_size=3).map(lambda values: where(team__in=values)),
    st.sampled_from([None, "todo", "done"]).map(lambda value: where(status__ne=value)),
    st.sampled_from([None, "todo", "done"]).map(lambda value: where(status=value)),
    st.sampled_from(TITLES).map(lambda value: where(title__startswith=value)),
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte", "eq", "ne"]), st.sampled_from([-1, 0, 1, 5])).map(
        lambda pair: where(**{f"points__{pair[0]}": pair[1]})
    ),
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte", "eq"]), st.sampled_from(PRICES[1:])).map(
        lambda pair: where(**{f"price__{pair[0]}": pair[1]})
    ),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda filter: ~filter),
    ),
    max_leaves=6,
)


@given(st.lists(filters, max_size=12), st.lists(records, max_size=12))
def test_the_index_never_misses_a_group(written: list[Filter], rows: list[PlainRecord]) -> None:
    bound = [resolve(filter) for filter in written]
    index: MatchIndex[int] = MatchIndex()
    for number, filter in enumerate(bound):
        index.add(number, place(filter))
    for row in rows:
        true = {number for number, filter in enumerate(bound) if compile_matcher(filter)(row)}
        assert true <= index.candidates(row)
