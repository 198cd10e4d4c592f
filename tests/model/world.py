"""The application that the model test drives: three resources whose rules look at each other."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal

from crudite import (
    Actor,
    App,
    Count,
    Credentials,
    Field,
    Limits,
    LiveLimits,
    Many,
    Parent,
    Query,
    Record,
    Ref,
    Request,
    Retention,
    Unauthorized,
    allow,
    me,
    now,
)
from crudite.stores.base import Store
from crudite.testing import Clock
from tests.model.clients import FLEETING, REFUSED
from tests.model.oracle import NOON, Who

_STAFF = allow.role("staff")


class Team(
    Record[str],
    rules={"read": _STAFF | allow.where(open=True) | allow.where(members__user=me.id), "write": _STAFF},
):
    """Open, or for its members."""

    name: str = ""
    open: bool = False
    members: Many["Member"]


class Member(
    Record[str],
    rules={"read": _STAFF | allow.where(user=me.id) | allow.where(team__members__user=me.id), "write": _STAFF},
):
    """Seen by all members of the same team."""

    team: Parent[Team] = Field(on_delete="cascade")
    user: str


class Task(
    Record[str],
    rules={
        "read": _STAFF
        | allow.where(owner=me.id)
        | allow.where(parent__owner=me.id)
        | allow.where(team__members__user=me.id),
        "write": _STAFF,
    },
):
    """Seen by its owner, its team, and the owner of what it is a part of; the note is for the owner."""

    team: Ref[Team] | None = Field(default=None, on_delete="clear")
    parent: Ref["Task"] | None = Field(default=None, on_delete="clear")
    owner: str = "ann"
    status: Literal["todo", "done"] = "todo"
    points: int | None = None
    title: str = ""
    due: datetime | None = None
    note: str = Field(default="", read=_STAFF | allow.where(owner=me.id))


_HOUR = timedelta(hours=1)


class World:
    """The application on a store, its clock, and who is of the `staff`, which may change."""

    def __init__(self, store: Store, limits: LiveLimits) -> None:
        self.limits = limits
        self.staff = {"staff"}
        self.clock = Clock(NOON)
        self.app = App(
            Team, Member, Task, store=store, auth=self._authenticate, retention=Retention(), clock=self.clock,
            limits=Limits(live=limits),
        )  # fmt: skip

        @self.app.read("todo-count")
        async def todo_count(request: Request) -> Count:
            return Task.where(status="todo").count()

        @self.app.read("overdue")
        async def overdue(request: Request) -> Query[Task]:
            return Task.where(due__lt=now)

        @self.app.read("top")
        async def top(request: Request) -> Query[Task]:
            return Task.where(status="todo").order("-points").limit(2)

    def identify(self, token: str | None) -> Who:
        """Who shows a token: it is his name, with a mark where it holds until the next full hour."""
        name = token.removesuffix(FLEETING) if token is not None else None
        return Who(name, name in self.staff)

    def _authenticate(self, credentials: Credentials) -> Actor | None:
        token = credentials.token
        if token == REFUSED:
            raise Unauthorized("The token is not valid.")
        who, roles = self.identify(token), frozenset({"staff"})
        if token is None or who.name is None:
            return None
        expires = NOON + ((self.clock.now - NOON) // _HOUR + 1) * _HOUR if token.endswith(FLEETING) else None
        return Actor(id=who.name, roles=roles if who.is_staff else frozenset(), expires=expires)


def random_limits(random: Random) -> LiveLimits:
    """Limits of which some are so small that they are passed again and again."""
    small: dict[str, Sequence[int]] = {
        "outbox": (1_500, 4_000, 16_000), "events": (1, 3, 8), "missed": (2, 10), "keys": (1, 2, 4), "rows": (1, 4),
        "bulk": (1, 4), "tail": (1, 3_000), "snapshot_reads": (1,), "records": (12, 20),
    }  # fmt: skip
    drawn: dict[str, Any] = {name: random.choice(values) for name, values in small.items() if random.random() < 0.4}
    return LiveLimits(**drawn)


CLASSES: dict[str, type[Record[Any]]] = {"teams": Team, "members": Member, "tasks": Task}
