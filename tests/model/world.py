"""The application that the model test drives: three resources whose rules look at each other, and one that time shows.

It runs as one process or several, which are applications of their own: they have in common a database, a bus that loses
messages, what `auth` says, and what time it is.
"""

from collections.abc import Sequence
from datetime import datetime
from random import Random
from typing import Any, Literal

from crudite import (
    App,
    Count,
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
    allow,
    me,
    now,
)
from crudite.testing import Clock, Faulty
from tests.model.buses import NoisyBus
from tests.model.oracle import NOON
from tests.model.roles import Roles

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


class Notice(Record[str], rules={"read": _STAFF | allow.where(until__gt=now), "write": _STAFF}):
    """Seen by everybody until it is over."""

    until: datetime | None = None
    text: str = ""


class World:
    """The application on each of some stores, its clock, and who is who."""

    def __init__(self, stores: Sequence[Faulty], buses: Sequence[NoisyBus], limits: LiveLimits, random: Random) -> None:
        self.limits = limits
        self.stores = stores
        self.buses = buses
        self.clock = Clock(NOON)
        self.roles = Roles(lambda: self.clock.now, random)
        self.apps = [self._app(store, bus) for store, bus in zip(stores, buses, strict=True)]

    def _app(self, store: Faulty, bus: NoisyBus) -> App:
        app = App(
            Team, Member, Task, Notice, store=store, bus=bus, auth=self.roles.authenticate, retention=Retention(),
            clock=self.clock, limits=Limits(live=self.limits),
        )  # fmt: skip

        @app.read("todo-count")
        async def todo_count(request: Request) -> Count:
            return Task.where(status="todo").count()

        @app.read("overdue")
        async def overdue(request: Request) -> Query[Task]:
            return Task.where(due__lt=now)

        @app.read("top")
        async def top(request: Request) -> Query[Task]:
            return Task.where(status="todo").order("-points").limit(2)

        return app


def random_limits(random: Random) -> LiveLimits:
    """Limits of which some are so small that they are passed again and again."""
    small: dict[str, Sequence[int]] = {
        "outbox": (1_500, 4_000, 16_000), "events": (1, 3, 8), "missed": (2, 10), "keys": (1, 2, 4), "rows": (1, 4),
        "bulk": (1, 4), "tail": (1, 3_000), "snapshot_reads": (1,), "records": (12, 20),
    }  # fmt: skip
    drawn: dict[str, Any] = {name: random.choice(values) for name, values in small.items() if random.random() < 0.4}
    return LiveLimits(**drawn)


CLASSES: dict[str, type[Record[Any]]] = {"teams": Team, "members": Member, "tasks": Task, "notices": Notice}
