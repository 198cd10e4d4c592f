"""The spellings: what each one means, and that all of them mean the same."""

from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.errors import Malformed
from crudite.query.parse import MAX_DEPTH, parse_filter, parse_json, parse_url, where
from crudite.query.tree import And, Condition, Filter, Not, Or
from tests.unit.query.shop import TASK, resolve


def url(text: str) -> Filter:
    return parse_url(parse_qsl(text, keep_blank_values=True)).filter


@pytest.mark.parametrize(
    ("text", "json", "python"),
    [
        ("status=todo", {"status": "todo"}, where(status="todo")),
        ("count[lt]=5", {"count": {"lt": 5}}, where(count__lt=5)),
        ("count__lt=5", {"count__lt": 5}, where(count__lt=5)),
        ("status=todo&status=done", {"status": ["todo", "done"]}, where(status__in=["todo", "done"])),
        ("status[in]=todo,done", {"status": {"in": ["todo", "done"]}}, where(status__in=("todo", "done"))),
        ("status[nin]=todo", {"status": {"nin": ["todo"]}}, where(status__nin={"todo"})),
        ("project.owner=7", {"project.owner": 7}, where(project__owner=7)),
        ("project__owner__ne=7", {"project__owner": {"ne": 7}}, where(project__owner__ne=7)),
        ("due[isnull]=true", {"due": {"isnull": True}}, where(due__isnull=True)),
        ("due[exists]=false", {"due": None}, where(due=None)),
        ("count[eq]=3", {"count": 3}, where(count=3)),
        ("effort[between]=1,2.5", {"effort": {"between": [1, 2.5]}}, where(effort__between=(1, 2.5))),
        ("meta.color=red", {"meta.color": "red"}, where(meta__color="red")),
        ("project.members.user=7", {"project.members.user": 7}, where(project__members__user=7)),
        ("tags[contains]=a", {"tags": {"contains": "a"}}, where(tags__contains="a")),
        ("count[gte]=1&count[lt]=9", {"count": {"gte": 1, "lt": 9}}, where(count__gte=1, count__lt=9)),
        ('filter={"or":[{"done":true},{"count":1}]}', {"or": [{"done": True}, {"count": 1}]},
         where(done=True) | where(count=1)),
        ('filter={"not":{"done":true}}', {"not": {"done": True}}, ~where(done=True)),
        ("title=", {"title": ""}, where(title="")),
        ("price=2.5", {"price": "2.50"}, where(price="2.5")),
        ("ticket=9223372036854775807", {"ticket": "9223372036854775807"}, where(ticket=2**63 - 1)),
    ],
)  # fmt: skip
def test_the_same_query_in_a_url_in_json_and_in_python_is_the_same_filter(text: str, json: Any, python: Filter) -> None:
    assert resolve(url(text)) == resolve(parse_filter(json)) == resolve(python)


