"""The description of an application of everything is true: whatever is sent, and for every operation that it has."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from openapi_spec_validator import OpenAPIV31SpecValidator

from crudite import OpenApi
from tests.flows.fuzzing import ask, can_be_wrong, described, fuzz, name_of
from tests.flows.magazines import make_app

pytestmark = pytest.mark.only_on("sqlite", reason="the module has an application on each store for all of its tests")

EXAMPLES = max(2, settings().max_examples // 100)
"""How often each operation is fuzzed with valid data, and half as often with invalid data."""

TAGS = [
    "Account", "Publisher", "Magazine", "Issue", "Author", "Profile", "Article", "Tag", "Tagging", "Vote", "Page",
    "Session", "Channels", "Handlers", "Streams",
]  # fmt: skip
ON_POSTGRESQL = ["Publisher", "Author", "Tagging", "Page"]

STAFF = {"authorization": "Bearer ann:staff"}
VALUES: dict[str, dict[str, Any]] = {
    "Account": {"nick": "annie"}, "Publisher": {"motto": "More"}, "Magazine": {"title": "Weekly"},
    "Issue": {"number": 2}, "Author": {"name": "bob"}, "Profile": {"about": "All."}, "Article": {"title": "truth"},
    "Session": {"created_at": None}, "Tag": {"name": "red"}, "Tagging": {"tag": "another"}, "Vote": {"stars": 3},
    "Page": {"text": "Hello"},
}  # fmt: skip
"""What an update changes, and which field is read and set alone."""

numbers = count(1)


@pytest.fixture(scope="module")
def schema(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The running application as schemathesis sees it, on each store."""
    on_sqlite = f"sqlite:///{tmp_path_factory.mktemp('rich') / 'test.db'}"
    store = on_sqlite if request.param == "sqlite" else f"{request.getfixturevalue('postgresql')}?schema=rich"
    with described(make_app(store)) as schema:
        yield schema


