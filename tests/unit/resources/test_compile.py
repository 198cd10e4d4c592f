"""Declarations become definitions; whatever is wrong with them is said at once, in sentences that help."""

import enum
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from crudite.errors import DeclarationError
from crudite.messages import ACTIONS
from crudite.query.tree import EVERYTHING, NOTHING
from crudite.resources.declaring.compile import compile_resources
from crudite.resources.declaring.declare import Record, Resource, after, around, before
from crudite.resources.declaring.fields import BigInt, Email, Field, Many, Parent, Password, Ref
from crudite.resources.declaring.places import Place
from crudite.rules import allow, me, now, today
from crudite.schema import NO_DEFAULT, FieldType, Link, Reference
from tests.unit.resources.shop import Account, Country, Everything, Membership, Project, Task

EXAMPLE = [Account, Project, Membership, Task]


def faults_of(*classes: Any) -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        compile_resources(classes, open=True)
    return list(caught.value.faults)


def test_the_example_of_the_documentation_compiles() -> None:
    app = compile_resources(EXAMPLE, open=False)

    assert [definition.path for definition in app] == ["accounts", "projects", "memberships", "tasks"]
    assert list(app[Task].schema.fields) == [
        "id", "project", "title", "status", "due", "version", "created_at", "updated_at"
    ]  # fmt: skip
    assert app[Task].parents == ("project",)
    assert app[Task].schema.unique == (("project", "title"),)
    assert app[Task].schema.fields["project"].reference == Reference("Project", parent=True)
    assert app[Project].links == {"members": Link("members", "Membership", "project")}
    assert app[Project].immutable == {"owner"}
    assert app[Account].passwords == ("password",)
    assert app[Account].schema.fields["password"].secret
    assert app[Account].schema.fields["email"].quiet
    assert set(app[Account].field_read) == {"email"}
    assert set(app[Account].field_write) == {"roles"}
    assert (app[Task].limit, app[Task].max_limit) == (50, 200)


def test_every_type_is_described_for_the_store() -> None:
    fields = compile_resources([Country, Everything], open=True)[Everything].schema.fields

    assert fields["id"].type == FieldType("integer")
    assert fields["huge"].type.kind == "bigint"
    assert fields["price"].type == FieldType("decimal", places=2)
    assert fields["level"].type.choices == (1, 2, 3)
    assert fields["colour"].type.choices == ("red", "green")
    assert fields["size"].type.choices == (1, 2)
    assert fields["country"].type == FieldType("text")
    assert fields["country"].nullable
    assert fields["address"].type.members == {
        "street": FieldType("text"), "town": FieldType("text"), "since": FieldType("date")
    }  # fmt: skip
    assert fields["tags"].type.item == FieldType("text")
    assert fields["counts"].type.values == FieldType("integer")
    assert fields["anything"].type == FieldType("json")
    assert fields["note"].default is None
    assert fields["home"].nullable
    assert fields["text"].default is NO_DEFAULT


def test_rules_fall_back_from_the_special_to_the_general() -> None:
    class One(Resource, rules={"read": allow.signed_in, "write": allow.everyone, "update": allow.nobody}):
        name: str

    rules = compile_resources([One], open=False)[One].rules

    assert rules["list"] == rules["read"] == allow.signed_in
    assert rules["create"] == rules["delete"] == EVERYTHING
    assert rules["replace"] == rules["update"] == NOTHING


def test_a_missing_rule_is_nobody_also_in_development() -> None:
    class One(Resource, rules={"read": allow.everyone}):
        name: str

    assert compile_resources([One], open=True)[One].rules["create"] == NOTHING


def test_a_resource_without_rules_is_open_only_in_development() -> None:
    class One(Resource):
        name: str

    assert compile_resources([One], open=True)[One].rules == dict.fromkeys(ACTIONS, EVERYTHING)
    assert compile_resources([One], open=False)[One].rules == dict.fromkeys(ACTIONS, NOTHING)