_terms = st.sampled_from([
    {"status": "todo"}, {"count": {"lt": 5, "ne": 3}}, {"due": None}, {"due": {"gte": "2026-11-20"}},
    {"effort": {"between": [0, 0.1]}}, {"status": {"nin": ["todo", None]}}, {"tags": {"contains": "ä"}},
    {"project.owner.name": {"istartswith": "A"}}, {"project.members.user": 7, "project.members.role": "x"},
    {"project.members": {"exists": False}}, {"scores.alice": {"gt": 3}}, {"meta.inner.x": {"exists": True}},
])  # fmt: skip
_nested = st.recursive(
    _terms,
    lambda inner: (
        st.fixed_dictionaries({"or": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries({"and": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries({"not": inner})
    ),
    max_leaves=6,
)


def in_python(json: dict[str, Any]) -> Filter:
    """The filter of a JSON object, put together with Python's operators."""
    keywords: dict[str, Any] = {}
    terms: list[Filter] = []
    for name, part in json.items():
        if name == "not":
            terms.append(~in_python(part))
        elif name in ("or", "and"):
            terms.append((Or if name == "or" else And)(tuple(map(in_python, part))))
        elif isinstance(part, dict):
            keywords |= {f"{name.replace('.', '__')}__{operator}": value for operator, value in part.items()}
        else:
            keywords[name.replace(".", "__")] = part
    return where(terms, **keywords)


@given(_nested)
def test_however_it_is_nested_every_spelling_resolves_to_the_same_filter(json: dict[str, Any]) -> None:
    expected = resolve(parse_filter(json))
    assert resolve(in_python(json)) == expected
    assert resolve(parse_json({"where": json}).filter) == expected
    assert resolve(url(urlencode({"filter": msgspec.json.encode(json).decode()}))) == expected


def test_everything_else_of_a_query_has_the_same_meaning_in_a_url_and_in_json() -> None:
    parameters = parse_qsl("sort=-due,title&limit=20&offset=5&cursor=abc&fields=id,title&count=exact")
    json = {"sort": ["-due", "title"], "limit": 20, "offset": 5, "cursor": "abc", "fields": "id,title",
            "count": "exact"}  # fmt: skip
    query = parse_url(parameters)
    assert query == parse_json(json)
    assert query.sort == ("-due", "title")
    assert (query.limit, query.offset, query.cursor, query.count) == (20, 5, "abc", True)
    assert query.fields == ("id", "title")


def test_null_stands_for_an_option_that_is_not_given() -> None:
    assert parse_json({"limit": None, "sort": None, "fields": None}) == parse_json({})


@pytest.mark.parametrize(
    ("text", "code", "parameter"),
    [
        ("limit=0", "bad_value", "limit"),
        ("limit=1.5", "bad_value", "limit"),
        ("limit= 5", "bad_value", "limit"),
        ("limit=٣", "bad_value", "limit"),
        ("limit=99999999999", "bad_value", "limit"),
        ("offset=-1", "bad_value", "offset"),
        ("count=yes", "bad_value", "count"),
        ("sort=a,,b", "bad_value", "sort"),
        ("fields=id&omit=title", "bad_value", "omit"),
        ("sort=a&sort=b", "repeated", "sort"),
        ("search=x&search=y", "repeated", "search"),
        ("filter=[1]", "bad_filter", "filter"),
        ("filter={", "bad_filter", "filter"),
        ("filter=" + "[" * 100_000, "bad_filter", "filter"),
        ('filter={"a":' + "9" * 5000 + "}", "bad_filter", "filter"),
        ('filter={"or":{}}', "bad_filter", "filter"),
    ],
)
def test_a_bad_parameter_is_named(text: str, code: str, parameter: str) -> None:
    with pytest.raises(Malformed) as problem:
        parse_url(parse_qsl(text))
    assert [(fault.code, fault.parameter) for fault in problem.value.faults] == [(code, parameter)]


@pytest.mark.parametrize(
    ("json", "code", "pointer"),
    [
        ([], "bad_query", "/query"),
        ({"limit": "5"}, "bad_value", "/query/limit"),
        ({"limit": True}, "bad_value", "/query/limit"),
        ({"limit": 10**5000}, "bad_value", "/query/limit"),
        ({"cursor": 5}, "bad_value", "/query/cursor"),
        ({"sort": [5]}, "bad_value", "/query/sort"),
        ({"count": True}, "bad_value", "/query/count"),
        ({"a/b~c": 1}, "unknown_parameter", "/query/a~1b~0c"),
        ({"include": [""]}, "bad_value", "/query/include"),
        ({"search": ["x"]}, "bad_value", "/query/search"),
        ({"where": "x"}, "bad_filter", "/query/where"),
        ({"where": {"a": {}}}, "bad_filter", "/query/where/a"),
        ({"where": {"or": [{}, 3]}}, "bad_filter", "/query/where/or/1"),
        ({"where": {"not": None}}, "bad_filter", "/query/where/not"),
        ({"fields": ["id"], "omit": ["id"]}, "bad_value", "/query/omit"),
    ],
)
def test_a_bad_place_in_json_is_pointed_at(json: Any, code: str, pointer: str) -> None:
    with pytest.raises(Malformed) as problem:
        parse_json(json, "/query")
    assert [(fault.code, fault.pointer) for fault in problem.value.faults] == [(code, pointer)]


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(Malformed) as problem:
        parse_url([("limit", "x"), ("count", "y"), ("sort", "")])
    assert [fault.parameter for fault in problem.value.faults] == ["limit", "count", "sort"]


def test_the_place_of_a_condition_is_a_json_pointer_or_the_name_of_the_parameter() -> None:
    [condition] = parse_filter({"a": {"lt": 3}}, "/where").terms  # type: ignore[attr-defined]
    assert condition.place == "/where/a/lt"
    [condition] = parse_url([("a[lt]", "3")]).filter.terms  # type: ignore[attr-defined]
    assert condition.place == "a[lt]"


@pytest.mark.parametrize("name", ["a[b][c]", "[lt]", "a[", "a]", "a[]", "a[b", "a[__class__]", "[", "a[lt]x"])
def test_brackets_that_hold_no_operator_are_part_of_a_name_that_no_field_has(name: str) -> None:
    [condition] = parse_url([(name, "1")]).filter.terms  # type: ignore[attr-defined]
    assert condition == Condition((name,), "eq", "1")


def test_nesting_has_a_limit() -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {"not": nested(depth - 1)} if depth else {"done": True}

    assert resolve(parse_filter(nested(MAX_DEPTH))) == resolve(where(done=True))
    with pytest.raises(Malformed, match="nested at most 20 deep"):
        parse_filter(nested(MAX_DEPTH + 1))
    with pytest.raises(Malformed, match="nested at most 20 deep"):
        parse_filter(nested(500))


def test_double_negation_is_nothing() -> None:
    assert resolve(Not(Not(where(done=True))), TASK) == resolve(where(done=True), TASK)
