"""What booster said of a field and the record that a reference points at: validation against a parent."""

from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import pytest

from crudite import (
    App,
    DeclarationError,
    Field,
    FieldContext,
    Record,
    Ref,
    Resource,
    allow,
    validators,
)
from tests.flows.worlds import client_for, faults


class Category(Record[str], rules=allow.everyone):
    status: str = "draft"
    notes: str = ""


class Post(Record[str], rules=allow.everyone):
    category: Ref[Category] | None = None
    status: str = Field(
        default="draft",
        validate=validators.MatchesParent("category", check={"published": ["public", "open"], "hidden": "*", "x": "x"}),
    )
    title: str = ""


@pytest.mark.promises("B92", "B94", "B96")
@pytest.mark.parametrize(
    ("check", "status", "of_parent", "is_fine"),
    [
        (None, "draft", "draft", True),
        (None, "draft", "public", False),
        ("published", "draft", "public", True),
        ("published", "published", "public", False),
        ("published,public", "published", "published", True),
        ("published, hidden", "hidden", "public", False),
        (["published"], "published", "published", True),
        (["published"], "published", "public", False),
        (["published"], "draft", "public", True),
        ({"published": "public"}, "published", "public", True),
        ({"published": "public"}, "published", "published", False),
        ({"published": ["public", "open"]}, "published", "open", True),
        ({"published": "*"}, "published", "whatever", True),
        ({"published": "public"}, "draft", "whatever", True),
    ],
)
@pytest.mark.only_on("sqlite", reason="what is compared asks no store")
def test_a_value_goes_with_that_of_the_parent_where_it_is_checked(
    check: Any, status: str, of_parent: str, is_fine: bool
) -> None:
    """B93."""
    validator = validators.MatchesParent("category", check)

    assert (not validator.concerns(status) or validator.accepts(status, of_parent)) is is_fine


@pytest.mark.promises("B92", "B93", "B94", "B95", "B96")
async def test_a_record_is_held_against_the_one_that_it_points_at() -> None:
    async with client_for(Category, Post) as client:
        await client.post("/categories", [{"id": "a"}, {"id": "b", "status": "public"}])
        refused = await client.post("/posts", {"id": "1", "category": "a", "status": "published"})
        assert (refused.status, faults(refused)) == (422, [("/status", "invalid_parent")])
        assert (await client.post("/posts", {"id": "1", "category": "b", "status": "published"})).status == 201
        assert (await client.post("/posts", {"id": "2", "status": "published"})).status == 201  # it has no parent
        assert (await client.post("/posts", {"id": "3", "category": "a", "status": "hidden"})).status == 201

        assert (await client.patch("/posts/3", {"status": "published"})).status == 422  # by the stored parent
        assert (await client.patch("/posts/3", {"status": "published", "category": "b"})).status == 200
        assert (await client.put("/posts/3", {"category": "a", "status": "published"})).status == 422
        assert (await client.put("/posts/3", {"status": "published"})).status == 200
        assert (await client.post("/posts", {"category": "zzz", "status": "published"})).status == 422


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Magazine(Record[int], rules=allow.everyone):
    mood: Mood = Mood.GOOD
    pages: int = 1
    day: date = date(2026, 1, 1)
    price: Decimal = Field(default=Decimal(0), decimal_places=2)


class Article(Record[int], rules=allow.everyone):
    magazine: Ref[Magazine]
    mood: Mood = Field(default=Mood.GOOD, validate=validators.MatchesParent("magazine", {Mood.BAD: [Mood.BAD]}))
    pages: int = Field(default=1, validate=validators.MatchesParent("magazine", "2, 3"))
    day: date = Field(default=date(2026, 1, 1), validate=validators.MatchesParent("magazine", [date(2026, 1, 2)]))
    price: Decimal = Field(
        default=Decimal(0), decimal_places=2, validate=validators.MatchesParent("magazine", {Decimal(1): "2"})
    )


@pytest.mark.promises("B93", "B94", "B95")
@pytest.mark.parametrize(
    ("name", "value", "of_parent"),
    [("mood", "bad", "bad"), ("pages", 3, 3), ("day", "2026-01-02", "2026-01-02"), ("price", "1", "2.00")],
)
async def test_what_is_checked_is_named_as_python_holds_it_or_as_a_text(name: str, value: Any, of_parent: Any) -> None:
    async with client_for(Magazine, Article) as client:
        await client.post("/magazines", [{"id": 1}, {"id": 2, name: of_parent}])
        refused = await client.post("/articles", {"magazine": 1, name: value})
        assert (refused.status, faults(refused)) == (422, [(f"/{name}", "invalid_parent")])
        assert (await client.post("/articles", {"magazine": 2, name: value})).status == 201
        assert (await client.post("/articles", {"magazine": 2})).status == 201  # with what is not named, any goes