def test_classes_in_functions_name_each_other_in_any_order() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    class Book(Resource):
        author: "Ref[Author]"
        colour: "Colour"
        sequel: Ref["Book | None"] = Field(default=None)

    class Author(Resource):
        name: str
        books: Many["Book"]

    app = compile_resources([Book, Author], open=True)

    assert app[Book].schema.fields["author"].reference == Reference("Author")
    assert app[Book].schema.fields["colour"].type.choices == ("red",)
    assert app[Book].schema.fields["sequel"].nullable
    assert app[Author].links["books"] == Link("books", "Book", "author")


def test_two_applications_may_have_resources_of_one_name() -> None:
    def make(kind: Any) -> tuple[type[Any], type[Any]]:
        class Account(Record[kind]):
            name: str

        class Order(Resource):
            buyer: "Ref[Account]"

        return Account, Order

    first, second = make(str), make(int)

    assert compile_resources(first, open=True)[first[1]].schema.fields["buyer"].type == FieldType("text")
    assert compile_resources(second, open=True)[second[1]].schema.fields["buyer"].type == FieldType("integer")


def test_fields_options_rules_and_hooks_are_inherited() -> None:
    class Named(Resource, rules=allow.signed_in, limit=10):
        name: str
        kind: str = "plain"

        @before("create")
        def check(self) -> None: ...

        @before("create")
        def tidy(self) -> None: ...

    class Shelf(Named, path="shelves"):
        kind: str = "wood"
        height: int

        @before("create", "update")
        def tidy(self) -> None: ...

        @around("list")
        async def listed(self, request: Any, next: Any) -> None: ...

        @after("delete")
        def gone(self) -> None: ...

    definition = compile_resources([Shelf], open=False)[Shelf]

    assert list(definition.schema.fields)[1:4] == ["name", "kind", "height"]
    assert definition.schema.fields["kind"].default == "wood"
    assert (definition.path, definition.limit) == ("shelves", 10)
    assert definition.rules["read"] == allow.signed_in
    assert {place: [hook.function.__name__ for hook in hooks] for place, hooks in definition.hooks.items()} == {
        ("before", "create"): ["check", "tidy"],
        ("before", "update"): ["tidy"],
        ("around", "list"): ["listed"],
        ("after", "delete"): ["gone"],
    }


def test_private_fields_are_shown_to_nobody_and_secret_ones_never() -> None:
    staff = allow.role("staff")

    class One(Resource):
        cost: int = Field(visible="private")
        margin: int = Field(visible="private", read=staff)
        token: str = Field(visible="secret")

    definition = compile_resources([One], open=True)[One]

    assert definition.field_read["cost"] == NOTHING
    assert definition.field_read["margin"] == staff
    assert (definition.schema.fields["cost"].quiet, definition.schema.fields["cost"].secret) == (True, False)
    assert definition.schema.fields["token"].secret
    assert "token" not in definition.field_read


def test_references_say_what_happens_when_their_target_goes() -> None:
    class One(Resource):
        first: Ref[Country] = Field(on_delete="cascade")
        second: Ref[Country | None] = Field(on_delete="clear")
        third: Ref[Country] = Field(checked=False)

    fields = compile_resources([One, Country], open=True)[One].schema.fields

    assert fields["first"].reference == Reference("Country", on_delete="cascade")
    assert fields["second"].reference == Reference("Country", on_delete="clear")
    assert fields["third"].reference == Reference("Country", enforced=False)


