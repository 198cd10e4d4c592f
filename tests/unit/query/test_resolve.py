"""Resolving: names become paths, values plain, negation goes to the leaves, every fault is worded."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from crudite.errors import Invalid, Malformed
from crudite.query import tree
from crudite.query.comparisons import MAX_LIST, UrlText
from crudite.query.faults import MOST_FAULTS
from crudite.query.parse import where
from crudite.query.paths import MAX_NAME
from crudite.query.resolve import MAX_NODES, Resolver
from crudite.query.tree import EVERYTHING, NOTHING, And, Condition, Exists, Filter, Not, Or, Symbol
from crudite.rules import me, now, today
from tests.unit.query.shop import ACCOUNT, CATALOG, MEMBERSHIP, PROJECT, TASK, Tables, asked, faults, resolve


def test(filter: Filter) -> tuple[str, str, Any, bool]:
    assert isinstance(filter, tree.Test)
    return ".".join(filter.path.names), filter.operator, filter.value, filter.negated


test.__test__ = False  # type: ignore[attr-defined]


class Level(Enum):
    TODO = "todo"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"title": "a"}, ("title", "eq", "a", False)),
        ({"title__ne": "a"}, ("title", "eq", "a", True)),
        ({"due": None}, ("due", "isnull", True, False)),
        ({"due__ne": None}, ("due", "isnull", True, True)),
        ({"due__isnull": False}, ("due", "isnull", True, True)),
        ({"due__exists": True}, ("due", "isnull", True, True)),
        ({"meta__color__exists": False}, ("meta.color", "exists", True, True)),
        ({"due__lt": date(2026, 11, 20)}, ("due", "lt", "2026-11-20", False)),
        ({"at__gte": datetime(2026, 11, 20, 14, 40, tzinfo=UTC)},
         ("at", "gte", "2026-11-20T14:40:00.000000Z", False)),
        ({"price": Decimal("2.5")}, ("price", "eq", "2.50", False)),
        ({"ticket": 5}, ("ticket", "eq", "5", False)),
        ({"effort__gt": 1}, ("effort", "gt", 1.0, False)),
        ({"status": Level.TODO}, ("status", "eq", "todo", False)),
        ({"ref": UUID(int=0)}, ("ref", "eq", "00000000-0000-0000-0000-000000000000", False)),
        ({"status__in": ["todo", "done", "todo"]}, ("status", "in", ("todo", "done"), False)),
        ({"status__nin": ["todo"]}, ("status", "in", ("todo",), True)),
        ({"project__owner__name": "x"}, ("project.owner.name", "eq", "x", False)),
        ({"tags__contains": "a"}, ("tags", "contains", "a", False)),
    ],
)  # fmt: skip
def test_a_condition_becomes_one_test_with_a_plain_value(conditions: dict[str, Any], expected: Any) -> None:
    assert test(asked(**conditions)) == expected


def test_null_is_split_off_from_a_list() -> None:
    assert asked(count__in=[1, None]) == Or((*_terms(asked(count__in=[1])), asked(count=None)))
    assert asked(count__nin=[1, None]) == And((asked(count__nin=[1]), asked(count__ne=None)))
    assert asked(count__in=[None]) == asked(count=None)


def _terms(filter: Filter) -> tuple[Filter, ...]:
    return filter.terms if isinstance(filter, And | Or) else (filter,)


def test_an_empty_list_holds_nothing_and_its_negation_everything() -> None:
    assert asked(count__in=[]) == NOTHING
    assert asked(count__nin=[]) == EVERYTHING


def test_between_is_two_tests_and_its_negation_either() -> None:
    assert asked(count__between=(1, 5)) == And((asked(count__gte=1), asked(count__lte=5)))
    assert resolve(~where(count__between=(1, 5))) == Or((resolve(~where(count__gte=1)), resolve(~where(count__lte=5))))


def test_symbols_may_stand_in_lists_and_ranges() -> None:
    assert repr(me.id) in repr(resolve(where(owner__in=[me.id, 3]), PROJECT))
    assert resolve(where(owner__in=[me.id]), PROJECT) == resolve(where(owner=me.id), PROJECT)
    both = asked(due__between=(today, date(2026, 12, 1)))
    assert both == And((asked(due__gte=today), asked(due__lte=date(2026, 12, 1))))


def test_a_clock_goes_with_its_own_type_only() -> None:
    assert faults(where(due__lt=today, at__lt=now)) == []
    assert [code for code, _ in faults(where(due__lt=now))] == ["bad_value"]
    assert [code for code, _ in faults(where(title=today))] == ["bad_value"]


def test_conditions_of_one_where_speak_of_the_same_related_record() -> None:
    one = resolve(where(members__user=7, members__role="x"), PROJECT)
    assert isinstance(one, Exists)
    assert one.filter == resolve(where(user=7, role="x"), MEMBERSHIP)
    two = resolve(where(members__user=7) & where(members__role="x"), PROJECT)
    assert [type(term) for term in _terms(two)] == [Exists, Exists]


def test_the_negation_of_a_path_to_many_negates_the_exists() -> None:
    negated = resolve(~where(members__user=7), PROJECT)
    assert isinstance(negated, Exists)
    assert negated.negated
    assert negated.filter == resolve(where(user=7), MEMBERSHIP)
    # "ne" is about one related record, not about all of them
    assert resolve(where(members__user__ne=7), PROJECT) != negated


def test_whether_there_are_related_records_can_be_asked() -> None:
    tables = Tables(Project=[{"id": 1}, {"id": 2}], Membership=[{"id": 1, "project": 2}])
    assert tables.found(PROJECT, resolve(where(members__exists=True), PROJECT)) == [2]
    assert tables.found(PROJECT, resolve(where(members__isnull=True), PROJECT)) == [1]
    assert tables.found(PROJECT, resolve(~where(members__isnull=True), PROJECT)) == [2]
    assert tables.found(PROJECT, resolve(where(members__exists=False), PROJECT)) == [1]


@pytest.mark.parametrize(
    ("conditions", "code", "detail"),
    [
        ({"titel": 1}, "unknown_field", "Task has no field 'titel'; did you mean 'title'?"),
        ({"zzz": 1}, "unknown_field", "Task has no field 'zzz'."),
        ({"": 1}, "unknown_field", "Task has no field ''."),
        ({"project__nam": 1}, "unknown_field", "Project has no field 'nam'; did you mean 'name'?"),
        ({"project__memers__user": 1}, "unknown_field",
         "Project has no field 'memers'; did you mean 'members'?"),
        ({"meta__colour": 1}, "unknown_field",
         "'meta' has no declared value 'colour' inside; did you mean 'color'?"),
        ({"title__x": 1}, "unknown_field", "'title' has no declared value 'x' inside."),
        ({"count": "5"}, "bad_value", "'count': expected an integer, got '5'."),
        ({"count": True}, "bad_value", "'count': expected an integer, got true."),
        ({"count": 1.5}, "bad_value", "'count': expected an integer, got 1.5."),
        ({"count": 2**53}, "bad_value",
         "'count': expected an integer between -9007199254740991 and 9007199254740991, "
         "got 9007199254740992."),
        ({"count": 10**5000}, "bad_value", "'count': expected an integer between -9007199254740991 and "
         "9007199254740991, got an integer of more than 80 digits."),
        ({"count__lt": None}, "bad_value", "lt does not take null."),
        ({"count": [1]}, "bad_value", "'count': expected an integer, got a list."),
        ({"count": {"a": 1}}, "bad_value", "'count': expected an integer, got an object."),
        ({"done": 1}, "bad_value", "'done': expected true or false, got 1."),
        ({"status": "tod"}, "bad_value", "'status': expected one of 'todo', 'doing', 'done', got 'tod'."),
        ({"effort": float("nan")}, "bad_value", "'effort': expected a finite number, got nan."),
        ({"effort": 10**400}, "bad_value",
         "'effort': expected a finite number, got an integer of more than 80 digits."),
        ({"price": "1.234"}, "bad_value", "'price': expected at most 2 decimal places, got '1.234'."),
        ({"price": 10**5000}, "bad_value",
         "'price': expected at most 18 digits, got an integer of more than 80 digits."),
        ({"price": " 1"}, "bad_value", "'price': expected a decimal number, written as text, got ' 1'."),
        ({"due": datetime(2026, 11, 20, tzinfo=UTC)}, "bad_value", None),
        ({"title__contains": 1}, "bad_value", "'title': expected a text, got 1."),
        ({"count__contains": "1"}, "bad_operator", "contains needs a text, and 'count' is an integer."),
        ({"tags": "a"}, "bad_operator", "'tags' is a list: it takes contains, isnull and exists, not eq."),
        ({"amounts__contains": "1.00"}, "bad_operator",
         "'amounts' is a list: it takes isnull and exists, not contains."),
        ({"meta": 1}, "bad_operator",
         "'meta' holds JSON: compare a declared value inside it, or use isnull or exists."),
        ({"meta__at": "x"}, "bad_operator",
         "'meta.at' cannot be compared inside JSON: its form there is not fixed."),
        ({"count__in": 5}, "bad_value", "in takes a list, got 5."),
        ({"title__in": "abc"}, "bad_value", "in takes a list, got 'abc'."),
        ({"count__in": list(range(MAX_LIST + 1))}, "too_many_values",
         "in takes at most 1000 values, got 1001."),
        ({"count__between": [1]}, "bad_value", "between takes two values, the lowest and the highest."),
        ({"count__between": [1, None]}, "bad_value", "between takes two values, the lowest and the highest."),
        ({"due__isnull": "true"}, "bad_value", "isnull takes true or false, got 'true'."),
        ({"due__isnull": me.id}, "bad_value", "isnull takes true or false, got me.id."),
        ({"project__members": 5}, "bad_operator",
         "A path that ends in many records takes exists or isnull only."),
        ({"project__owner__projects__owner__projects__owner__name": 1}, "path_too_long",
         "A path has at most 6 names, and this one has 7."),
        ({"scores__" + "x" * (MAX_NAME + 1): 1}, "name_too_long",
         "A name has at most 200 characters, and this one has 201."),
        ({"scores__a\0b": 1}, "bad_text", "A name must not hold U+0000 or a lone surrogate."),
        ({"title": "\ud800"}, "bad_text", "'title': text must not hold a lone surrogate, got '\\ud800'."),
        ({"title": "a\0"}, "bad_text", "'title': text must not hold U+0000, got 'a\\x00'."),
        ({"password": "x"}, "unknown_field", "Task has no field 'password'."),
        ({"project__owner__password": "x"}, "unknown_field", "Account has no field 'password'."),
    ],
)  # fmt: skip
def test_a_fault_says_what_was_expected_what_came_and_the_nearest_name(
    conditions: dict[str, Any], code: str, detail: str | None
) -> None:
    [(found, text)] = faults(where(**conditions))
    assert found == code
    assert detail is None or text == detail


def test_an_unknown_operator_is_named_with_the_nearest() -> None:
    condition = Condition(("count",), "lessthan", 5, "count[lessthan]")  # type: ignore[arg-type]
    assert faults(condition) == [("unknown_operator", "There is no operator 'lessthan'.")]
    assert faults(Condition(("count",), "betwen", 5)) == [  # type: ignore[arg-type]
        ("unknown_operator", "There is no operator 'betwen'; did you mean 'between'?")
    ]
    assert faults(Condition(("count",), "__class__", 5))[0][0] == "unknown_operator"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text"),
    [("count", ""), ("count", " 1"), ("count", "1 "), ("count", "+1"), ("count", "1_0"), ("count", "٣"),
     ("count", "9" * 5000), ("count", "1.0"), ("effort", "nan"), ("effort", "inf"), ("effort", "1e999"),
     ("effort", "0x10"), ("effort", "1\n"), ("done", "True"), ("done", "1"), ("ref", "x"),
     ("due", "20261120x"),
     ("at", "now"), ("ticket", str(2**63)), ("ticket", "1" * 5000), ("price", "NaN"), ("price", "1e5"),
     ("price", "9" * 19)],
)  # fmt: skip
def test_a_text_from_a_url_that_is_not_exactly_of_the_type_is_refused(name: str, text: str) -> None:
    assert [code for code, _ in faults(Condition((name,), "eq", UrlText(text), name))] == ["bad_value"]


def test_texts_that_cannot_be_stored_are_invalid_and_everything_else_is_malformed() -> None:
    with pytest.raises(Invalid) as problem:
        resolve(where(title="\0"))
    assert [fault.code for fault in problem.value.faults] == ["bad_text"]
    with pytest.raises(Malformed):
        resolve(where(title="\0", count="x"))


def test_every_fault_is_gathered_up_to_a_limit() -> None:
    many = And(tuple(Condition((f"x{index}",), "eq", 1) for index in range(150)))
    assert len(faults(many)) == MOST_FAULTS
    assert [code for code, _ in faults(where(x=1, count="y", status=3))] == [
        "unknown_field", "bad_value", "bad_value",
    ]  # fmt: skip


def test_a_filter_has_a_largest_number_of_conditions() -> None:
    term = where(count=1)
    assert faults(Or((term,) * MAX_NODES)) == []
    assert faults(Or((term,) * (MAX_NODES + 50))) == [("too_many_conditions", "A filter holds at most 200 conditions.")]


def sort(*written: str) -> list[tuple[str, bool]]:
    resolver = Resolver(TASK, CATALOG)
    keys = resolver.sort(written)
    resolver.check()
    return [(".".join(key.path.names), key.descending) for key in keys]


def test_the_key_ends_a_sort_in_the_last_direction() -> None:
    assert sort() == [("id", False)]
    assert sort("title") == [("title", False), ("id", False)]
    assert sort("title", "-due") == [("title", False), ("due", True), ("id", True)]
    assert sort("-id", "title") == [("id", True)]


def test_a_sort_key_that_comes_again_changes_nothing() -> None:
    assert sort("due", "-due", "title") == [("due", False), ("title", False), ("id", False)]


def test_a_sort_may_go_along_references_and_into_json() -> None:
    assert sort("project.owner.name", "-meta.size") == [
        ("project.owner.name", False), ("meta.size", True), ("id", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "code", "detail"),
    [
        ("-", "unknown_field", "Task has no field ''."),
        ("tilte", "unknown_field", "Task has no field 'tilte'; did you mean 'title'?"),
        ("tags", "bad_sort", "'tags' has no order: it holds a path to a value inside it."),
        ("meta.at", "bad_sort", None),
        ("project.members", "bad_sort", "'project.members' leads to many records and cannot be sorted by."),
        ("--id", "unknown_field", "Task has no field '-id'; did you mean 'id'?"),
    ],
)
def test_a_bad_sort_is_named(written: str, code: str, detail: str | None) -> None:
    resolver = Resolver(TASK, CATALOG)
    resolver.sort([written])
    assert [(fault.code, fault.parameter) for fault in resolver.faults] == [(code, "sort")]
    assert detail is None or resolver.faults[0].detail == detail


def test_long_lists_of_names_are_cut_and_told() -> None:
    resolver = Resolver(TASK, CATALOG)
    resolver.sort(["title"] * 11)
    resolver.names(["nope"] * 100_000, "fields")
    assert resolver.faults[0].code == "too_many_names"
    assert len(resolver.faults) == MOST_FAULTS


def test_names_are_those_that_exist_and_are_not_secret() -> None:
    resolver = Resolver(ACCOUNT, CATALOG)
    assert resolver.names(["id", "password", "name"], "fields") == ("id", "name")
    assert [fault.detail for fault in resolver.faults] == ["Account has no field 'password'."]


def test_a_symbol_cannot_be_used_in_place_of_its_value() -> None:
    for misuse in (bool, str, len, hash, lambda s: s == 1, lambda s: s < 1, lambda s: f"{s}"):
        with pytest.raises(TypeError, match=r"request\.actor"):
            misuse(Symbol("me.id"))  # type: ignore[operator]


def test_filters_that_speak_of_symbols_can_be_compared_and_put_together() -> None:
    rule = resolve(where(members__user=me.id) & where(open=True), PROJECT)
    assert rule == resolve(where(members__user=me.id) & where(open=True), PROJECT)
    assert rule != resolve(where(members__user=me.name) & where(open=True), PROJECT)
    assert resolve(where(owner=me.id) | where(owner=me.id), PROJECT) == resolve(where(owner=me.id), PROJECT)


def test_a_resolved_filter_may_be_part_of_a_written_one() -> None:
    assert resolve(Not(resolve(where(done=True)))) == resolve(~where(done=True))


def test_times_with_a_zone_are_not_taken_for_times_without() -> None:
    from crudite.schema import FieldType

    with pytest.raises(ValueError, match="expected a time"):
        FieldType("time").check(time(1, 2, tzinfo=UTC))
