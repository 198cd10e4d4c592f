"""The resources that the tests of this folder declare: the example of the documentation, and one of every
type."""

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel
from typing_extensions import TypedDict

from crudite.resources.declaring.declare import Record, Resource, before
from crudite.resources.declaring.fields import BigInt, Email, Field, Many, Parent, Password, Ref
from crudite.rules import allow, me


class Account(Resource, rules={"read": allow.signed_in, "create": allow.everyone, "write": allow.where(id=me.id)}):
    email: Email = Field(unique=True, read=allow.where(id=me.id))
    name: str
    password: Password
    roles: list[str] = Field(default=[], write=allow.role("admin"))


class Project(
    Resource,
    rules={
        "read": allow.where(owner=me.id) | allow.where(members__user=me.id) | allow.role("staff"),
        "write": allow.where(owner=me.id),
    },
):
    name: str = Field(min_length=1)
    owner: Ref[Account] = Field(default=me.id, immutable=True)
    members: Many["Membership"]


class Membership(
    Resource,
    unique=[("project", "user")],
    rules={
        "read": allow.where(project__members__user=me.id),
        "write": allow.where(project__owner=me.id),
    },
):
    project: Parent[Project]
    user: Ref[Account]


class Task(
    Resource,
    unique=[("project", "title")],
    rules=allow.where(project__owner=me.id) | allow.where(project__members__user=me.id),
):
    project: Parent[Project]
    title: str = Field(min_length=1)
    status: Literal["todo", "doing", "done"] = "todo"
    due: date | None = None

    @before("update")
    async def no_reopen(self, request: Any, old: "Task") -> None:
        if old.status == "done" != self.status:
            raise ValueError("A done task stays done.")


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Address(BaseModel):
    street: str
    town: str | None = None
    since: date | None = None


@dataclass
class Point:
    x: float
    y: float = 0.0


class Contact(TypedDict):
    kind: Literal["mail", "phone"]
    value: str


class Country(Record[str]):
    name: str


class Everything(Record[int]):
    text: str = Field(max_length=20)
    whole: int
    huge: BigInt
    number: float
    price: Decimal = Field(decimal_places=2)
    flag: bool
    day: date
    hour: time
    moment: datetime
    token: UUID
    choice: Literal["a", "b"]
    level: Literal[1, 2, 3]
    colour: Colour
    size: Size
    email: Email
    password: Password
    country: Ref[Country | None]
    address: Address
    point: Point
    contact: Contact
    tags: list[str]
    days: list[date]
    counts: dict[str, int]
    anything: Any
    note: str | None = None
    home: Address | None = None
