"""Nothing leaks while rights change: by other credentials in place, or because the application asks again."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crudite import Actor, Credentials
from tests.faults.test_leaks import MADE, RECORDS, Listener, World, check, check_records, everything, world
from tests.flows.test_rules_agree import ACTORS
from tests.flows.worlds import by_name

PASS = "pass"
others = st.lists(st.sampled_from(ACTORS), min_size=8, max_size=8)


class Badges:
    """Tells who shows the pass: whoever it was given to last. All others show their names."""

    def __init__(self) -> None:
        self.owner = "ann"

    def __call__(self, credentials: Credentials) -> Actor | None:
        is_pass = credentials.token == PASS
        return by_name(replace(credentials, token=self.owner) if is_pass else credentials)


def check_move(listener: Listener, before: Any, after: Any) -> None:
    """From what one actor sees to what another does, events may show nothing but the second. After is None where he is
    refused."""
    events = listener.news()
    held = before if listener.is_of_records else []
    for kind, data in events:
        if kind == "reset":
            held = []
        elif kind == "problem":
            assert after is None
        elif kind == "value":
            assert data["value"] == after
        elif kind != "ready" and listener.is_of_records:
            check_records([(kind, data)], held, after or [])
    if after is not None:
        assert listener.held == after
    else:
        assert events[-1][0] == "problem"
        assert listener.view.records == []


def check_addresses(here: World, told: int) -> None:
    """What has come over the last socket since then was meant for its subscriptions, as they were by then."""
    for message in here.sockets[-1].notifications[told:]:
        params = message["params"] if message["method"] in ("frame", "rights") else {}
        if message["method"] == "rights":
            here.groups[params["sub"]] = params["group"]
        elif message["method"] == "frame":
            assert params.get("sub") in here.groups or params["group"] in here.groups.values()


async def shown_to(here: World, token: str | None) -> list[Any]:
    """What a request shows to somebody of what each listener asks; None where it is refused."""
    answers: dict[str, Any] = {}
    for url in {listener.url for listener in here.listeners}:
        answer = await here.nobody.acting(token).get(url)
        assert answer.status in (200, 400, 401, 403, 422), answer
        answers[url] = answer.json if answer.status == 200 else None
    return [answers[listener.url] for listener in here.listeners]


async def live_through(here: World, story: list[Any], moves: list[Any], is_by_auth: bool, badges: Badges) -> None:
    """Everything is written, and after each transaction the rights are others."""
    socket, token = here.sockets[-1], PASS
    before = await shown_to(here, token)
    for transaction, move in zip(story, moves, strict=False):
        told = len(socket.notifications)
        await here.commit(transaction)
        middle = await shown_to(here, token)
        for listener, *states in zip(here.listeners, before, middle, strict=True):
            check(listener, *states)
        check_addresses(here, told)

        told = len(socket.notifications)
        if is_by_auth:
            token = move
            await socket.call("auth", {"token": token})
        else:
            badges.owner = "ann" if badges.owner == "ann:clerk" else "ann:clerk"
            await here.nobody.app.revoke(account="ann")
        await here.settled()
        after = await shown_to(here, token)
        for listener, *states in zip(here.listeners, middle, after, strict=True):
            check_move(listener, *states)
        check_addresses(here, told)
        here.listeners = [one for one, state in zip(here.listeners, after, strict=True) if state is not None]
        before = [state for state in after if state is not None]


@pytest.mark.parametrize("queries", [RECORDS, MADE], ids=["records", "included and made"])
@pytest.mark.parametrize("is_by_auth", [True, False], ids=["auth", "revoke"])
@settings(max_examples=15)
@given(moves=others, **everything)
async def test_whoever_becomes_another_is_told_nothing_but_what_that_one_may_see(
    is_by_auth: bool, queries: Mapping[str, Any], moves: list[str | None], reads: Any, field_rule: Any,
    folder_rule: Any, story: list[Any],
) -> None:  # fmt: skip
    badges = Badges()
    async with AsyncExitStack() as stack:
        here = await world(stack, reads, field_rule, folder_rule, badges)
        await here.listen(stack, [PASS], queries)
        if not here.listeners:
            return
        if is_by_auth:  # which only a socket can show
            here.listeners = here.listeners[::2]
        await live_through(here, story, moves, is_by_auth, badges)
