"""An application of everything that resources can be told, for the stories about its description."""

from datetime import date, timedelta
from typing import Annotated, Literal

from crudite import (
    App,
    Browser,
    Cascade,
    Channel,
    Count,
    Email,
    Field,
    FieldContext,
    Groups,
    Hashing,
    Many,
    One,
    OpenApi,
    Parent,
    Password,
    Place,
    Query,
    Rate,
    Record,
    Redirect,
    Ref,
    Request,
    Resource,
    Rest,
    Sessions,
    Sse,
    Unique,
    Value,
    WebSocket,
    allow,
    me,
    validators,
)  # fmt: skip
from tests.flows.worlds import by_name

OPEN = allow.everyone
STAFF = allow.role("staff")
QUICK = Hashing(passes=1, memory=8, lanes=1)
OFTEN = Rate("1000000/second", by="address")


def capital(value: str) -> str:
    """With its first letter as a capital one; never a lie."""
    if "lie" in value.lower():
        raise ValueError("Nothing but the truth.")
    return value[:1].upper() + value[1:]


async def other_than_its_name(value: str | None, context: FieldContext) -> str | None:
    """A motto is not only the name again, and not that of the other one."""
    if value == context.record.name:
        raise ValueError("That is the name.")
    return value


class Account(
    Resource,
    rules={"read": allow.signed_in, "create": OPEN, "write": allow.where(id=me.id)},
):
    email: Email = Field(unique=True, read=allow.where(id=me.id))
    password: Password
    pin: str = Field(default="0000", visible="secret", validate=["minimum:4", "maximum:8"])
    nick: str = Field(default="", validate="notpadded")
    notes: str = Field(default="", visible="private", read=STAFF)
    roles: list[str] = Field(default_factory=list, write=STAFF)


class Publisher(
    Resource,
    rules={"read": OPEN, "write": allow.signed_in, "history": OPEN},
    history=timedelta(days=365),
    search=("name", "motto"),
):
    """Who brings out magazines."""

    name: str = Field(validate=["notblank", "notpadded", "maximum:40"], unique=True)
    motto: str | None = Field(default=None, validate=other_than_its_name)
    site: str | None = Field(default=None, validate="url")
    status: str = Field(
        default="open", validate="list:open,closed", default_filter="open", clear_filter="all",
        cascade=Cascade("magazines", when="closed"),
    )  # fmt: skip
    magazines: Many["Magazine"] = Field(settable=True)


class Magazine(
    Record[int],
    rules={"read": OPEN, "write": allow.signed_in},
    unique=[Unique("publisher", "code", nulls="alike"), ("title", "founded")],
    limit=5,
    max_limit=20,
):
    publisher: Parent[Publisher] = Field(on_delete="cascade")
    title: Annotated[str, validators.NotBlank(), validators.Maximum(60)]
    code: str | None = Field(default=None, validate="pattern:^[A-Z]{2,4}$")
    founded: date | None = None
    status: str = "open"
    months: list[int] = Field(default=[], validate=["integerArray", "unique"])


class Issue(
    Record[int],
    rules={"read": OPEN, "write": allow.signed_in, "restore": allow.signed_in, "purge": STAFF, "history": STAFF},
    soft_delete=timedelta(days=30),
    places=[
        Place("/issues", exclude="delete"),
        Place("/api/v2/publishers/{publisher}/magazines/{magazine}/issues"),
        Place("/staff/issues", rules=STAFF, only=("list", "read", "update", "delete", "restore", "history")),
        Place("/magazines/{magazine}/back-issues", only=("list", "read", "create"), parent="required"),
    ],
):
    magazine: Ref[Magazine] = Field(on_delete="cascade", immutable=True)
    number: int = Field(default=1, ge=1, required_on="replace")
    status: str = Field(default="open", validate=validators.MatchesParent("magazine", check={"late": "open"}))
    price: float = Field(default=3.5, ge=0, le=100)


