"""A blog as an application of booster had it: its clients find everything where it was, today's find it below `/v2`."""

import base64
import os
from datetime import date, datetime
from typing import Any
from uuid import uuid4

from crudite import (
    Actor,
    App,
    Booster,
    Credentials,
    Fault,
    Field,
    Invalid,
    Many,
    Next,
    Parent,
    Password,
    Place,
    Record,
    Ref,
    Request,
    Response,
    Rest,
    Sse,
    Unauthorized,
    Unavailable,
    WebSocket,
    after,
    allow,
    around,
    before,
    me,
)

# --- `param: {sendmail: fn}`: what the application is given, by type. Here: letters that lie in a list.


class Letters(list[tuple[str, str]]):
    """Whom has been written to, and what."""

    def send(self, to: str, text: str) -> None:
        """`sendmail`."""
        self.append((to, text))


class Base(Record[str], rules=allow.everyone):
    """What all models share. Booster had no permissions, so everyone may do everything; `crudite check` names what
    wants a rule. `id: {required: true, createoptional: true, mutable: false}`: keys are texts, as they were, so that
    old records keep theirs, and links and clients that know them go on working."""

    id: str = Field(default_factory=lambda: uuid4().hex, immutable=True)


# --- Users


def long_enough(password: str) -> str:
    """A validation function: it refuses with a message, or returns what is to be stored, which may be another value.
    The type `Password` makes a hash of that then, with argon2, which nobody is ever shown (`secret`)."""
    if len(password) < 8:
        raise ValueError("password_too_short")
    return password


def lower_case(email: str) -> str:
    """One that changes the value: `{valid: true, value: …}`."""
    return email.lower()


class User(Base, path="user", rules={"read": allow.everyone, "create": allow.everyone, "write": allow.where(id=me.id)}):
    """`booster.resource('user', {resource: {group: ["get", "set"]}})`, with models/user.js and routes/user.js"""

    name: str = Field(immutable=True, unique=True, validate=["notblank", "alphanumeric"])
    email: str = Field(unique=True, validate=["email", lower_case])
    birthday: date | None = Field(default=None, visible="private", read=allow.where(id=me.id))
    password: Password = Field(min_length=1, validate=long_enough)
    roles: list[str] = Field(default=[])
    posts: Many["Post"] = Field(by="author")  # has_many
    groups: Many["Group"] = Field(by="user", settable=True)  # `resource: {group: ["get", "set"]}`

    @around("read", field="roles")
    @classmethod
    async def get_roles(cls, request: Request, next: Next) -> Any:
        """`properties: {roles: {get}}`: in place of reading the field at its own path, `/user/1/roles`. Setting it
        (`@around("update", field="roles")`) is left as it is, and so is every other property."""
        roles: Any = (await next()).data
        return ["user", *roles]

    @classmethod
    async def with_password(cls, name: str, password: str) -> "User | None":
        """`extend: {checkPassword}`: a function of the model."""
        found = await app.records.list(cls.where(name=name))
        if not found or not await app.records.verify(cls, found[0].id, password=password):
            return None
        return found[0]

    @after("create")
    def activate(self, letters: Letters) -> None:
        """`post: {create}`: once the user is there, and before the 201."""
        letters.send(self.email, f"Welcome, {self.name}!")


class Group(Base, places=["/group", Place("/user/{user}/group")]):
    """`booster.resource('group')`, and the property `group` of users."""

    user: Parent[User]
    name: str


# --- Posts, and what stands below them


class Post(
    Base,
    # Several opts are several places, each with its own `only` and `except` (here `exclude`); `update: null` in the
    # controller is an action that is excluded everywhere.
    places=["/post", Place("/api/post", only=("list", "read"))],
    exclude="replace",
):
    """`booster.resource('post', {}, {base: '/api', only: ["index", "show"]})`"""

    title: str = Field(validate=["notblank", "minimum:3"])
    content: str = ""
    status: str = Field(default="published", validate="list:draft,published", default_filter="published")
    author: Ref[User] | None = None  # belongs_to, and who has posts cannot be destroyed: `delete: {policy: "prevent"}`
    tags: Many["Tag"] = Field(through="Tagging")  # many_to_many

    @around("list")
    @classmethod
    async def index(cls, request: Request, next: Next) -> Response:
        """An action of the controller in place of the default one, which is `await next()`. This one shows the
        beginning of each text."""
        response = await next()
        posts: Any = response.data
        if request.is_live:  # whose records cannot be changed on the way: what must not be seen is for a rule
            return response
        return response.with_data([{**post, "content": post["content"][:80]} for post in posts])


