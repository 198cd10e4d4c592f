"""Declarations that type checkers must accept as they are, and what they must know about them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, assert_type
from uuid import UUID, uuid4

from pydantic import BaseModel

from crudite import (
    BigInt,
    Cascade,
    Count,
    Email,
    Field,
    FieldContext,
    Many,
    One,
    Parent,
    Password,
    Query,
    Record,
    Ref,
    Request,
    Resource,
    Unique,
    after,
    allow,
    before,
    me,
    now,
    today,
    validators,
)  # fmt: skip


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Address(BaseModel):
    street: str
    town: str | None = None


class Account(Resource, rules={"read": allow.signed_in, "create": allow.everyone, "write": allow.where(id=me.id)}):
    email: Email = Field(unique=True, read=allow.where(id=me.id))
    name: str
    password: Password
    roles: list[str] = Field(default=[], write=allow.role("admin"))


class Country(Record[str], rules=allow.everyone):
    name: str


def even(value: int) -> int:
    return value


async def fits(value: str, context: FieldContext) -> str:
    reading = await context.read(Reading, 1)
    assert_type(reading, "Reading | None")
    return value


class Checked(Resource, unique=[("name", "kind"), Unique("name", "amount", nulls="alike")]):
    name: Annotated[str, validators.NotPadded()] = Field(validate=["notblank", validators.Minimum(3), fits])
    kind: str = Field(default="", validate=validators.MatchesParent("up", check={"a": ["b"]}), required_on="replace")
    amount: int | None = Field(default=None, validate=even, default_filter=[1, 2], cascade=Cascade("below", when=1))
    up: Ref["Checked"] | None = None
    below: Many["Checked"]


class Reading(Record[int], live=False):
    value: float


class Project(
    Resource,
    rules={
        "read": allow.where(owner=me.id) | allow.where(members__user=me.id) | allow.role("staff"),
        "write": allow.where(owner=me.id),
    },
):
    name: str = Field(min_length=1)
    owner: Ref[Account] = Field(default=me.id, immutable=True)
    country: Ref[Country | None] = Field(default=None)
    deputy: Ref[Account] | None = None
    members: Many["Membership"] = Field(by="project")
    tasks: Many["Task"] = Field(by="project")


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
    limit=20,
    max_limit=100,
):
    project: Parent[Project]
    title: str = Field(min_length=1)
    status: Literal["todo", "doing", "done"] = "todo"
    due: date | None = None
    colour: Colour = Colour.RED
    price: Decimal = Field(default=Decimal("1.50"), decimal_places=2)
    seen: datetime = Field(default=now)
    start: date = Field(default=today)
    number: BigInt = 0
    address: Address | None = None
    notes: dict[str, Any] = Field(default_factory=dict)

    @before("create", "update")
    async def no_reopen(self, request: Request, old: "Task | None") -> None:
        if old is not None and old.status == "done" != self.status:
            self.status = "done"
        self.price += 1

    @after("delete")
    def gone(self) -> None:
        assert_type(self.project, UUID)


class Profile(Resource):
    holder: Ref["Holder"] = Field(unique=True)


class Label(Resource):
    name: str


class Labelling(Resource):
    holder: Ref["Holder"]
    label: Ref[Label]


class Holder(Resource):
    name: str
    profile: One["Profile"] = Field(settable=True)
    first: One["Profile"] = Field(by="holder")
    profiles: Many["Profile"] = Field(by="holder", settable=True, include=False)
    labels: Many["Label"] = Field(through="Labelling", settable=True)
    other: Many["Label"] = Field(through=Labelling, by="holder", to="label")
    owner: Ref[Account] | None = Field(default=None, include=False)


holder = Holder(name="h")
account = Account(email="a@example.com", name="Ada", password="correct horse")
country = Country(id="de", name="Germany")
project = Project(name="Crudite", owner=account, country="de")
task = Task(project=project, title="Ship it", due=date(2026, 11, 20), address=Address(street="x"))
by_key = Task(id=uuid4(), project=project.id, title="Ship it", seen=datetime.now(UTC))

assert_type(account.email, str)
assert_type(account.id, UUID)
assert_type(country.id, str)
assert_type(Reading(value=1.5).id, int)
assert_type(project.owner, UUID)
assert_type(project.country, str | None)
assert_type(project.deputy, UUID | None)
assert_type(task.project, UUID)
assert_type(task.status, Literal["todo", "doing", "done"])
assert_type(task.number, int)
assert_type(task.version, int)
assert_type(task.created_at, datetime)
assert_type(Task.where(status__ne="done", due__lt=today), Query[Task])
assert_type(Task.where().order("-due").limit(20).fields("title"), Query[Task])
assert_type(Task.where(allow.where(status="todo") | allow.where(due=None)).count(), Count)

project.owner = account
project.owner = account.id
project.country = None
