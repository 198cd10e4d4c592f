"""SQL text: one for each shape, with nothing in it that somebody wrote but declared and quoted names."""

from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.query import sql
from crudite.query.identity import identity_of
from crudite.query.match import compile_matcher
from crudite.query.parse import parse_filter, where
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.shapes import shape_of
from crudite.query.sql import condition, quote, record_json, select
from crudite.query.tree import And, Condition, Filter, Hop, Not, Or, Path
from crudite.query.tree import Test as Comparison
from crudite.rules import me, now
from crudite.schema import FieldSpec, FieldType, ResourceSchema
from tests.unit.query.shop import CATALOG, PROJECT, TASK, asked, plan, resolve
from tests.unit.query.worlds import DIALECT, NAMES, World, create_tables, filters, insert, worlds


def text(filter: Filter, **more: Any) -> str:
    return select(plan(filter, **more), DIALECT).text


def test_queries_of_one_shape_are_one_text_with_other_constants() -> None:
    one, two = (select(plan(asked(count=n, title__lt=t)), DIALECT) for n, t in ((1, "a"), (2, "b")))
    assert one.text == two.text
    assert (one.parameters, two.parameters) == ((1, "a"), (2, "b"))


def test_the_length_of_a_list_is_not_part_of_the_shape() -> None:
    assert text(asked(count__in=[1, 2, 3])) == text(asked(count__in=[5]))
    assert text(asked(effort__in=[0.5, 0.1])) == text(asked(effort__in=[1e308]))


def test_whether_a_constant_is_null_is_part_of_the_shape() -> None:
    assert text(asked(count=None)) != text(asked(count=1))
    assert "?" not in text(asked(count=None))


def test_whether_a_condition_is_negated_is_part_of_the_shape() -> None:
    assert text(resolve(Not(where(title__contains="a")))) != text(asked(title__contains="a"))
    assert text(resolve(Not(where(project__name="a")))) != text(asked(project__name="a"))
    assert text(resolve(Not(where(project__members__role="a")))) != text(asked(project__members__role="a"))


@given(st.data())
def test_equal_shapes_have_equal_texts(data: st.DataObject) -> None:
    world: World = data.draw(worlds(most_records=0))
    one, two = (world.resolved("A", data.draw(filters(world, "A"))) for _ in "12")
    same_text = condition(one, DIALECT).text == condition(two, DIALECT).text
    assert same_text == (shape_of(one)[0] == shape_of(two)[0])
    assert len(shape_of(one)[1]) == len(condition(one, DIALECT).parameters)


def test_a_text_is_compiled_once_for_each_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    warm = text(asked(title="a", done=True))
    monkeypatch.setattr(sql, "_select_text", None)
    assert text(asked(title="b", done=False)) == warm


def test_two_applications_with_the_same_names_do_not_share_texts() -> None:
    other = ResourceSchema("Task", "tasks", "other", TASK.fields, links=TASK.links)
    selections = [Selection(schema, asked(count=1), Mask(("id",))) for schema in (TASK, other)]
    texts = [select(Plan(selection=selection), DIALECT).text for selection in selections]
    assert '"task"' in texts[0]
    assert '"other"' in texts[1]


def test_equal_fields_with_references_to_other_tables_do_not_share_conditions() -> None:
    field = TASK.fields["project"]
    elsewhere = ResourceSchema("Project", "projects", "elsewhere", PROJECT.fields, links=PROJECT.links)
    name = PROJECT.fields["name"]
    one, two = (
        condition(Comparison(Path((Hop(field, target),), name, (), name.type), "eq", "x"), DIALECT).text
        for target in (PROJECT, elsewhere)
    )
    assert '"project"' in one
    assert '"elsewhere"' in two


def test_huge_and_ever_new_shapes_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_texts", {})
    monkeypatch.setattr(sql, "_MOST_TEXTS", 10)
    monkeypatch.setattr(sql, "_LONGEST_TEXT", 500)
    condition(Or(tuple(asked(title=str(n)) for n in range(100))), DIALECT)
    assert sql._texts == {}
    for n in range(1, 40):
        condition(Or(tuple(asked(title=str(i)) for i in range(n % 20 + 1))), DIALECT, first=n)
    assert 0 < len(sql._texts) <= 10