@pytest.mark.promises("B92", "B96")
async def test_a_parent_that_changes_while_a_record_is_written_decides_about_it() -> None:
    turns: list[str] = []

    async def in_between(value: str, context: FieldContext) -> str:
        if not turns:
            turns.append(value)
            await client.app.records.update(Category, "b", status="draft")
        return value

    class Late(Record[str], rules=allow.everyone):
        category: Ref[Category]
        status: str = Field(validate=[validators.MatchesParent("category", {"published": "public"}), in_between])

    client = client_for(Category, Late)
    async with client:
        await client.post("/categories", {"id": "b", "status": "public"})
        refused = await client.post("/lates", {"id": "1", "category": "b", "status": "published"})
        assert (refused.status, faults(refused)) == (422, [("/status", "invalid_parent")])
        assert (turns, (await client.get("/lates")).json) == (["published"], [])


@pytest.mark.promises("B85", "B96")
async def test_what_a_function_has_read_is_as_it_was_when_the_record_is_stored() -> None:
    seen: list[str] = []

    async def fits(value: int, context: FieldContext) -> int:
        category = await context.read(Category, context.record.category)
        assert category is not None
        seen.append(category.status)
        if len(seen) == 1:
            await client.app.records.update(Category, category.id, status="closed")
        if category.status == "closed":
            raise ValueError(f"{category.id} is closed.")
        return value

    class Seat(Record[str], rules=allow.everyone):
        category: Ref[Category]
        row: int = Field(validate=fits)

    client = client_for(Category, Seat)
    async with client:
        await client.post("/categories", {"id": "b", "status": "open"})
        refused = await client.post("/seats", {"id": "1", "category": "b", "row": 1})
        assert (refused.status, refused.json["detail"]) == (422, "b is closed.")
        assert seen == ["open", "closed"]


async def test_what_a_function_has_read_and_never_stays_as_it_was_is_a_conflict() -> None:
    seen: list[str] = []

    async def restless(value: int, context: FieldContext) -> int:
        category = await context.read(Category, context.record.category)
        assert category is not None
        seen.append(category.notes)
        await client.app.records.update(Category, category.id, notes=f"{len(seen)}")
        return value

    class Chair(Record[str], rules=allow.everyone):
        category: Ref[Category]
        row: int = Field(validate=restless)

    client = client_for(Category, Chair)
    async with client:
        await client.post("/categories", {"id": "b"})
        refused = await client.post("/chairs", {"id": "1", "category": "b", "row": 1})
        assert (refused.status, faults(refused), seen) == (409, [], ["", "1", "2", "3", "4", "5", "6", "7"])


@pytest.mark.promises("B92")
@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_parent_that_cannot_be_compared_is_refused() -> None:
    class Wrong(Resource):
        category: Ref[Category]
        status: str = Field(default="", validate=validators.MatchesParent("categry"))
        title: str = Field(default="", validate=validators.MatchesParent("category"))
        notes: int = Field(default=0, validate=validators.MatchesParent("category"))
        version_of: Ref[Magazine]
        mood: Literal["good", "bad"] = Field(default="good", validate=validators.MatchesParent("version_of", "god"))
        pages: int = Field(default=0, validate=validators.MatchesParent("version_of", {1: "many"}))
        price: Decimal = Field(default=Decimal(0), decimal_places=1, validate=validators.MatchesParent("version_of"))

    with pytest.raises(DeclarationError) as caught:
        App(Category, Magazine, Wrong)

    assert caught.value.faults == (
        "Wrong.status: MatchesParent names 'categry', which is no reference; did you mean 'category'?",
        "Wrong.title: MatchesParent compares it with Category.title, which there is not.",
        "Wrong.notes: MatchesParent cannot compare it with Category.notes: both are plain values of one type.",
        "Wrong.mood: the check of MatchesParent is not valid: expected one of 'good', 'bad'.",
        "Wrong.pages: the check of MatchesParent is not valid: expected an integer.",
        "Wrong.price: MatchesParent cannot compare it with Magazine.price: both are plain values of one type.",
    )
