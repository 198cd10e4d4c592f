"""Faults that need a second process, or a database with many writers: planted into what the processes of an application
share, and into how each follows the log."""

from collections.abc import Sequence
from typing import Any

from crudite.app.siblings import Siblings
from crudite.auth import Living, Stay, living
from crudite.interfaces.websocket.farewell import Farewell
from crudite.live import engine, joining, rerun_lane
from crudite.live.connection import Connection
from crudite.stores.base import Stretch
from crudite.stores.postgresql import follow, log, store, trimming
from tests.model.plants import Patch


def a_signal_is_skipped(patch: Patch) -> None:
    patch(Siblings, "hear", lambda self, signals: None)


def a_revocation_stays_where_it_was_asked_for(patch: Patch) -> None:
    async def revoke(self: Any, **whose: Any) -> None:
        await self._living.revoke(**whose)

    patch(Siblings, "revoke", revoke)


def a_wake_up_counts_as_a_change(patch: Patch) -> None:
    """Who hears of a commit takes it for granted that he has seen it."""
    look, read_news = store.PostgresqlStore.look, follow.read_news
    heard = 0

    def listen(self: Any) -> None:
        nonlocal heard
        heard += 1
        look(self)

    async def read_less(*given: Any) -> Any:
        nonlocal heard
        position, found = await read_news(*given)
        was_told, heard = heard > 3, 0
        return position, Stretch((), signals=found.signals) if was_told and not found.signals else found

    patch(store.PostgresqlStore, "look", listen)
    patch(follow, "read_news", read_less)


def a_cursor_of_another_process_is_as_of_now(patch: Patch) -> None:
    async def nothing_missed(self: Any, since: Any, until: Any) -> Any:
        return ()

    patch(joining.Joining, "_pass", nothing_missed)


def a_position_forgets_what_was_running(patch: Patch) -> None:
    patch(log, "_running", lambda snapshot: [])


def a_token_forgets_what_was_running(patch: Patch) -> None:
    parse = log.parse_token

    def forgetful(token: bytes) -> Any:
        found = parse(token)
        if not isinstance(found, log.PostgresqlPosition):
            return found
        return log.PostgresqlPosition(found.log, found.tx, found.seq, found.salt)

    patch(log, "parse_token", forgetful)


def a_rotation_loses_the_mark_of_the_cut(patch: Patch) -> None:
    patch(trimming, "_MARK", "SELECT $1::text, $2::bigint, $3::bigint")


def the_log_leads_on_from_everywhere(patch: Patch) -> None:
    async def lead_on(connection: Any, position: Any, head: Any) -> None:
        """There is no reset."""

    patch(log, "check", lead_on)
    patch(log, "_leads_on", lambda position, trimmed, salt: True)


def a_session_is_nobodys(patch: Patch) -> None:
    concerns = living._concerns
    patch(living, "_concerns", lambda actor, account, session: session is None and concerns(actor, account, session))


def who_is_asking_is_not_concerned(patch: Patch) -> None:
    concerns = living._concerns
    patch(living, "_concerns", lambda actor, account, session: actor and concerns(actor, account, session))


def who_shows_another_token_meanwhile_is_not_asked_again(patch: Patch) -> None:
    async def ask_once(self: Living, stay: Stay) -> None:
        asked, question = stay.guest.credentials, stay.asks()
        try:
            await stay.guest.reconsider(await self._identify(asked), asked, question)
        except Exception as error:
            if stay.guest.credentials is asked and stay.actor is not None:
                stay.end(living._refusal(error))

    patch(Living, "_ask", ask_once)


def what_waits_for_who_is_sent_away_goes_out(patch: Patch) -> None:
    def wind_up(self: Connection) -> None:
        for name in list(self.members):
            self.unsubscribe(name)
        self.outbox.end("closed")

    async def send_all(self: Farewell, parts: Sequence[bytes], send: Any) -> None:
        for part in parts:
            await self._send_one(part, send)

    patch(Connection, "wind_up", wind_up)
    patch(Farewell, "_send_some", send_all)


def who_has_signed_out_elsewhere_stays(patch: Patch) -> None:
    hear = Siblings.hear

    def deaf(self: Siblings, signals: Any) -> None:
        hear(self, signals and [signal for signal in signals if '"session"' not in signal.payload])

    patch(Siblings, "hear", deaf)


def a_mark_of_another_process_is_not_waited_for(patch: Patch) -> None:
    async def hurry(self: engine.Engine, mark: Any) -> bool:
        return True

    patch(engine.Engine, "reached", hurry)


def it_gets_later_at_one_process_only(patch: Patch) -> None:
    set_alarm = rerun_lane.RerunLane._set_alarm
    known: list[Any] = []

    def set_some(self: Any, run: Any, boundaries: Any) -> None:
        if self not in known:
            known.append(self)
        if known.index(self) % 2:
            set_alarm(self, run, boundaries)

    patch(rerun_lane.RerunLane, "_set_alarm", set_some)


def nobody_looks_unless_he_is_woken(patch: Patch) -> None:
    async def until_woken(self: store._Wakeup, seconds: float) -> None:
        await self.wait()

    patch(store._Wakeup, "wait_for", until_woken)


def a_batch_is_told_twice(patch: Patch) -> None:
    lead_on = follow.Follower.next
    before: dict[Any, Any] = {}

    async def again(self: Any, since: Any) -> Any:
        begins, before[self] = before.get(self, since), since
        return await lead_on(self, begins if begins.log == since.log else since)

    patch(follow.Follower, "next", again)


def a_batch_is_told_backwards(patch: Patch) -> None:
    read_news = follow.read_news

    async def backwards(*given: Any) -> Any:
        position, found = await read_news(*given)
        return position, Stretch(found.changes[::-1], *found[1:]) if isinstance(found, Stretch) else found

    patch(follow, "read_news", backwards)


SEVERAL = (
    a_signal_is_skipped,
    a_revocation_stays_where_it_was_asked_for,
    a_wake_up_counts_as_a_change,
    a_cursor_of_another_process_is_as_of_now,
    a_position_forgets_what_was_running,
    a_token_forgets_what_was_running,
    a_rotation_loses_the_mark_of_the_cut,
    the_log_leads_on_from_everywhere,
    a_session_is_nobodys,
    who_is_asking_is_not_concerned,
    who_shows_another_token_meanwhile_is_not_asked_again,
    what_waits_for_who_is_sent_away_goes_out,
    who_has_signed_out_elsewhere_stays,
    a_mark_of_another_process_is_not_waited_for,
    it_gets_later_at_one_process_only,
    nobody_looks_unless_he_is_woken,
    a_batch_is_told_twice,
    a_batch_is_told_backwards,
)
"""These are found by two processes on PostgreSQL."""
TOLD_BY = {
    a_wake_up_counts_as_a_change: 2,
    a_cursor_of_another_process_is_as_of_now: 9,
    a_position_forgets_what_was_running: 4,
    a_token_forgets_what_was_running: 88,
    a_rotation_loses_the_mark_of_the_cut: 52,
    the_log_leads_on_from_everywhere: 4,
    a_mark_of_another_process_is_not_waited_for: 8,
    it_gets_later_at_one_process_only: 2,
    nobody_looks_unless_he_is_woken: 2,
    a_batch_is_told_twice: 2,
}
"""The number of a story that finds a fault each time, where the first one does not: it is told first."""