class World:
    """Records of every kind, new ones for each operation: `keys` by resource, and the session of an account."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self.number = n = next(numbers)
        self.email, self.password = f"{n}@example.org", "correct horse"
        self.keys: dict[str, Any] = {}
        self.named: dict[str, Any] = {}
        """The keys as parameters of paths are called."""
        account = {"email": self.email, "password": self.password}
        self._call("accounts.create", account)
        session = self._call("log-in", {**account, "bearer": True}).json()
        self.token = {"authorization": f"Bearer {session['token']}"}
        self.keys["Account"] = session["account"]
        self.keys["Session"] = self._call("sessions.list", headers=self.token).json()[0]["id"]
        for tag, name in (
            ("Publisher", "publishers"), ("Magazine", "magazines"), ("Issue", "issues"), ("Author", "authors"),
            ("Profile", "profiles"), ("Article", "articles"), ("Tag", "tags"), ("Tagging", "x.taggings"),
            ("Vote", "magazines.votes"), ("Page", "pages"),
        ):  # fmt: skip
            made = self._call(f"{name}.create", self.body(tag), {"magazine": self.keys.get("Magazine")})
            self.keys[tag] = made.json()["id"]

    def body(self, tag: str) -> dict[str, Any]:
        """A body that creates one more record."""
        n, keys = next(numbers), self.keys
        match tag:
            case "Account":
                return {"email": f"{n}@example.org", "password": self.password}
            case "Publisher":
                return {"name": f"House {n}", "motto": "More", "site": "https://example.org"}
            case "Magazine":
                return {"publisher": keys["Publisher"], "title": f"Weekly {n}", "code": "AB" if tag in keys else None}
            case "Issue":
                return {"magazine": keys["Magazine"], "number": 2, "status": "late"}
            case "Author":
                return {"id": f"a{n}", "name": "eve", "email": "eve@example.org"}
            case "Article":
                return {"id": f"x{n}", "title": "the truth", "author": keys["Author"], "issue": keys["Issue"]}
            case "Tagging":
                return {"article": keys["Article"], "tag": self._another_tag()}
            case "Vote":
                return {"magazine": keys["Magazine"], "stars": 2}
            case _:
                return {"id": f"{tag.lower()}-{n}"}

    def _another_tag(self) -> Any:
        return self._call("tags.create", {"id": f"t{next(numbers)}"}).json()["id"]

    def _changes(self, tag: str) -> dict[str, Any]:
        return {"tag": self._another_tag()} if tag == "Tagging" else VALUES[tag]

    def _call(
        self, name: str, body: Any = None, path: dict[str, Any] | None = None, headers: dict[str, str] = STAFF
    ) -> Any:
        operation = self._schema.find_operation_by_id(name)
        sent = {"body": body, "media_type": "application/json"} if body is not None else {}
        response = operation.Case(path_parameters=path or {}, **sent).call(headers=headers)
        assert response.status_code < 300, (name, response.text)
        return response

    def sent_for(self, operation: Any) -> dict[str, Any]:
        """What a request is made of that the application does as it is asked."""
        raw, name = operation.definition.raw, name_of(operation)
        (tag,), action = raw["tags"], kind_of(operation).rpartition(".")[2]
        names = [one.name for one in operation.path_parameters]
        self.named = {"key": self.keys.get(tag), **{one.lower(): key for one, key in self.keys.items()}}
        field = {"field": next(iter(VALUES.get(tag, ())), None)}
        sent: dict[str, Any] = {"path_parameters": {one: {**self.named, **field}[one] for one in names}}
        body = self._body_for(name, tag, action)
        if body is not None and "requestBody" in raw:
            sent |= {"body": body, "media_type": "application/json"}
        if action == "restore":
            deleting = {"Issue": "staff.issues", "Article": "articles", "Tagging": "x.taggings"}[tag]
            self._call(f"{deleting}.delete", path={"key": self.keys[tag]})
        if name == "authors.delete":
            sent["query"] = {"force": "true"}
        if name == "subscribe":
            sent["query"] = {"queries": json.dumps({"all": {"resource": "tags"}})}
        return sent

    def _body_for(self, name: str, tag: str, action: str) -> Any:
        account = {"email": self.email, "password": self.password}
        own = {
            "log-in": account, "log-out": {}, "log-out-everywhere": {},
            "change-password": {"old": self.password, "new": "another horse"},
            "change-email": {**account, "email": f"new-{self.email}"},
            "session/client": {"values": {"theme": "dark"}}, "end-session": {"session": str(self.keys["Session"])},
            "retitle": {"magazine": self.keys["Magazine"], "title": "Daily"},
        }  # fmt: skip
        if name in own:
            return own[name]
        match action:
            case "publish":
                return {"event": "bell", "data": [1]}
            case "query":
                return {"limit": 3}
            case "field":
                return next(iter(self._changes(tag).values()))
            case "update":
                return self._changes(tag)
            case "create":
                return self.body(tag)
            case "set":
                return [self.keys[tag], self.body(tag)]
            case "replace":
                body = self.body(tag)
                body.pop("password", None)  # which is changed by those who know the old one
                return {one: value for one, value in body.items() if one != "id"}
        return None


async def test_the_document_is_valid_and_has_these_parts(tmp_path: Path) -> None:
    document = OpenApi().document(make_app(f"sqlite:///{tmp_path / 'never.db'}"))
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert [tag["name"] for tag in document["tags"]] == TAGS


@pytest.mark.parametrize(
    ("schema", "tag"),
    [("sqlite", tag) for tag in TAGS] + [("postgresql", tag) for tag in ON_POSTGRESQL],
    indirect=["schema"],
    scope="module",
)
def test_everything_can_be_done_and_is_answered_as_described_whatever_is_sent(schema: Any, tag: str) -> None:
    world, is_touched = World(schema), False
    seen: set[str] = set()
    for operation in operations_of(schema, tag):
        name, kind = name_of(operation), kind_of(operation)
        if is_touched:
            world = World(schema)
        headers = world.token if tag in ("Account", "Session", "Handlers") else STAFF
        answer = ask(operation.Case(**world.sent_for(operation)), headers)
        assert answer.status_code < 400, (name, answer.text)
        # a stream is asked what its list is, and what stands at several places is asked the same at each
        examples = 1 if kind in seen or kind.startswith("subscribe") else EXAMPLES
        fuzz(operation, examples, world.named, headers, fits=True)
        if can_be_wrong(operation) and not (kind in seen and kind.startswith("subscribe")):
            fuzz(operation, max(1, examples // 2), world.named, headers, fits=False)
        seen.add(kind)
        is_touched = operation.method != "get" and kind != "query"
    assert seen, tag


def operations_of(schema: Any, tag: str) -> list[Any]:
    every = [found.ok() for found in schema.get_all_operations()]
    return [operation for operation in every if operation.definition.raw["tags"] == [tag]]


def kind_of(operation: Any) -> str:
    """What is done: `create`, `read.field`, `subscribe.one`."""
    *_, last, action = ["", *name_of(operation).split(".")]
    return f"{last}.{action}" if action in ("field", "one") else action
