"""What a query includes: which records, what is shown of them, and what a mask makes of a record in memory."""

from typing import Any

from crudite.query.match import compile_mask
from crudite.query.parse import where
from crudite.query.plan import Include, Mask, Selection
from crudite.query.resolve import Access, FullAccess, Resolver
from crudite.query.tree import EVERYTHING, NOTHING
from crudite.schema import ResourceSchema
from tests.unit.query.shop import ACCOUNT, CATALOG, MEMBERSHIP, PROJECT, TASK, Rights, Tables, resolve

ANN = {"id": 7, "name": "Ann", "email": "a", "salary": 1, "archived": False, "version": 1}
OPEN = {"id": 1, "name": "House", "open": True, "owner": 7, "version": 1}
SHUT = {"id": 2, "name": "Vault", "open": False, "owner": 7, "version": 1}
LOST = {"id": 3, "name": "Boat", "open": True, "owner": 99, "version": 1}
NOBODYS = {"id": 4, "name": "Hut", "open": True, "owner": None, "version": 1}
TABLES = Tables(
    Account=[ANN],
    Project=[LOST, SHUT, OPEN, NOBODYS],
    Membership=[
        {"id": 12, "project": 1, "user": 7, "role": "b", "version": 1},
        {"id": 2, "project": 1, "user": 7, "role": "a", "version": 1},
    ],
)


def included(paths: list[str], schema: ResourceSchema = PROJECT, access: Access | None = None) -> tuple[Include, ...]:
    resolver = Resolver(schema, CATALOG, access or FullAccess())
    found = resolver.includes(paths)
    resolver.check()
    return found


def shown(record: dict[str, Any], includes: tuple[Include, ...]) -> Any:
    return compile_mask(Mask(("id",), (), includes), TABLES)(record)


def faults(paths: list[str], schema: ResourceSchema = PROJECT, access: Access | None = None) -> list[tuple[str, str]]:
    resolver = Resolver(schema, CATALOG, access or FullAccess())
    resolver.includes(paths)
    return [(fault.code, fault.detail) for fault in resolver.faults]


def test_a_reference_shows_its_record_or_null() -> None:
    owner = included(["owner"])
    assert shown(OPEN, owner) == {"id": 1, "_included": {"owner": ANN}}
    assert shown(LOST, owner) == {"id": 3, "_included": {"owner": None}}
    assert shown(NOBODYS, owner) == {"id": 4, "_included": {"owner": None}}


def test_a_link_shows_a_list_in_the_order_of_keys() -> None:
    members = included(["members"])
    assert [one["id"] for one in shown(OPEN, members)["_included"]["members"]] == [2, 12]
    assert shown(SHUT, members) == {"id": 2, "_included": {"members": []}}


def test_a_guard_on_the_reference_holds_for_the_record_that_it_is_in() -> None:
    owner = included(["owner"], access=Rights(fields={"Project.owner": resolve(where(open=True), PROJECT)}))
    assert shown(OPEN, owner)["_included"] == {"owner": ANN}
    assert shown(SHUT, owner)["_included"] == {"owner": None}


def test_only_records_and_fields_that_may_be_read_are_shown() -> None:
    rights = Rights(
        records={"Membership": resolve(where(role="a"), MEMBERSHIP)},
        fields={"Membership.version": NOTHING, "Membership.role": resolve(where(id=2), MEMBERSHIP)},
    )
    assert shown(OPEN, included(["members"], access=rights))["_included"] == {
        "members": [{"id": 2, "project": 1, "user": 7, "role": "a"}]
    }
    hidden = Rights(fields={"Membership.project": resolve(where(id=12), MEMBERSHIP)})
    [member] = shown(OPEN, included(["members"], access=hidden))["_included"]["members"]
    assert member["id"] == 12, "a link is followed only where the field that points back may be read"


def test_what_may_never_be_read_is_as_unknown() -> None:
    unknown = [("unknown_field", "Project has no field 'owner'.")]
    assert faults(["owner"], access=Rights(fields={"Project.owner": NOTHING})) == unknown
    unknown = [("unknown_field", "Project has no field 'members'.")]
    assert faults(["members"], access=Rights(fields={"Membership.project": NOTHING})) == unknown


def test_paths_that_begin_alike_are_one_include_and_each_way_is_told() -> None:
    found = included(["project.members.user", "project", "project.owner"], TASK)
    ways = [[one.name for one in way] for way in Mask((), (), found).ways()]
    assert ways == [
        ["project"],
        ["project", "members"],
        ["project", "members", "user"],
        ["project", "owner"],
    ]
    assert [one.selection.schema for one in list(Mask((), (), found).ways())[2]] == [PROJECT, MEMBERSHIP, ACCOUNT]


def test_every_filter_of_a_selection_is_told_and_can_be_replaced() -> None:
    rights = Rights(
        records={"Account": resolve(where(archived=False), ACCOUNT)},
        fields={"Project.owner": resolve(where(open=True), PROJECT), "Account.salary": resolve(where(id=7), ACCOUNT)},
    )
    selection = Selection(PROJECT, EVERYTHING, Mask(("id",), (), included(["owner"], access=rights)))
    assert list(selection.filters()) == [
        (PROJECT, EVERYTHING),
        (PROJECT, resolve(where(open=True), PROJECT)),
        (ACCOUNT, resolve(where(archived=False), ACCOUNT)),
        (ACCOUNT, resolve(where(id=7), ACCOUNT)),
    ]
    nothing = selection.with_filters(lambda _: NOTHING)
    assert [filter for _, filter in nothing.filters()] == [NOTHING] * 4
    assert nothing.mask.includes[0].along == selection.mask.includes[0].along