class Author(Record[str], rules={"read": OPEN, "write": allow.signed_in}):
    name: str = Field(min_length=1, max_length=40, validate=capital)
    email: str | None = Field(default=None, validate="email", visible="private", read=STAFF)
    profile: One["Profile"] = Field(settable=True)
    articles: Many["Article"] = Field(by="author")


class Profile(Record[str], rules={"read": OPEN, "write": allow.signed_in}):
    author: Ref[Author | None] = Field(default=None, unique=True, on_delete="clear")
    about: str = ""


class Article(
    Record[str],
    rules={"read": OPEN, "write": allow.signed_in},
    soft_delete=True,
    search=("title",),
    places=["/articles", Place("/authors/{author}/articles", exclude=("subscribe", "delete"))],
):
    title: str = Field(validate=["notblank", capital])
    slug: str = Field(default="none", immutable=True, validate=["alphanumeric", "notpattern:^[0-9]+$"])
    author: Ref[Author] = Field(on_delete="force")
    editor: Ref[Author | None] = Field(default=None, on_delete="clear", include=False)
    issue: Ref[Issue] | None = Field(default=None, on_delete="clear")
    kind: Literal["news", "essay"] = Field(default="news", default_filter=["news", "essay"])
    tags: Many["Tag"] = Field(through="Tagging", settable=True)


class Tag(Record[str], rules={"read": OPEN, "write": allow.signed_in}, exclude=("replace", "read_field")):
    name: str = Field(default="", validate="notpadded")
    articles: Many["Article"] = Field(through="Tagging", include=False)


class Tagging(
    Record[int],
    unique=[("article", "tag")],
    rules={"read": OPEN, "write": allow.signed_in},
    soft_delete=True,
    places=["/x/taggings"],
):
    article: Ref[Article] = Field(on_delete="cascade")
    tag: Ref[Tag] = Field(on_delete="cascade")


class Vote(Record[int], rules={"read": OPEN, "write": allow.signed_in}, only_nested=True, live=False):
    magazine: Parent[Magazine] = Field(on_delete="cascade")
    stars: Literal[1, 2, 3] = 1


class Counter(Record[str], rules=OPEN, places=()):
    """Nobody but the application gets at it."""

    count: int = 0


class Page(Record[str], rules={"read": OPEN, "write": allow.signed_in}, places=[Place("/", exclude="subscribe")]):
    """What stands at the root."""

    text: str = ""


def make_app(store: str) -> App:
    app = App(
        Account, Publisher, Magazine, Issue, Author, Profile, Article, Tag, Tagging, Vote, Counter, Page,
        store=store, title="Magazines",
        auth=[Sessions(Account, hashing=QUICK, account_rate=OFTEN, address_rate=OFTEN), by_name],
        interfaces=[Rest(), Sse(), WebSocket(), Browser(), OpenApi(public=True)],
        channels=[
            Channel("desks/{magazine}", of=Magazine, rules={"publish": allow.signed_in}, presence=True),
            Channel("articles", of=Article),
        ],
    )  # fmt: skip

    @app.read("essays")
    async def essays(request: Request, author: str | None = None, limit: int = 20) -> Query[Article]:
        found = Article.where(kind="essay") if author is None else Article.where(kind="essay", author=author)
        return found.order("title").limit(max(1, min(limit, 50)))

    @app.read("issue-count")
    async def issue_count(request: Request) -> Count:
        return Issue.where(status="open").count()

    @app.read("highest-price")
    async def highest_price(request: Request) -> Value:
        return Issue.where().max("price")

    @app.read("issues-by-status")
    async def issues_by_status(request: Request) -> Groups:
        return Issue.where().group("status").count()

    @app.read("latest")
    async def latest(request: Request) -> Redirect:
        return Redirect("/issues?sort=-number")

    @app.update("retitle")
    async def retitle(request: Request, magazine: int, title: str) -> Magazine:
        return await request.records.update(Magazine, magazine, title=title)

    return app
