"""SQLite and the matcher mean the same by every query: the same records, in order, on the same pages."""

from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.query.match import compile_mask
from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.sql import condition, count, masked_json, quote
from crudite.query.tree import EVERYTHING, And, Condition, Filter, Not, Or
from crudite.schema import FieldType
from crudite.types import Key
from tests.unit.query.worlds import (
    DIALECT,
    FLOATS,
    HUGE,
    INTEGERS,
    OPERATORS,
    TEXT_OPERATORS,
    TEXTS,
    TYPES,
    World,
    aggregated,
    aggregates,
    awkward,
    create_tables,
    filters,
    images,
    insert,
    make_catalog,
    masks,
    sorts,
    worlds,
)


@given(st.data())
def test_sqlite_finds_exactly_the_records_that_the_matcher_accepts_in_the_same_order(
    data: st.DataObject,
) -> None:
    world = data.draw(worlds())
    filter = world.resolved("A", data.draw(filters(world, "A")))
    sort = data.draw(sorts(world, "A"))
    assert world.selected("A", filter, sort) == world.matched("A", filter, sort)


@given(st.data())
def test_pages_laid_end_to_end_are_the_whole_list_forwards_and_backwards(data: st.DataObject) -> None:
    world = data.draw(worlds(most_records=7))
    filter = world.resolved("A", data.draw(filters(world, "A", most_hops=1)))
    sort = data.draw(sorts(world, "A"))
    size = data.draw(st.integers(1, 3))
    whole = world.matched("A", filter, sort)
    assert pages(world, filter, sort, size, backwards=False) == whole
    assert pages(world, filter, sort, size, backwards=True) == whole[::-1]


def pages(world: World, filter: Filter, sort: tuple[SortKey, ...], size: int, backwards: bool) -> list[Key]:
    """The keys of all pages, each one started where the last one ended."""
    schema = world.catalog["A"]
    selection = Selection(schema, filter, Mask((schema.key,)))
    keys: list[Key] = []
    start: tuple[Any, ...] | None = None
    while True:
        plan = Plan(selection=selection, sort=sort, limit=size, start=start, backwards=backwards)
        rows = world.rows(plan)
        assert len(rows) <= size + 1, "one more than the limit says that there is more"
        assert len(keys) <= len(world.records["A"]), "pages that repeat records would never end"
        keys += [DIALECT.load(schema.key_field.type, row[0]) for row in rows[:size]]
        if len(rows) <= size:
            return keys
        last = rows[size - 1][3:]
        start = tuple(DIALECT.load(k.path.type, value) for k, value in zip(sort, last, strict=True))
        start = tuple(msgspec.json.decode(msgspec.json.encode(start)))  # as a cursor keeps it


@given(st.data())
def test_what_a_mask_shows_is_the_same_in_sqlite_and_in_memory(data: st.DataObject) -> None:
    world = data.draw(worlds(most_fields=8))
    schema = world.catalog["A"]
    mask = data.draw(masks(world, "A"))
    show = compile_mask(mask, world)
    filter = world.resolved("A", data.draw(st.just(EVERYTHING) | filters(world, "A")))
    rows = world.rows(Plan(selection=Selection(schema, filter, mask), sort=world.resolver("A").sort(())))
    found = {DIALECT.load(schema.key_field.type, row[0]): in_order(msgspec.json.decode(row[2])) for row in rows}
    kept = world.matched("A", filter)
    assert found == {r["id"]: in_order(show(r)) for r in world.records["A"] if r["id"] in kept}


def in_order(shown: Any) -> bytes:
    """What is shown, such that the order of members counts, also of what is included."""
    return msgspec.json.encode(shown)


@given(st.data())
def test_a_condition_and_a_count_agree_with_the_selected_rows(data: st.DataObject) -> None:
    world = data.draw(worlds())
    schema = world.catalog["A"]
    filter = world.resolved("A", data.draw(filters(world, "A")))
    found = world.matched("A", filter)
    selection = Selection(schema, filter, Mask((schema.key,)))
    assert list(world.database.execute(*count(selection, DIALECT))) == [(len(found),)]
    where = condition(filter, DIALECT, alias="x", first=2)
    text = f"SELECT count(*) FROM {quote(schema.table)} AS x WHERE ?1 = 'first' AND {where.text}"
    assert list(world.database.execute(text, ("first", *where.parameters))) == [(len(found),)]
    json = masked_json(selection, DIALECT, "x")
    rows = world.database.execute(f"SELECT {json.text} FROM {quote(schema.table)} AS x", json.parameters)
    assert sorted(row[0] for row in rows) == sorted(
        msgspec.json.encode({"id": record["id"]}).decode() for record in world.records["A"]
    )


@given(st.data())
def test_what_records_come_to_is_what_python_adds_up(data: st.DataObject) -> None:
    world = data.draw(worlds())
    filter = world.resolved("A", data.draw(st.just(EVERYTHING) | filters(world, "A")))
    aggregate = data.draw(aggregates(world, "A"))
    assert aggregated(world, "A", filter, aggregate) == world.comes_to("A", filter, aggregate)