def test_every_fault_of_every_class_is_said_at_once() -> None:
    class Widget(Resource, rules={"raed": allow.everyone, "write": allow.where(nmae="x")}, unique=[("naem", "size")]):
        name: str
        size: int = "big"  # type: ignore[assignment]
        a__b: str
        where: str  # type: ignore[assignment]
        data: bytes
        price: Decimal
        owner: Ref[Country]

    class Gadget(Resource, path="widgets", only_nested=True, limit=500, max_limit=100):
        colour: "Zzyzx"  # type: ignore[name-defined]  # noqa: F821

        @before("remove")  # type: ignore[arg-type]
        def gone(self) -> None: ...

        @after("list")
        def seen(self) -> None: ...

        @before()
        def mailed(self, request: Any, old: Any, mailer: str) -> None: ...

        @after("create")
        def posted(self, mailer: Mailer) -> None: ...

    faults = faults_of(Widget, Gadget)

    assert faults == [
        "Widget.a__b: two underscores join the names of a path, so a field's name cannot hold them.",
        "Widget.where: `where` is the one reserved name, since Task.where(…) makes a query; call the field otherwise.",
        "Widget.data: bytes are not a type of a field: use str, with base64 for what is not text.",
        "Widget.price: a Decimal says how many decimal places it has: Field(decimal_places=2).",
        "Widget.owner: it points at Country, which is not given to App(…).",
        "Widget.size: the default is not valid: Input should be a valid integer.",
        "Widget: unique names 'naem', which is no field; did you mean 'name'?",
        "Widget: rules have no 'raed'; did you mean 'read'?",
        "Widget: rules['write']: Widget has no field 'nmae'; did you mean 'name'?",
        "Gadget.mailed: nothing is given for 'mailer': a hook takes the record, the request and the old record (or, "
        "around, what comes next), and what App(provide=…) has a type for.",
        "Gadget.posted: nothing is given for 'mailer': a hook takes the record, the request and the old record (or, "
        "around, what comes next), and what App(provide=…) has a type for.",
        "Gadget.colour: there is no 'Zzyzx'.",
        "Gadget.gone: there is no action 'remove'; there are create, replace, update, delete.",
        "Gadget.seen: @after is for what writes; to list is @around('list')'s.",
        "Widget and Gadget both own the path /widgets: give one of them path=….",
        "Gadget: only_nested needs a parent, such as project: Parent[Project].",
        "Gadget: limit=500 lies between 1 and max_limit, which is 100.",
    ]


class Mailer:
    """What no application provides."""


class Other(Resource):
    name: str


async def later() -> str:
    return "later"


class Model(BaseModel):
    secret: Password


@pytest.mark.parametrize(
    ("annotation", "options", "says"),
    [
        (int | str, {}, "one type, or one type `| None`"),
        (tuple[int, int], {}, "use list"),
        (set[str], {}, "use list"),
        (object(), {}, "not a type of a field"),
        (Other, {}, "not a type of a field: use Ref[Other], or Many['Other'] for those that point here"),
        (list[Other], {}, "use Ref[Other], or Many['Other'] for those that point here"),
        (Ref, {}, "it says where it points, such as Ref[Account]"),
        (dict[int, str], {}, "the names in a dictionary are texts"),
        (list[Ref[Other]], {}, "a reference is a field of its own"),
        (Model, {}, "a Password is a field of its own"),
        (enum.Enum("Mixed", {"A": 1, "B": "b"}), {}, "all texts, or all integers"),
        (str, {"gt": 3}, "gt does not go with a text"),
        (int, {"max_length": 3}, "max_length does not go with"),
        (bool, {"ge": 1}, "ge does not go with"),
        (str, {"decimal_places": 2}, "decimal_places does not go with a text"),
        (str, {"pattern": "("}, "pattern"),
        (str, {"on_delete": "cascade"}, "for references only"),
        (str, {"by": "x"}, "for Many and One only"),
        (Ref[Other], {"on_delete": "clear"}, "must allow null"),
        (Ref[int], {}, "no resource"),
        (str, {"visible": "hidden"}, "visible is"),
        (str, {"visible": "secret", "read": allow.everyone}, "nobody reads it"),
        (Password, {"default": "x"}, "a Password has no default but null"),
        (str, {"default": "x", "default_factory": str}, "give one"),
        (str, {"default_factory": "x"}, "default_factory is a plain function without arguments"),
        (str, {"default_factory": lambda old: old}, "default_factory is a plain function without arguments"),
        (str, {"default_factory": later}, "default_factory is a plain function without arguments"),
        (str, {"default": None}, "the default is not valid"),
        (str, {"min_length": 5, "max_length": 3}, "nothing passes min_length=5 and max_length=3"),
        (str, {"min_length": "5"}, "min_length is a whole number, not '5'"),
        (str, {"pattern": 5}, "the pattern is a text, not 5"),
        (int, {"gt": 3, "le": 3}, "nothing passes gt=3 and le=3"),
        (int, {"ge": "3"}, "ge is a number, not '3'"),
        (date, {"ge": date(2030, 1, 1), "lt": date(2029, 1, 1)}, "nothing passes ge="),
        (str, {"immutable": "yes"}, "immutable is True or False, not 'yes'"),
        (str, {"default": "", "min_length": 1}, "the default is not valid"),
        (date, {"default": now}, "the default now does not go with"),
        (datetime, {"default": today}, "the default today does not go with"),
        (dict, {"unique": True}, "neither unique nor indexed"),
        (str, {"read": True}, "is no rule"),
        (str, {"write": allow.where(nothing=1)}, "no field 'nothing'"),
        (Many["Other"], {}, "no field of Other points here"),
        (Many["Nobody"], {}, "there is no 'Nobody'"),
    ],
)
def test_a_wrong_field_is_refused_with_a_hint(annotation: Any, options: dict[str, Any], says: str) -> None:
    cls = type(
        "One",
        (Resource,),
        {"__annotations__": {"it": annotation}, "it": Field(**options), "__module__": __name__},
    )

    (fault,) = faults_of(cls, Other)

    assert fault.startswith("One")
    assert says in fault


