"""Several changes of one record have one net effect."""

from crudite.changes import Change, ChangeKind
from crudite.live.net import net_effect
from tests.unit.live.world import TASK, TEAM


def change(key: int, kind: ChangeKind, before: str | None, after: str | None, mark: str = "1") -> Change:
    return Change(TASK, key, kind, before, after, mark)


def told(*changes: Change) -> list[tuple[object, str, str | None, str | None]]:
    return [(net.key, net.kind, net.before_json, net.after_json) for net in net_effect(changes)]


def test_a_record_made_and_deleted_is_no_change() -> None:
    assert told(change(1, "created", None, "a"), change(1, "deleted", "a", None)) == []


def test_two_updates_are_one_from_the_first_image_to_the_last() -> None:
    both = change(1, "updated", "a", "b"), change(1, "updated", "b", "c")
    assert told(*both) == [(1, "updated", "a", "c")]


def test_an_update_and_its_reversal_are_no_change() -> None:
    assert told(change(1, "updated", "a", "b"), change(1, "updated", "b", "a")) == []


def test_a_record_deleted_and_made_again_is_updated() -> None:
    assert told(change(1, "deleted", "a", None), change(1, "created", None, "b")) == [(1, "updated", "a", "b")]


def test_a_record_made_and_updated_is_made_as_it_is_at_last() -> None:
    both = change(1, "created", None, "a"), change(1, "updated", "a", "b")
    assert told(*both) == [(1, "created", None, "b")]


def test_the_same_key_in_two_resources_is_two_records() -> None:
    other = Change(TEAM, 1, "deleted", "t", None, "2")
    assert told(change(1, "created", None, "a"), other) == [
        (1, "created", None, "a"),
        (1, "deleted", "t", None),
    ]


def test_the_net_change_has_the_mark_of_the_last() -> None:
    both = change(1, "updated", "a", "b", "4"), change(1, "updated", "b", "c", "9")
    assert [net.mark for net in net_effect(both)] == ["9"]
