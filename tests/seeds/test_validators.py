"""What booster's predefined validators promised: by name, as annotations, and called directly."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from crudite import (
    App,
    DeclarationError,
    Field,
    OpenApi,
    Record,
    Resource,
    allow,
    before,
    validators,
)
from tests.flows.worlds import client_for, faults

LONG = "abcdefgh"


@pytest.mark.promises("B37", "B84", "B88")
@pytest.mark.only_on("sqlite", reason="a question to a value asks no store")
@pytest.mark.parametrize(
    ("rule", "passing", "failing"),
    [
        ("notblank", ["a", " a ", "0"], ["", " ", "\t\n\u2003", None, 5]),
        ("notpadded", ["a", "a b", "", "a\nb"], [" a", "a ", "\ta", "a\n", None]),
        ("email", ["a@b.org", "a.b+c@sub.example.museum"], ["a", "a@b", "@b.org", "a b@c.org", " a@b.org", None]),
        ("integer", [0, -3, 2.0, 10**15], [2.5, "2", True, None, float("nan")]),
        ("number", [0, 2.5, -1e9, 10**400], ["2", True, None, float("inf")]),
        ("float", [2.5, 2], ["2.5", False]),
        ("double", [2.5, 2], ["2.5", False]),
        ("alphanumeric", ["", "aZ09"], ["a b", "ä", "a_", "a\n", 5, None]),
        ("string", ["", "a"], [1, None, ["a"]]),
        ("boolean", [True, False], [0, "true", None]),
        ("array", [[], [1, "a"]], ["[]", {}, None]),
        ("integerArray", [[], [1, 2.0]], [["1"], [1.5], [True], 1]),
        ("stringArray", [[], ["a", "", "ä"]], [[1], "a"]),
        ("unique", [[1, "1", True, None], [{"a": 1}, {"a": 2}]], [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], "a"]),
        ("minimum:3", ["abc", [1, 2, 3], "äöü"], ["ab", [1], 3, None]),
        ("minimum:0", ["", []], [0, None]),
        ("maximum:2", ["ab", "", [1]], ["abc", [1, 2, 3], 1]),
        ("list:a,b, c", ["a", "b", "c"], ["d", "", "a,b", "A", None]),
        ("pattern:^[a-z]+:?$", ["ab", "ab:"], ["a1", "", None]),
        ("notpattern:[<>]", ["ab", ""], ["a<b", 5, None]),
        ("url", ["https://example.org", "http://a.b/c?d#e"], ["a.b", "ftp://a.b", "https://", "javascript:x", " http://a.b"]),
    ],
)  # fmt: skip
def test_a_predefined_validator_means_what_its_name_says(rule: str, passing: list[Any], failing: list[Any]) -> None:
    assert [value for value in passing if not validators.check(value, rule)] == []
    assert [value for value in failing if validators.check(value, rule)] == []


@pytest.mark.promises("B84")
@pytest.mark.only_on("sqlite", reason="a question to a value asks no store")
@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("notblnk", "there is no validator 'notblnk'; did you mean 'notblank'?"),
        ("xyz", "there is no validator 'xyz'; there are alphanumeric, array, "),
        ("minimum", "the validator minimum takes a parameter behind a colon, such as minimum:8"),
        ("minimum:x", "the validator minimum takes a number of characters or items, such as minimum:8"),
        ("notblank:1", "the validator notblank takes no parameter"),
        ("pattern:(", "the pattern cannot be read"),
        ("notpattern:(", "the pattern cannot be read"),
    ],
)
def test_a_name_that_no_validator_has_is_refused_with_the_nearest(rule: str, told: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(told)):
        validators.check("a", rule)


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
@pytest.mark.promises("B84", "B85")
def test_validators_that_can_never_be_asked_are_refused_all_at_once() -> None:
    def named_only(value: str, *, context: Any) -> str:
        return value

    class Wrong(Resource):
        a: str = Field(validate="notblnk")
        b: str = Field(validate="integer")
        c: list[str] = Field(validate=["minimum:1", "email"])
        d: date = Field(validate="notblank")
        e: str = Field(validate=5)  # type: ignore[call-overload]
        f: str = Field(validate=lambda: "x")
        g: str = Field(default=" ", validate="notpadded")
        h: str = Field(validate=validators.NotBlank)
        i: Annotated[int, validators.Minimum(3)]
        j: str = Field(validate=named_only)

    with pytest.raises(DeclarationError) as caught:
        App(Wrong)

    assert sorted(caught.value.faults) == [
        "Wrong.a: there is no validator 'notblnk'; did you mean 'notblank'?",
        "Wrong.b: the validator integer does not go with a text.",
        "Wrong.c: the validator email does not go with JSON.",
        "Wrong.d: the validator notblank does not go with date.",
        "Wrong.e: validate takes names, validators and functions, not 5.",
        "Wrong.f: the validator <lambda> takes the value, or the value and its context.",
        "Wrong.g: the default is not valid: Expected a text without whitespace at its start and end.",
        "Wrong.h: validate takes a validator, such as NotBlank(…), not its class.",
        "Wrong.i: the validator minimum:3 does not go with integer.",
        "Wrong.j: the validator named_only takes the value, or the value and its context.",
    ]


class Page(Record[int], rules=allow.everyone):
    title: Annotated[str, validators.NotPadded()] = Field(validate=["notblank", "minimum:8"])
    tags: list[Annotated[str, validators.NotBlank()]] = Field(default=[], validate=["unique", "maximum:2"])
    colour: str | None = Field(default=None, validate="list:red,green")
    slug: str = Field(default="a", validate=["pattern:^[a-z]", "pattern:[a-z]$"])
    anything: Any = Field(default=1, validate=validators.Integer())


@pytest.mark.promises("B84", "B87", "B88", "B89")
async def test_all_validators_that_fail_are_told_for_all_fields_with_the_rules_as_written() -> None:
    async with client_for(Page) as client:
        refused = await client.post(
            "/pages", {"title": " ", "tags": ["a", "", "a"], "colour": "blue", "anything": "1", "slug": "1"}
        )
        assert refused.status == 422
        told = sorted((one["pointer"], one["code"], one["rule"]) for one in refused.json["errors"])
        assert told == [
            ("/anything", "integer", "integer"),
            ("/colour", "one_of", "list:red,green"),
            ("/slug", "pattern", "pattern:[a-z]$"),
            ("/slug", "pattern", "pattern:^[a-z]"),
            ("/tags/1", "not_blank", "notblank"),
            ("/title", "minimum", "minimum:8"),
            ("/title", "not_blank", "notblank"),
            ("/title", "not_padded", "notpadded"),
        ]
        refused = await client.post("/pages", {"title": LONG, "tags": ["a", "b", "a"]})
        assert [one["rule"] for one in refused.json["errors"]] == ["unique", "maximum:2"]

        assert (await client.post("/pages", {"title": LONG, "colour": None})).status == 201  # null is the type's matter
        assert (await client.patch("/pages/1", {"tags": ["a"]})).status == 200  # what is not given is not asked
        assert faults(await client.patch("/pages/1", {"title": "a "})) == [
            ("/title", "minimum"),
            ("/title", "not_padded"),
        ]


@pytest.mark.promises("B84")
@pytest.mark.only_on("sqlite", reason="a description asks no store")
async def test_the_description_says_of_validators_what_json_schema_can() -> None:
    schemas = OpenApi().document(App(Page))["components"]["schemas"]
    given = schemas["PageCreate"]["properties"]

    assert given["title"] == {"type": "string", "minLength": 8, "pattern": r"\S", "not": {"pattern": r"^\s|\s$"}}
    assert (given["slug"]["pattern"], given["slug"]["allOf"]) == ("^[a-z]", [{"pattern": "[a-z]$"}])
    assert (given["tags"]["uniqueItems"], given["tags"]["maxItems"]) == (True, 2)
    assert given["tags"]["items"] == {"type": "string", "pattern": r"\S"}
    assert given["colour"]["anyOf"] == [{"enum": ["red", "green"], "type": "string"}, {"type": "null"}]


@dataclass(frozen=True)
class Shouted(validators.Validator):
    """A text in capital letters."""

    code = "shouted"
    subjects = ("text", "anything")
    rule = "shouted"
    expected = "a text in capital letters"

    def accepts(self, value: Any) -> bool:
        """Whether it is one."""
        return isinstance(value, str) and value == value.upper()


class Part(BaseModel):
    name: Annotated[str, validators.NotBlank(), validators.Maximum(3)]


@pytest.mark.promises("B84")
async def test_a_validator_class_of_the_application_and_one_inside_a_model_are_told_alike() -> None:
    class Sign(Record[int], rules=allow.everyone):
        text: str = Field(validate=[Shouted(), "minimum:2"])
        other: Annotated[str, Shouted()] = ""
        part: Part | None = None

    async with client_for(Sign) as client:
        refused = await client.post("/signs", {"text": "a", "other": "b", "part": {"name": "    "}})
        assert sorted((one["pointer"], one["rule"]) for one in refused.json["errors"]) == [
            ("/other", "shouted"), ("/part/name", "maximum:3"), ("/part/name", "notblank"),
            ("/text", "minimum:2"), ("/text", "shouted"),
        ]  # fmt: skip
        assert (await client.post("/signs", {"text": "AB", "part": {"name": "abc"}})).status == 201
        merged = await client.patch("/signs/1", {"part": {"name": "abcd"}})
        assert [(one["pointer"], one["rule"]) for one in merged.json["errors"]] == [("/part/name", "maximum:3")]


@pytest.mark.promises("B91")
async def test_what_is_stored_already_is_shown_though_a_new_validator_would_refuse_it() -> None:
    class Note(Record[int], rules=allow.everyone):
        text: str = Field(validate="minimum:3")

        @before("update")
        def leave(self) -> None:
            """A hook that changes nothing."""

    async with client_for(Note) as client:
        await client.post("/notes", {"text": "abc"})
        assert (await client.patch("/notes/1", {"text": "a"})).status == 422
        assert (await client.get("/notes/1")).json["text"] == "abc"