@pytest.mark.parametrize("symbol", [me.id, now])
def test_an_unbound_filter_is_refused(symbol: Any) -> None:
    filter = resolve(where(at__lt=symbol) if symbol is now else where(count=symbol))
    with pytest.raises(TypeError, match="not bound"):
        condition(filter, DIALECT)
    with pytest.raises(TypeError, match="not bound"):
        compile_matcher(filter)


def test_a_filter_that_is_not_resolved_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a resolved filter"):
        condition(Condition(("count",), "eq", 1), DIALECT)


@given(st.data())
def test_filters_of_one_identity_mean_the_same_records(data: st.DataObject) -> None:
    world: World = data.draw(worlds())
    one, two = (world.resolved("A", data.draw(filters(world, "A"))) for _ in "12")
    if identity_of(one) == identity_of(two):
        assert world.matched("A", one) == world.matched("A", two)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ({"count": 1, "title": "a"}, {"title": "a", "count": 1}, True),
        ({"count": [1, 2]}, {"count": [2, 1, 1]}, True),
        ({"or": [{"count": 1}, {"count": 2}]}, {"or": [{"count": 2}, {"count": 1}]}, True),
        ({"effort": -0.0}, {"effort": 0.0}, True),
        ({"effort": 1}, {"effort": 1.0}, True),
        ({"not": {"count": 1}}, {"count": {"ne": 1}}, True),
        ({"count": 1}, {"count": 2}, False),
        ({"count": 1}, {"count": None}, False),
        ({"count": {"lt": 1}}, {"count": {"lte": 1}}, False),
        ({"count": 1}, {"project": 1}, False),
        ({"title": "a"}, {"title": "A"}, False),
        ({"count": 1, "title": "a"}, {"or": [{"count": 1}, {"title": "a"}]}, False),
        ({"title": "é"}, {"title": "e\u0301"}, False),
        ({"scores.a": 1}, {"scores.b": 1}, False),
        ({"title": "a','b"}, {"title": ["a", "b"]}, False),
        ({"project.members": {"exists": True}}, {"project.members": {"exists": False}}, False),
        ({"project.members.user": 1, "project.members.role": "x"},
         {"and": [{"project.members.user": 1}, {"project.members.role": "x"}]}, False),
    ],
)  # fmt: skip
def test_the_identity_of_filters(one: Any, two: Any, same: bool) -> None:
    assert (identity_of(resolve(parse_filter(one))) == identity_of(resolve(parse_filter(two)))) is same


def test_symbols_count_by_name_in_an_identity_and_are_no_texts() -> None:
    assert identity_of(resolve(where(title=me.name))) == identity_of(resolve(where(title=me.name)))
    assert identity_of(resolve(where(title=me.name))) != identity_of(resolve(where(title=me.id)))
    assert identity_of(resolve(where(title=me.name))) != identity_of(resolve(where(title="me.name")))


def shop() -> apsw.Connection:
    database = apsw.Connection(":memory:")
    create_tables(database, CATALOG)
    return database


def task(**values: Any) -> dict[str, Any]:
    return {
        "id": 1, "project": None, "title": "t", "status": "todo", "due": None, "at": None, "effort": None,
        "price": "0.00", "ticket": "0", "done": False,
        "ref": "00000000-0000-0000-0000-000000000000", "count": None,
        "tags": [], "amounts": [], "scores": {}, "meta": {}, "version": 1, **values,
    }  # fmt: skip


_any_name = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8) | st.sampled_from(NAMES)


@given(_any_name, _any_name)
def test_any_name_inside_json_is_found_exactly(name: str, other: str) -> None:
    database = shop()
    insert(database, TASK, task(scores={name: 7}))
    for asked_name, expected in ((name, 1), (other, int(name == other))):
        if asked_name:
            filter = resolve(Condition(("scores", asked_name), "eq", 7))
            found = list(database.execute(*sql.count(plan(filter).selection, DIALECT)))
            assert found == [(expected,)]


