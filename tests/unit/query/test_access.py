"""What an asker may see decides what his queries mean: nothing that he may not see changes an answer."""

import pytest

from crudite.errors import Malformed
from crudite.query.parse import where
from crudite.query.resolve import Resolver
from crudite.query.tree import EVERYTHING, NOTHING, And
from crudite.types import PlainRecord
from tests.unit.query.shop import ACCOUNT, CATALOG, MEMBERSHIP, PROJECT, Rights, Tables, faults, resolve

OPEN = resolve(where(open=True), PROJECT)
MINE = resolve(where(id=7), ACCOUNT)


def account(id: int, **values: object) -> PlainRecord:
    return {"id": id, "name": f"n{id}", "email": f"e{id}", "salary": 100 * id, "archived": False, **values}


ACCOUNTS = [account(7), account(8)]


def test_a_field_that_may_never_be_read_is_as_unknown() -> None:
    hidden = Rights(fields={"Account.salary": NOTHING})
    assert faults(where(salary=1), ACCOUNT, hidden) == [("unknown_field", "Account has no field 'salary'.")]
    assert faults(where(wages=1), ACCOUNT, hidden) == [("unknown_field", "Account has no field 'wages'.")]


def test_the_nearest_name_is_never_a_hidden_one() -> None:
    hidden = Rights(fields={"Account.salary": NOTHING})
    assert faults(where(salari=1), ACCOUNT, hidden) == [("unknown_field", "Account has no field 'salari'.")]
    assert faults(where(salari=1), ACCOUNT) == [
        ("unknown_field", "Account has no field 'salari'; did you mean 'salary'?")
    ]
    assert faults(where(passwort=1), ACCOUNT) == [("unknown_field", "Account has no field 'passwort'.")]


def test_a_link_whose_field_may_not_be_read_is_as_unknown() -> None:
    hidden = Rights(fields={"Membership.user": NOTHING})
    expected = [("unknown_field", "Account has no field 'memberships'.")]
    assert faults(where(memberships__role="x"), ACCOUNT, hidden) == expected
    assert faults(where(membership__role="x"), ACCOUNT, hidden)[0][1] == "Account has no field 'membership'."


def test_a_condition_on_a_conditional_field_holds_only_where_it_may_be_read() -> None:
    rights = Rights(fields={"Account.salary": MINE})
    rule = resolve(where(id=7), ACCOUNT)
    for written in (where(salary=700), where(salary__gt=5), where(salary__isnull=True)):
        assert resolve(written, ACCOUNT, rights) == And((rule, resolve(written, ACCOUNT)))


@pytest.mark.parametrize("salary", [None, 0, 700, 800])
def test_an_unreadable_value_changes_no_answer_also_when_negated(salary: int | None) -> None:
    rights = Rights(fields={"Account.salary": MINE})
    tables = Tables(Account=[account(8, salary=salary)])
    for written in (where(salary=800), where(salary__ne=800), where(salary=None), where(salary__lt=900)):
        assert tables.found(ACCOUNT, resolve(written, ACCOUNT, rights)) == []
        assert tables.found(ACCOUNT, resolve(~written, ACCOUNT, rights)) == []


def test_a_path_through_an_unreadable_record_holds_nowhere() -> None:
    rights = Rights(records={"Account": MINE})
    tables = Tables(
        Account=ACCOUNTS,
        Project=[
            {"id": 1, "owner": 7},
            {"id": 2, "owner": 8},
            {"id": 3, "owner": 99},
            {"id": 4, "owner": None},
        ],
    )

    def found(**conditions: object) -> list[int]:
        return tables.found(PROJECT, resolve(where(**conditions), PROJECT, rights))

    assert found(owner__name="n7") == [1]
    assert found(owner__name="n8") == []
    assert found(owner__name__ne="x") == [1]
    assert found(owner__name__isnull=True) == []
    assert found(owner=8) == [2], "the reference itself lies in the project"


def test_an_unreadable_record_cannot_be_told_from_one_that_is_not_there() -> None:
    # the rule is a negation, which would hold where there is nothing
    rights = Rights(records={"Account": resolve(where(archived__ne=True), ACCOUNT)})
    dangling = Tables(Account=[], Project=[{"id": 1, "owner": 8}])
    unreadable = Tables(Account=[account(8, archived=True)], Project=[{"id": 1, "owner": 8}])
    for written in (where(owner__name="n8"), where(owner__name__ne="x"), where(owner__name__isnull=True)):
        for filter in (resolve(written, PROJECT, rights), resolve(~written, PROJECT, rights)):
            assert dangling.found(PROJECT, filter) == unreadable.found(PROJECT, filter) == []


def test_a_path_to_many_sees_only_the_readable_ones() -> None:
    rights = Rights(records={"Membership": resolve(where(user=7), MEMBERSHIP)})
    tables = Tables(
        Project=[{"id": 1}, {"id": 2}],
        Membership=[
            {"id": 1, "project": 1, "user": 7, "role": "a"},
            {"id": 2, "project": 2, "user": 8, "role": "a"},
        ],
    )
    assert tables.found(PROJECT, resolve(where(members__role="a"), PROJECT, rights)) == [1]
    assert tables.found(PROJECT, resolve(where(members__exists=True), PROJECT, rights)) == [1]
    assert tables.found(PROJECT, resolve(~where(members__role="a"), PROJECT, rights)) == [2]


def test_a_link_over_a_conditional_field_sees_only_records_where_that_may_be_read() -> None:
    rights = Rights(fields={"Membership.project": resolve(where(user=7), MEMBERSHIP)})
    tables = Tables(
        Project=[{"id": 1}, {"id": 2}],
        Membership=[
            {"id": 1, "project": 1, "user": 7, "role": "a"},
            {"id": 2, "project": 2, "user": 8, "role": "a"},
        ],
    )
    assert tables.found(PROJECT, resolve(where(members__role="a"), PROJECT, rights)) == [1]


def test_what_may_not_be_read_everywhere_does_not_sort() -> None:
    def codes(rights: Rights, *written: str) -> list[str]:
        resolver = Resolver(PROJECT, CATALOG, rights)
        resolver.sort(written)
        return [fault.code for fault in resolver.faults]

    assert codes(Rights(fields={"Project.name": OPEN}), "name") == ["bad_sort"]
    assert codes(Rights(fields={"Project.name": EVERYTHING}), "name") == []
    assert codes(Rights(records={"Account": MINE}), "owner.name") == ["bad_sort"]
    assert codes(Rights(fields={"Account.name": MINE}), "owner.name") == ["bad_sort"]
    assert codes(Rights(fields={"Project.name": NOTHING}), "name") == ["unknown_field"]


def test_a_hidden_field_is_no_name_to_show() -> None:
    resolver = Resolver(ACCOUNT, CATALOG, Rights(fields={"Account.salary": NOTHING}))
    assert resolver.names(["name", "salary"], "fields") == ("name",)
    with pytest.raises(Malformed, match="no field 'salary'"):
        resolver.check()
