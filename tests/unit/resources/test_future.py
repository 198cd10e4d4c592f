"""Annotations mean the same where a module makes texts of all of them."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import ClassVar

from crudite.resources.declaring.compile import compile_resources
from crudite.resources.declaring.declare import Record, Resource
from crudite.resources.declaring.fields import Email, Field, Many, Parent, Password, Ref
from crudite.schema import Link, Reference


class Shelf(Record[str]):
    COUNT: ClassVar[int] = 1
    books: Many[Book] = Field(by="shelf")
    former_books: Many["Book"] = Field(by="former")  # noqa: UP037


class Book(Resource):
    shelf: Parent[Shelf]
    former: Ref[Shelf | None] = Field(default=None)
    due: date | None = None
    contact: Email
    code: Password


def test_annotations_that_are_texts_are_read_with_the_names_of_their_module() -> None:
    app = compile_resources([Shelf, Book], open=True)

    assert list(app[Shelf].schema.fields) == ["id", "version", "created_at", "updated_at"]
    assert app[Shelf].links["books"] == Link("books", "Book", "shelf")
    assert app[Shelf].links["former_books"] == Link("former_books", "Book", "former")
    assert app[Book].schema.fields["former"].reference == Reference("Shelf")
    assert app[Book].schema.fields["former"].nullable
    assert app[Book].passwords == ("code",)


def test_local_names_are_known_and_later_ones_when_they_are_resources() -> None:
    class Size(StrEnum):
        SMALL = "s"

    class Box(Record[int]):
        size: Size = Size.SMALL
        things: Many[Thing]

    class Thing(Resource):
        box: Ref[Box]

    app = compile_resources([Box, Thing], open=True)

    assert app[Box].schema.fields["size"].type.enum is Size
    assert app[Box].links["things"] == Link("things", "Thing", "box")
    assert Box(id=1) == Box(id=1, size=Size.SMALL)


def test_a_secret_is_not_printed_either() -> None:
    book = Book(shelf="a", contact="a@b.cc", code="hunter2")

    assert "hunter2" not in repr(book)