def test_what_goes_along_with_an_action_is_not_named_without_it() -> None:
    class One(Resource, only=("read", "update_field", "subscribe"), places=["/ones", Place("/live", only="subscribe")]):
        name: str

    assert faults_of(One) == [
        "One: only names 'update_field', which goes along with 'update': name that, too.",
        "One: the place '/live': only names 'subscribe', which goes along with 'list' or 'read': name that, too.",
        "One: the place '/live' cannot be reached: no action is left there.",
    ]


def test_limits_between_which_one_value_lies_are_kept() -> None:
    class One(Record[int]):
        three: int = Field(ge=3, le=3)
        pair: str = Field(min_length=2, max_length=2)

    assert set(compile_resources([One], open=True)[One].schema.fields) >= {"three", "pair"}


def test_names_that_a_database_or_a_record_takes_for_others_are_refused() -> None:
    class One(Record[int], live="no"):  # type: ignore[arg-type]
        total: int = 0
        Total: int = 0
        ID: str = ""

        def where(self) -> None: ...  # type: ignore[override]

        @property
        def version(self) -> int: ...  # type: ignore[override, empty-body]

    assert faults_of(One) == [
        "One.version: every record has this; call it otherwise.",
        "One.where: every record has this; call it otherwise.",
        "One: live is True or False, not 'no'.",
        "One.Total: it differs from 'total' in capitals alone, which a database does not tell apart.",
        "One.ID: it differs from 'id' in capitals alone, which a database does not tell apart.",
    ]


def test_a_link_between_which_several_references_lead_must_be_named() -> None:
    class Person(Resource):
        sent: Many["Letter"]
        got: Many["Letter"] = Field(by="reciever")
        both: Many["Letter"] = Field(by="sender")

    class Letter(Resource):
        sender: Ref[Person]
        receiver: Ref[Person]

    assert faults_of(Person, Letter) == [
        "Person.sent: sender and receiver of Letter point here: say Field(by='sender').",
        "Person.got: Letter.reciever does not point here; did you mean 'receiver'?",
    ]


def test_a_class_that_is_no_resource_is_refused() -> None:
    class One(Resource):
        name: str

    assert faults_of(One, One, int)[0] == "One is given twice."
    assert "is no resource" in faults_of(int)[0]
    assert "says which type its key has" in faults_of(type("Two", (Record,), {"__annotations__": {"a": str}}))[0]


def test_what_stands_in_a_class_without_being_a_field_is_left_alone() -> None:
    class One(Resource):
        LIMIT: ClassVar[int] = 3
        name: str

        @property
        def shout(self) -> str:
            return self.name.upper()

    definition = compile_resources([One], open=True)[One]

    assert "LIMIT" not in definition.schema.fields
    assert One(name="x").shout == "X"
    assert One.LIMIT == 3


def test_a_field_without_annotation_is_not_overlooked() -> None:
    class One(Resource):
        name = Field(min_length=1)

    assert faults_of(One) == ["One.name: a field needs an annotation, such as name: str."]