@given(st.data())
def test_reading_by_keys_gives_those_of_them_that_the_filter_holds(data: st.DataObject) -> None:
    world = data.draw(worlds())
    schema = world.catalog["A"]
    filter = world.resolved("A", data.draw(filters(world, "A")))
    some = data.draw(st.lists(st.sampled_from([r["id"] for r in world.records["A"]] or ["none"]), unique=True))
    plan = Plan(selection=Selection(schema, filter, Mask((schema.key,))), keys=tuple(some))
    if some != ["none"]:
        found = {DIALECT.load(schema.key_field.type, row[0]) for row in world.rows(plan)}
        assert found == set(some) & set(world.matched("A", filter))


@given(st.data())
def test_not_selects_exactly_the_other_records(data: st.DataObject) -> None:
    world = data.draw(worlds())
    written = data.draw(filters(world, "A"))
    everything = world.matched("A", And())
    inside = world.selected("A", world.resolved("A", written))
    outside = world.selected("A", world.resolved("A", Not(written)))
    assert sorted(inside + outside, key=repr) == sorted(everything, key=repr)


@given(st.data())
def test_de_morgan_holds(data: st.DataObject) -> None:
    world = data.draw(worlds())
    # each in a term of its own: conditions that stand directly in one And speak of one related record
    a, b = And((data.draw(filters(world, "A")),)), And((data.draw(filters(world, "A")),))
    both = world.resolved("A", Not(And((a, b))))
    assert world.selected("A", both) == world.selected("A", world.resolved("A", Or((Not(a), Not(b)))))
    either = world.resolved("A", Not(Or((a, b))))
    assert world.selected("A", either) == world.selected("A", world.resolved("A", And((Not(a), Not(b)))))


def awkward_world(name: str) -> tuple[World, list[tuple[str, ...]]]:
    """Every awkward value of one type in a record of its own, and the paths to where it lies."""
    catalog = make_catalog(["integer"], True, [name])
    world = World(catalog, apsw.Connection(":memory:"))
    create_tables(world.database, catalog)
    schema, type = catalog["A"], TYPES[name]
    found: list[Any] = [None, *awkward(type)]
    paths: list[tuple[str, ...]] = [(name,)]
    if type.kind == "json":
        inside = [
            None,
            True,
            False,
            *TEXTS,
            *INTEGERS,
            *FLOATS,
            *HUGE,
            [],
            {},
            [1],
            ["a"],
            {"n": 1},
            {"n": "1"},
        ]
        members = {path: [{path: value} for value in inside] for path in type.members or ("alice",)}
        found = [
            None,
            *inside,
            *[[value] for value in inside],
            *[one for many in members.values() for one in many],
        ]
        paths += [(name, path) for path in members if type.item is None and (type.members or type.values)]
    for key, value in enumerate(found):
        insert(world.database, schema, {"id": key, name: value, "to_a": None, "version": 1})
    if type.kind == "json":  # as another program may write null
        world.database.execute(f"INSERT INTO {quote(schema.table)} VALUES (-1, 'null', NULL, 1)")
    world.records["A"] = images(world.database, schema)
    return world, paths


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_operator_agrees_on_every_pair_of_awkward_values(name: str) -> None:
    world, paths = awkward_world(name)
    for path in paths:
        asked = compared(TYPES[name], path[1:])
        operators = ("isnull", "exists")
        if asked.item is not None:
            operators = (*operators, "contains")
        elif asked.kind != "json":
            operators = (*operators, *OPERATORS, *(TEXT_OPERATORS if asked.kind == "text" else ()))
        if path[1:] and asked.kind in ("bigint", "decimal", "time", "datetime"):
            continue
        scalar = asked.item or asked
        for operator in operators:
            for value in awkward(scalar) or [True]:
                for filter in both_ways(world, path, operator, value):
                    assert world.selected("A", filter) == world.matched("A", filter), (path, operator, value)


def compared(type: FieldType, inside: tuple[str, ...]) -> FieldType:
    """The type at a path inside a type."""
    for name in inside:
        type = (type.members or {}).get(name) or type.values or type
    return type


def both_ways(world: World, path: tuple[str, ...], operator: Any, value: Any) -> list[Filter]:
    """The condition and its negation."""
    given = {"in": [value, None], "nin": [value], "between": [value, value], "isnull": True, "exists": True}
    written = Condition(path, operator, given.get(operator, value))
    return [world.resolved("A", written), world.resolved("A", Not(written))]


@pytest.mark.parametrize("name", sorted(name for name, type in TYPES.items() if type.kind != "json"))
@pytest.mark.parametrize("descending", [False, True])
def test_awkward_values_sort_the_same_and_page_from_any_of_them(name: str, descending: bool) -> None:
    world, _ = awkward_world(name)
    sort = world.resolver("A").sort(["-" * descending + name])
    whole = world.matched("A", And(), sort)
    assert world.selected("A", And(), sort) == whole
    assert pages(world, And(), sort, 1, backwards=False) == whole
    assert pages(world, And(), sort, 1, backwards=True) == whole[::-1]


@pytest.mark.parametrize("path", ["meta.n", "meta.r", "meta.t", "meta.b", "meta.d", "meta.u"])
def test_whatever_lies_in_json_sorts_the_same(path: str) -> None:
    world, _ = awkward_world("meta")
    for written in (path, f"-{path}"):
        sort = world.resolver("A").sort([written])
        whole = world.matched("A", And(), sort)
        assert world.selected("A", And(), sort) == whole
        assert pages(world, And(), sort, 3, backwards=False) == whole
