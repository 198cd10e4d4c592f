"""Rules read as sentences."""

from typing import Any

import pytest

from crudite import Many, Parent, Resource, allow, me
from crudite.cli.words import in_words
from crudite.resources.declaring.compile import compile_resources


class Owner(Resource):
    name: str


class Member(Resource):
    project: Parent["Project"]
    user: str


class Project(Resource):
    owner: Parent[Owner]
    title: str | None
    members: Many[Member]


def is_short(record: Any, actor: Any) -> bool:
    return len(record.title) < 9


def words(rule: Any) -> str:
    ruled = type("Project", (Project,), {"__module__": __name__}, rules=rule)
    definitions = compile_resources([Owner, ruled, Member], open=False)
    return in_words(definitions[ruled].rules["read"])


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (allow.everyone, "everyone"),
        (allow.nobody, "nobody"),
        (allow.signed_in, "signed in"),
        (~allow.signed_in, "not signed in"),
        (allow.role("staff", "admin"), "has the role admin or staff"),
        (allow.where(title="x"), "title is 'x'"),
        (allow.where(title__in=["a", "b"]), "title is one of 'a', 'b'"),
        (allow.where(title__isnull=True), "title is empty"),
        (allow.where(owner__name=me.name), "owner.name is me.name"),
        (
            allow.signed_in & (allow.where(title="x") | allow.role("staff")),
            "signed in and (title is 'x' or has the role staff)",
        ),
        (~allow.where(title__startswith="x"), "title does not start with 'x'"),
        (allow.check(is_short) | ~allow.check(is_short), "is_short(record) or not is_short(record)"),
    ],
)
def test_a_rule_is_said_in_words(rule: Any, text: str) -> None:
    assert words(rule) == text