_attacks = [
    "'",
    "''",
    "';--",
    '"',
    '")',
    "?",
    "?1",
    "' OR 1=1 --",
    "$.a",
    '"."',
    '\\"',
    "%",
    "\x1a",
    "a'\n",
    "); DROP",
]


@pytest.mark.parametrize("attack", _attacks)
def test_what_somebody_writes_never_becomes_sql(attack: str) -> None:
    database = shop()
    insert(database, TASK, task(title=attack, scores={attack: 1}, meta={"color": attack}, tags=[attack]))
    asked_for = And((
        where(title=attack, title__contains=attack, title__istartswith=attack, title__in=[attack, "x"]),
        where(tags__contains=attack, meta__color=attack), Condition(("scores", attack), "gte", 1),
    ))  # fmt: skip
    query = plan(resolve(asked_for))
    assert [row[0] for row in database.execute(*select(query, DIALECT))] == [1]
    tame = condition(asked(title="tame", tags__contains="tame"), DIALECT).text
    assert condition(asked(title=attack, tags__contains=attack), DIALECT).text == tame
    assert list(database.execute(*select(plan(resolve(~asked_for)), DIALECT))) == []


def test_the_largest_filters_fit_into_a_statement() -> None:
    database = shop()
    insert(database, TASK, task(count=150, effort=0.5))
    for filter in (
        Or(tuple(asked(count=n) for n in range(200))),
        And(tuple(asked(count__ne=n + 1000) for n in range(200))),
        asked(effort__in=[n / 2 for n in range(1000)]),
        resolve(Or((*(where(project__owner__projects__name=f"{n}") for n in range(39)), where(count=150)))),
    ):  # fmt: skip
        assert [row[0] for row in database.execute(*select(plan(filter), DIALECT))] == [1]
    wide = And(tuple(Or((asked(count=150), asked(count=n))) for n in range(2000)))
    assert [row[0] for row in database.execute(*select(plan(wide), DIALECT))] == [1]


def test_a_record_of_very_many_fields_is_one_json_object() -> None:
    fields = {name: FieldSpec(name, FieldType("integer")) for name in ("id", *(f"f{n}" for n in range(300)))}
    schema = ResourceSchema("Wide", "wide", "wide", fields)
    database = apsw.Connection(":memory:")
    database.limit(apsw.SQLITE_LIMIT_FUNCTION_ARG, 127)
    database.execute(f"CREATE TABLE wide ({', '.join(f'{quote(name)} INTEGER' for name in fields)}) STRICT")
    database.execute(f"INSERT INTO wide VALUES ({', '.join(str(n) for n in range(301))})")
    [(json,)] = database.execute(f"SELECT {record_json(schema, list(fields), 't', DIALECT)} FROM wide AS t")
    assert list(msgspec.json.decode(json).items()) == [("id", 0), *((f"f{n}", n + 1) for n in range(300))]
    hidden, expected_json = Mask(("id",), tuple((f"f{n}", Or()) for n in range(200))), '{"id":0}'
    masked = sql.masked_json(Selection(schema, And(), hidden), DIALECT)
    assert list(database.execute(f"SELECT {masked.text} FROM wide AS t")) == [(expected_json,)]


def test_a_page_starts_inside_an_index() -> None:
    database = shop()
    database.execute("CREATE INDEX by_title ON task (title)")
    database.execute("CREATE INDEX by_due ON task (due)")
    for sort, start in ((("title",), ("m", 5)), (("-title",), ("m", 5)), (("due",), ("2026-11-20", 5))):
        page = select(plan(And(), sort=sort, start=start, limit=10), DIALECT)
        [line, *rest] = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {page.text}", page.parameters)]
        assert line.startswith("SEARCH t USING INDEX"), line
        assert not any("TEMP B-TREE FOR ORDER BY" in other for other in rest)


def test_a_text_prefix_uses_an_index() -> None:
    database = shop()
    database.execute("CREATE INDEX by_title ON task (title)")
    found = sql.count(plan(asked(title__startswith="ab")).selection, DIALECT)
    [line] = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {found.text}", found.parameters)]
    assert "title>?" in line
