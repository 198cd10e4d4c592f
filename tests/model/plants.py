"""Faults planted into the live engine: each is the kind of mistake that the model test is there to find."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from msgspec.structs import replace

from crudite.auth import Living, Stay
from crudite.interfaces.websocket.session import Session
from crudite.live import jobs, joining, keysets, publisher, rerun, rerun_lane, window
from crudite.live.differences import Differences
from crudite.live.exact import ExactGroup
from crudite.live.feeds import Feed
from crudite.live.groups import Member, Sent

Patch: TypeAlias = Callable[[Any, str, Any], None]
"""`pytest.MonkeyPatch.setattr`."""


def removals_are_not_told(patch: Patch) -> None:
    frame = ExactGroup.frame

    def forgetful(self: ExactGroup, changes: Iterable[Any]) -> Any:
        made = frame(self, changes)
        return replace(made, removed=()) if made is not None and (made.added or made.changed) else None

    patch(ExactGroup, "frame", forgetful)


def changes_while_a_snapshot_is_read_are_lost(patch: Patch) -> None:
    patch(Feed, "_add", lambda self, changes: None)


def memberships_do_not_matter(patch: Patch) -> None:
    patch(keysets.KeySet, "flips", lambda self, delta, *, back: frozenset())


def images_are_matched_against_what_is_there_now(patch: Patch) -> None:
    patch(keysets.KeySet, "had", keysets.KeySet.has)


def a_window_shows_one_record_too_many(patch: Patch) -> None:
    make = window.WindowGroup.__init__

    def larger(self: Any, *given: Any) -> None:
        make(self, *given)
        self._limit += 1

    patch(window.WindowGroup, "__init__", larger)


def a_window_is_never_filled_up(patch: Patch) -> None:
    ask = window.WindowGroup._ask

    def lazy(self: Any, draft: Any) -> None:
        ask(self, draft)
        draft.refill = None

    patch(window.WindowGroup, "_ask", lazy)


def a_window_lets_records_in_from_behind_its_bound(patch: Patch) -> None:
    draft = window.WindowGroup.draft

    def boundless(self: Any, changes: Any) -> Any:
        self._bound = None
        return draft(self, changes)

    patch(window.WindowGroup, "draft", boundless)


def a_resume_begins_one_change_too_late(patch: Patch) -> None:
    missed = joining.Joining._missed

    def late(self: Any, group: Any, cursor: str, since: Sequence[Any], *more: Any) -> Any:
        return missed(self, group, cursor, since[1:], *more)

    patch(joining.Joining, "_missed", late)


def a_field_that_may_no_longer_be_seen_stays(patch: Patch) -> None:
    of_record = Differences.of_record

    def leaky(*given: Any) -> Any:
        made = of_record(*given)
        return made if made is None else replace(made, absent=())

    patch(Differences, "of_record", leaky)


def a_transaction_comes_in_pieces(patch: Patch) -> None:
    deliver = publisher.deliver

    def piecemeal(frames: Sequence[Sent], *more: Any, **named: Any) -> Any:
        return [failed for frame in frames for failed in deliver([frame], *more, **named)]

    patch(publisher, "deliver", piecemeal)


def the_last_of_several_frames_is_dropped(patch: Patch) -> None:
    deliver = publisher.deliver

    def lossy(frames: Sequence[Sent], *more: Any, **named: Any) -> Any:
        return deliver(frames[: max(len(frames) - 1, 1)], *more, **named)

    patch(publisher, "deliver", lossy)


def a_query_that_must_be_run_again_is_not(patch: Patch) -> None:
    patch(rerun.RerunGroup, "concerns", lambda self, change: False)


def a_snapshot_is_not_brought_forward(patch: Patch) -> None:
    patch(joining, "_advanced", lambda group, page, changes: page.records)


async def _nothing(*_: Any, **__: Any) -> None:
    """It does not happen."""


def who_shows_another_token_keeps_the_old_rights(patch: Patch) -> None:
    patch(Session, "_move", _nothing)


def other_roles_of_an_account_change_nothing(patch: Patch) -> None:
    patch(Living, "revoke", _nothing)


def what_has_expired_goes_on(patch: Patch) -> None:
    patch(Stay, "end", lambda self, problem: None)


def a_set_that_is_waited_for_comes_after_a_move_too(patch: Patch) -> None:
    patch(Member, "awaits", lambda self, group: not self.left)


def what_an_outbox_left_out_is_forgotten(patch: Patch) -> None:
    patch(jobs.Resumption, "tell", lambda self, frame: self._finish(jobs.Missed(self._cursor, None)))


def what_is_too_many_is_not_told_at_all(patch: Patch) -> None:
    patch(publisher.Publisher, "_void", lambda self, whose, reason: [])


def what_is_included_is_not_watched(patch: Patch) -> None:
    patch(rerun, "others", lambda query: frozenset())


def what_a_record_of_the_same_resource_decides_is_forgotten(patch: Patch) -> None:
    flips = keysets.KeySet.flips

    def forgetful(self: keysets.KeySet, delta: Any, *, back: bool) -> Any:
        return frozenset() if self.schema.name == "Task" else flips(self, delta, back=back)

    patch(keysets.KeySet, "flips", forgetful)


def it_never_gets_later(patch: Patch) -> None:
    patch(rerun_lane.RerunLane, "_set_alarm", lambda self, run, boundaries: None)


PLANTS = (
    removals_are_not_told,
    changes_while_a_snapshot_is_read_are_lost,
    memberships_do_not_matter,
    images_are_matched_against_what_is_there_now,
    a_window_shows_one_record_too_many,
    a_window_is_never_filled_up,
    a_window_lets_records_in_from_behind_its_bound,
    a_resume_begins_one_change_too_late,
    a_field_that_may_no_longer_be_seen_stays,
    a_transaction_comes_in_pieces,
    the_last_of_several_frames_is_dropped,
    a_query_that_must_be_run_again_is_not,
    a_snapshot_is_not_brought_forward,
    who_shows_another_token_keeps_the_old_rights,
    other_roles_of_an_account_change_nothing,
    what_has_expired_goes_on,
    a_set_that_is_waited_for_comes_after_a_move_too,
    what_an_outbox_left_out_is_forgotten,
    what_is_too_many_is_not_told_at_all,
    what_is_included_is_not_watched,
    what_a_record_of_the_same_resource_decides_is_forgotten,
    it_never_gets_later,
)
TOLD_BY = {
    changes_while_a_snapshot_is_read_are_lost: 16,
    a_window_is_never_filled_up: 54,
    a_window_lets_records_in_from_behind_its_bound: 54,
    a_resume_begins_one_change_too_late: 15,
    a_snapshot_is_not_brought_forward: 78,
    a_set_that_is_waited_for_comes_after_a_move_too: 38,
    what_is_included_is_not_watched: 11,
}
"""The number of a story that finds a fault, where the first few do not: it is told first."""