def test_a_model_may_not_take_the_name_of_a_resource() -> None:
    class OtherCreate(BaseModel):
        name: str

    class Holder(Resource):
        it: OtherCreate

    assert faults_of(Holder, Other) == [
        "Holder.it: OtherCreate is the name of a resource or its body too; rename the model."
    ]


def test_a_wrong_field_is_not_said_again_for_every_rule_that_names_it() -> None:
    class One(Resource, rules=allow.where(it="x")):
        it: bytes

    assert len(faults_of(One)) == 1


def test_parents_make_a_nested_path() -> None:
    class House(Resource):
        name: str

    class Room(Resource, only_nested=True):
        house: Parent[House]

    definition = compile_resources([House, Room], open=True)[Room]

    assert definition.only_nested
    assert definition.references == (("house", Reference("House", parent=True)),)


def test_symbols_as_defaults_need_somebody_to_ask() -> None:
    class One(Resource):
        owner: Ref[Other] = Field(default=me.id)
        at: datetime = Field(default=now)
        day: date = Field(default=today)
        number: BigInt = 5

    definition = compile_resources([One, Other], open=True)[One]

    assert set(definition.defaults) == {"owner", "at", "day"}
    assert definition.static_defaults == {"number": "5"}
    assert definition.schema.fields["at"].default is NO_DEFAULT
    assert datetime.now(UTC) is not None


def test_what_is_searched_are_fields_of_text_that_every_reader_of_the_record_may_read() -> None:
    class Page(Resource, rules=allow.everyone, search=("title", "notes")):
        title: str
        notes: str | None = None

    class Sheet(Page):
        size: int = 0

    app = compile_resources([Page, Sheet, Task, Account, Project, Membership], open=False)

    assert [app[cls].schema.search for cls in (Page, Sheet, Task)] == [("title", "notes"), ("title", "notes"), ()]


def test_every_field_that_cannot_be_searched_is_named_with_the_reason() -> None:
    class Page(
        Resource,
        rules=allow.everyone,
        search=("titel", "salary", "hash", "word", "size", "tags", "owner", "draft", "title"),
    ):
        title: str
        salary: str = Field(default="", read=allow.role("boss"))
        draft: str = Field(default="", visible="private")
        hash: str = Field(default="", visible="secret")
        word: Password
        size: int = 0
        tags: list[str] = Field(default_factory=list)
        owner: Ref[Country] | None = None

    class Sheet(Resource, rules=allow.everyone, search="title"):
        title: str

    unread = "which not everybody may read who may read the record: what is found would tell what is in it."
    assert faults_of(Page, Sheet, Country) == [
        "Page: search names 'titel', which is no field; did you mean 'title'?",
        f"Page: search names 'salary', {unread}",
        "Page: search names 'hash', which is secret.",
        "Page: search names 'word', which is secret.",
        "Page: search names 'size', which is no text.",
        "Page: search names 'tags', which is no text.",
        "Page: search names 'owner', which is no text.",
        f"Page: search names 'draft', {unread}",
        "Sheet: search holds names of fields, such as search=('title',).",
    ]


def test_a_class_keyword_that_there_is_not_is_named_with_the_nearest() -> None:
    class Post(Record[str], pathh="x", zzz=3):  # type: ignore[arg-type]
        title: str

    every = (
        "There are exclude, history, limit, live, max_limit, only, only_nested, path, places, renamed_from, rules, "
        "search, soft_delete, unique."
    )
    assert faults_of(Post) == [
        f"Post: there is no class keyword 'pathh'; did you mean 'path'? {every}",
        f"Post: there is no class keyword 'zzz'. {every}",
    ]


@pytest.mark.parametrize(
    ("key", "named"), [(BigInt, "BigInt"), (Email, "Email"), (int | None, "int | None"), (float, "float")], ids=str
)
def test_what_is_no_type_of_a_key_is_named_as_it_was_written(key: Any, named: str) -> None:
    keyed: Any = Record[key]

    class Thing(keyed):
        name: str = ""

    assert faults_of(Thing) == [f"Thing.id: a key is a UUID, str or int, not {named}."]