class Tag(Base, path="tag"):
    """What posts are about."""

    name: str = Field(unique=True)


class Tagging(Base, path="tagging", unique=[("post", "tag")]):
    """`through: "tagging"`."""

    post: Ref[Post] = Field(on_delete="cascade")
    tag: Ref[Tag] = Field(on_delete="cascade")


class Comment(Base, places=[Place("/post/{post}/comment", parent="required"), Place("/comment", only="list")]):
    """`booster.resource('comment', {parent: 'post', parentProperty: true}, {only: "index"})`"""

    post: Parent[Post] = Field(immutable=True, on_delete="cascade")  # `delete: {policy: "cascade"}`
    author: str = ""
    content: str = Field(validate="notblank")

    @around()
    @classmethod
    async def all(cls, request: Request, next: Next) -> Any:
        """`all`: a filter before every action. `filter: {create}` is `@around("create")`, and runs behind it."""
        return await next()

    @around("create")
    @classmethod
    async def no_links(cls, request: Request, next: Next, letters: Letters) -> Response:
        """`filter: {create}` and, behind `next()`, `post: {create}`: it sees the answer, and may replace it or fail."""
        if b"http://" in (request.data or b""):
            raise Invalid("No links, please.", faults=[Fault("refused", "nolinks", pointer="/content")])
        response = await next()
        letters.send("editor@example.org", "There is a new comment.")
        return response


class Note(Base, places=["/post/{post}/comment/{comment}/note"]):
    """`booster.resource('note', {parent: 'comment', parentProperty: true, parentDefault: true})`"""

    comment: Parent[Comment] = Field(on_delete="cascade")
    text: str


class Diffuser(Base, places=["/post/{post}/user"]):
    """`booster.resource('diffuser', {parent: 'post', name: 'user'})`: the path has another name than the resource."""

    post: Parent[Post] = Field(on_delete="cascade")
    name: str


class Test(Base, places=["/api/test"]):
    """`booster.resource('test', {base: '/api'})`"""

    name: str = ""


# --- Tables


class Table(Base, path="table"):
    """Where guests sit."""

    seats: int = Field(default=4, ge=1)


class Reservation(Base, path="reservation", unique=[("table", "time")]):
    """`unique: [["table", "time"]]`, kept by the database, so that two guests who are as quick never both win."""

    # `delete: {policy: "force"}`: a table with reservations goes with them, when that is asked for (`?force=true`).
    table: Ref[Table] = Field(on_delete="force")
    user: str
    time: datetime
    guests: int = 2

    @before("create", "replace", "update")
    async def presave(self, request: Request) -> None:
        """`presave(attrs, models, callback)`: it may look elsewhere, refuse, and change what is saved."""
        tables = await request.records.list(Table.where(id=self.table))
        if not tables:
            raise Invalid(faults=[Fault("refused", "No such table!", pointer="/table")])
        if self.guests > tables[0].seats:
            raise Invalid(faults=[Fault("refused", "too_small", pointer="/table")])


class Activity(Base, places=()):
    """`booster.model('activity')`: a model without routes. Code reaches it, and no client does."""

    text: str


# --- Who asks. Booster left that to `cansecurity`, which takes a name and a password (HTTP Basic, RFC 7617).


async def known(credentials: Credentials) -> Actor | None:
    """Whoever shows the password of a user is that one."""
    scheme, _, shown = credentials.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(shown).decode().partition(":")
    except ValueError:
        raise Unauthorized("These are no credentials.") from None
    user = await User.with_password(name, password)
    if user is None:
        raise Unauthorized("The name or the password is wrong.")
    return Actor(user.id)


app = App(
    User, Group, Post, Tag, Tagging, Comment, Note, Diffuser, Test, Table, Reservation, Activity,
    auth=known,
    provide={Letters: Letters},
    interfaces=[
        Rest(style=Booster(embed={Post: ["author", "tags"], User: ["posts"]})),  # `booster.init({embed})`
        Rest("/v2"), Sse("/v2"), WebSocket(),
    ],
)  # fmt: skip


@app.use
async def global_filter(request: Request, next: Next) -> Response:
    """`filters`: runs before those of each resource. Here, for when the blog is being moved."""
    if os.environ.get("BLOG_IS_CLOSED") and request.action not in ("list", "read"):
        raise Unavailable("The blog is being moved.")
    return await next()
