"""Filters made smaller, and filters taken elsewhere, mean what they meant."""

from hypothesis import given
from hypothesis import strategies as st

from crudite.query.parse import where
from crudite.query.resolve import guard, join, reroot, simplify
from crudite.query.simplify import there_and
from crudite.query.tree import EVERYTHING, NOTHING, And, Exists, Filter, Hop, Or
from tests.unit.query.shop import ACCOUNT, CATALOG, PROJECT, TASK, Tables, asked, resolve
from tests.unit.query.worlds import World, filters, worlds

A, B, C = asked(count=1), asked(count=2), asked(count=3)


def test_nested_conjunctions_and_single_and_repeated_terms_are_flattened() -> None:
    assert simplify(And((And((A, B)), A, Or((C,))))) == And((A, B, C))
    assert simplify(Or((Or((A,)), A))) == A


def test_constants_decide() -> None:
    assert simplify(And((A, NOTHING))) == NOTHING
    assert simplify(Or((A, EVERYTHING))) == EVERYTHING
    assert simplify(And((A, EVERYTHING))) == A
    assert simplify(Or((A, NOTHING))) == A
    assert simplify(And((EVERYTHING, EVERYTHING))) == EVERYTHING


def test_an_exists_of_nothing_is_nothing() -> None:
    link = PROJECT.links["members"]
    nobody = Exists((), link, CATALOG["Membership"], And((A, NOTHING)))
    assert simplify(nobody) == NOTHING
    assert simplify(Exists((), link, CATALOG["Membership"], NOTHING, negated=True)) == EVERYTHING


def test_a_guard_that_always_holds_is_none() -> None:
    assert guard((EVERYTHING, EVERYTHING), A) == A
    assert guard((B,), A) == And((B, A))
    assert join((), either=True) == NOTHING


def bloated(filter: Filter) -> Filter:
    """The same filter, written larger."""
    match filter:
        case And(terms):
            return And((EVERYTHING, And(tuple(map(bloated, terms))), EVERYTHING))
        case Or(terms):
            return Or((NOTHING, Or(tuple(map(bloated, terms)) * 2)))
    return And((Or((filter, NOTHING)), filter))


@given(st.data())
def test_a_simplified_filter_holds_for_the_same_records(data: st.DataObject) -> None:
    world: World = data.draw(worlds())
    filter = world.resolved("A", data.draw(filters(world, "A")))
    large = bloated(filter)
    assert simplify(large) == simplify(filter)
    assert world.matched("A", large) == world.matched("A", filter)


@given(st.data())
def test_a_filter_rerooted_holds_where_it_holds_for_the_record_at_the_end_of_the_way(
    data: st.DataObject,
) -> None:
    world: World = data.draw(worlds())
    filter = world.resolved("B", data.draw(filters(world, "B", most_hops=1)))
    hops = (Hop(world.catalog["A"].fields["to_b"], world.catalog["B"]),)
    inside = set(world.matched("B", filter))
    expected = [r["id"] for r in world.records["A"] if r["to_b"] in inside]
    assert sorted(world.matched("A", there_and(filter, hops)), key=repr) == sorted(
        expected if filter != EVERYTHING else [r["id"] for r in world.records["A"]], key=repr
    )


def test_rerooted_to_nowhere_every_value_is_null() -> None:
    hops = (Hop(TASK.fields["project"], PROJECT), Hop(PROJECT.fields["owner"], ACCOUNT))
    tables = Tables(Task=[{"id": 1, "project": None}, {"id": 2, "project": 5}], Project=[], Account=[])
    is_not_x = resolve(where(name__ne="x"), ACCOUNT)
    assert tables.found(TASK, reroot(is_not_x, hops)) == [1, 2]
    assert tables.found(TASK, there_and(is_not_x, hops)) == []
