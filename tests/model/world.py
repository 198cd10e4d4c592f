"""The application that the model test drives: three resources whose rules look at each other."""

from typing import Any, Literal

from crudite import (
    Actor,
    App,
    Count,
    Credentials,
    Field,
    Many,
    Parent,
    Query,
    Record,
    Ref,
    Request,
    Retention,
    allow,
    me,
)
from crudite.stores.base import Store

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
    rules={"read": _STAFF | allow.where(owner=me.id) | allow.where(team__members__user=me.id), "write": _STAFF},
):
    """Seen by its owner and its team; the note is for the owner."""

    team: Ref[Team] | None = Field(default=None, on_delete="clear")
    owner: str = "ann"
    status: Literal["todo", "done"] = "todo"
    points: int | None = None
    title: str = ""
    note: str = Field(default="", read=_STAFF | allow.where(owner=me.id))


def _by_name(credentials: Credentials) -> Actor | None:
    name = credentials.token
    return Actor(id=name, roles=frozenset({"staff"} if name == "staff" else ())) if name else None


def make_app(store: Store) -> App:
    """The application, on a store."""
    app = App(Team, Member, Task, store=store, auth=_by_name, retention=Retention())

    @app.read("todo-count")
    async def todo_count(request: Request) -> Count:
        return Task.where(status="todo").count()

    @app.read("top")
    async def top(request: Request) -> Query[Task]:
        return Task.where(status="todo").order("-points").limit(2)

    return app


CLASSES: dict[str, type[Record[Any]]] = {"teams": Team, "members": Member, "tasks": Task}
