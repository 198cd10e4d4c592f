"""A kennel, as wheelhouse-resource had it: its clients find `/api/dogs` as it was, today's find `/dogs`."""

import hmac
import os
from collections.abc import Mapping
from typing import Any

from crudite import (
    Actor,
    App,
    Credentials,
    Field,
    Record,
    Request,
    Rest,
    Sse,
    WebSocket,
    Wheelhouse,
    WheelhouseOptions,
    WheelhousePermissions,
    allow,
    before,
)

Row = dict[str, Any]

ROOM = 20
"""How many dogs visitors may bring in."""

keeper = allow.role("keeper")


class Dog(
    Record[int],
    # Rules hold for everybody, whatever he speaks. Permissions (below) narrow them for clients of `/api`.
    rules={
        "read": allow.where(readable=True) | keeper,
        "create": allow.where(value="yup") | keeper,
        "update": allow.where(value="yup") | keeper,
        "delete": keeper,
    },
):
    """`new Collection()` with the url `/api/dogs`; `validate` of its model is what is said of each field."""

    name: str = Field(min_length=2)  # a shorter one is a 422
    age: int = Field(default=0, ge=0)
    good: bool = True
    value: str = ""
    readable: bool = True
    chip: str = Field(default="", read=keeper, write=keeper)  # `delete model._private` in `filter` and `pick`

    @before("update", "replace")
    def lower_case_the_name(self) -> None:
        """`resource.update = function(){ this.req.body.name = … }`: the default action follows by itself."""
        self.name = self.name.lower()


class Board(Record[str], rules={"read": allow.everyone, "write": keeper}, path="board"):
    """What `app.db.get('something')` was: the hook of dogs reads it."""

    text: str


# --- `permissions`: what somebody may do, as words or as functions of records and body.


def permissions(request: Request) -> list[str] | WheelhousePermissions:
    """`if (this.req.user) return [...]`. Whoever is nobody in particular gets functions in place of words."""
    if "keeper" in request.actor.roles:
        return ["create", "read", "update", "del"]
    return WheelhousePermissions(read=not_too_old, create=there_is_room, update=says_yup)  # and no `delete`


def not_too_old(request: Request, dogs: list[Row]) -> list[Row]:
    """From `read`, the dogs that may be read: those that are older than nine have their peace."""
    return [dog for dog in dogs if dog["age"] < 10]


def there_is_room(request: Request, dogs: list[Row], body: Mapping[str, Any]) -> bool:
    """From `create`, whether that may be: of the collection and the body."""
    return body.get("value") == "yup" and len(dogs) < ROOM


def says_yup(request: Request, dog: Row, body: Mapping[str, Any]) -> bool:
    """From `update`, whether that may be: of the dog as it is, and the body."""
    return body.get("value") == "yup"


# --- What becomes of the output: `filter` of the collection, `pick` of one, and `hooks.read` behind them and the URL.


def badge(request: Request, dogs: list[Row]) -> list[Row]:
    """`filter`: what is useful in a list, and not stored."""
    return [{**dog, "label": f"{dog['name']} ({dog['age']})"} for dog in dogs]


def without_readable(request: Request, dog: Row) -> Row:
    """`pick`: just like it, for one."""
    return {name: value for name, value in dog.items() if name != "readable"}


async def notice(request: Request, dogs: list[Row]) -> list[Row]:
    """`hooks.read`: it may wait for something, and returns the dogs in place of calling `done`."""
    notices = await request.records.list(Board.where(id="notice"))
    return [{**dog, "notice": notices[0].text} for dog in dogs] if notices else dogs


def known(credentials: Credentials) -> Actor | None:
    """`this.req.user`: whoever shows the token in KENNEL_TOKEN keeps the dogs."""
    token = os.environ.get("KENNEL_TOKEN", "")
    shown = credentials.token or ""
    is_keeper = token != "" and hmac.compare_digest(shown.encode(), token.encode())
    return Actor("keeper", roles=frozenset(("keeper",))) if is_keeper else None


old = Wheelhouse(
    resources={Dog: WheelhouseOptions(permissions=permissions, filter=badge, pick=without_readable, read=notice)}
)

app = App(
    Dog,
    Board,
    auth=known,
    interfaces=[Rest("/api", style=old), Sse("/api", style=old), Rest(), Sse(), WebSocket()],
)
