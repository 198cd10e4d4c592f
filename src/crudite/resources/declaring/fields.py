"""What a declaration says of one field: `Field(…)`, references to other resources, and the types that are our
own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypeAlias, TypeVar, overload
from uuid import UUID

from crudite.query.tree import Filter
from crudite.resources.declaring.field_validators import Validate

if TYPE_CHECKING:
    # `members: Many["Membership"]` is no argument of the constructor, as class variables are none.
    from typing import ClassVar as Many
    from typing import ClassVar as One

__all__ = [
    "ABSENT", "BigInt", "Cascade", "Email", "Field", "FieldOptions", "Many", "ManyOf", "OnDelete", "One", "Parent",
    "Password", "Ref", "Special", "Unique", "Visibility",
]  # fmt: skip

K = TypeVar("K")
K_co = TypeVar("K_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)

Visibility: TypeAlias = Literal["public", "private", "secret"]
OnDelete: TypeAlias = Literal["restrict", "cascade", "clear", "force"]


class _Absent:
    def __repr__(self) -> str:
        return "<absent>"


ABSENT: Any = _Absent()
"""Stands where nothing was given. Compare with `is`: a default may be a symbol, which refuses `==`."""


class Unique(tuple[str, ...]):
    """A group of fields whose values together occur once: `unique=[Unique("first_name", "last_name", nulls="alike")]`.

    As in SQL, null is no value, so that records with a null in the group may be as many as there want to be; with
    `nulls="alike"` null is a value like any other. The group is kept by an index of the database.
    """

    nulls: Literal["distinct", "alike"]

    def __new__(cls, *fields: str, nulls: Literal["distinct", "alike"] = "distinct") -> "Unique":
        made = super().__new__(cls, fields)
        made.nulls = nulls
        return made


@dataclass(frozen=True, slots=True, init=False)
class Cascade:
    """Carries a field that changes on to the records that point here: `Cascade("comments", when="archived")`.

    `links` are names of links (`comments: Many["Comment"]`); the other resource has a field of the same name and type,
    which gets the same value in the same transaction, and carries it on in turn if it says so. `when` is a value, or a
    list of values: only if it becomes one of them; without it, whatever it becomes. At most 1000 records are changed
    with one; when there are more, all is refused (409).
    """

    links: tuple[str, ...]
    when: Any

    def __init__(self, *links: str, when: Any = ABSENT) -> None:
        object.__setattr__(self, "links", links)
        object.__setattr__(self, "when", when)


@dataclass(frozen=True, slots=True, eq=False)
class FieldOptions:
    """What `Field(…)` was given, unchecked; `constraints` holds those of the limits on values that were
    given."""

    default: Any = ABSENT
    default_factory: Callable[[], Any] | None = None
    constraints: Mapping[str, Any] = field(default_factory=dict)
    decimal_places: int | None = None
    unique: bool = False
    index: bool = False
    immutable: bool = False
    read: Filter | None = None
    write: Filter | None = None
    visible: Visibility = "public"
    renamed_from: str | None = None
    checked: bool = True
    on_delete: OnDelete = "restrict"
    by: str | None = None
    through: Any = None
    to: str | None = None
    settable: bool = False
    include: bool = True
    validate: Validate | Sequence[Validate] | None = None
    required_on: Literal["replace"] | None = None
    default_filter: Any = ABSENT
    clear_filter: Any = "*"
    cascade: Cascade | None = None
    title: str | None = None
    description: str | None = None
    examples: tuple[Any, ...] = ()


@overload
def Field(*, by: str, settable: bool = False, include: bool = True, init: Literal[False] = False) -> Any: ...
@overload
def Field(
    *,
    through: str | type[Any],
    by: str | None = None,
    to: str | None = None,
    settable: bool = False,
    include: bool = True,
    init: Literal[False] = False,
) -> Any: ...
@overload
def Field(*, settable: Literal[True], include: bool = True, init: Literal[False] = False) -> Any: ...
@overload
def Field(
    *,
    default: Any = ABSENT,
    default_factory: Callable[[], Any] | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    gt: Any = None,
    ge: Any = None,
    lt: Any = None,
    le: Any = None,
    multiple_of: Any = None,
    decimal_places: int | None = None,
    unique: bool = False,
    index: bool = False,
    immutable: bool = False,
    read: Filter | None = None,
    write: Filter | None = None,
    visible: Visibility = "public",
    renamed_from: str | None = None,
    checked: bool = True,
    on_delete: OnDelete = "restrict",
    include: bool = True,
    validate: Validate | Sequence[Validate] | None = None,
    required_on: Literal["replace"] | None = None,
    default_filter: Any = ABSENT,
    clear_filter: Any = "*",
    cascade: Cascade | None = None,
    title: str | None = None,
    description: str | None = None,
    examples: Iterable[Any] = (),
    init: bool = True,
) -> Any: ...
def Field(  # noqa: N802
    *,
    default: Any = ABSENT,
    default_factory: Callable[[], Any] | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    gt: Any = None,
    ge: Any = None,
    lt: Any = None,
    le: Any = None,
    multiple_of: Any = None,
    decimal_places: int | None = None,
    unique: bool = False,
    index: bool = False,
    immutable: bool = False,
    read: Filter | None = None,
    write: Filter | None = None,
    visible: Visibility = "public",
    renamed_from: str | None = None,
    checked: bool = True,
    on_delete: OnDelete = "restrict",
    by: str | None = None,
    through: str | type[Any] | None = None,
    to: str | None = None,
    settable: bool = False,
    include: bool = True,
    validate: Validate | Sequence[Validate] | None = None,
    required_on: Literal["replace"] | None = None,
    default_filter: Any = ABSENT,
    clear_filter: Any = "*",
    cascade: Cascade | None = None,
    title: str | None = None,
    description: str | None = None,
    examples: Iterable[Any] = (),
    init: bool = True,
) -> Any:
    """More about a field than its type: `title: str = Field(min_length=1, max_length=200)`.

    - `default`: a plain value (every record gets its own copy), a function without arguments, or a symbol
      (`me.id`, `now`, `today`); `default_factory`: a function without arguments.
    - `min_length`, `max_length` (characters, or items of a list), `pattern` (a regular expression that must
      be found in the text), `gt`, `ge`, `lt`, `le`, `multiple_of`; `decimal_places` of a `Decimal`.
    - `unique`: no two records have the same value; `index`: records are often searched by it.
    - `validate`: a predefined validator by name (`"notblank"`, `["notpadded", "minimum:8"]`) or as a value of
      `crudite.validators`, or functions: of a value, or of a value and its `FieldContext`, that return the value to
      store or raise ValueError with what is wrong. All of a list must pass.
    - `required_on="replace"`: a field with a default that may be left out when a record is created, but not when it is
      replaced.
    - `default_filter`: a value, or a list of values, that the records of a list have unless it is asked for other ones;
      `clear_filter` is the value that asks for all of them (`?status=*`).
    - `cascade`: to which records that point here a change of the field is carried on; see `Cascade`.
    - `immutable`: can be given only when a record is created.
    - `read`, `write`: rules, for which records an actor may see or set this field.
    - `visible`: `"private"` shows it to nobody unless `read` says so; `"secret"` shows it to nobody, ever.
    - `renamed_from`: the field's former name, so that its values are kept.
    - For a reference: `checked=False` lets it point at nothing; `on_delete` says what happens to this
      record when the one it points at is deleted: `"restrict"` refuses that with 409, `"cascade"` deletes this one too,
      `"clear"` makes the reference null, `"force"` refuses it unless it is asked for with `force=true`, and then
      cascades.
      `include=False`: queries cannot ask for the record that it points at.
    - For `Many` and `One`: `by` names the field of the other resource that points here, when there are several.
      `through` names the resource that joins this one and the other, and `to` its field that points at the other, when
      there are several. `settable=True`: what the link leads to can be given as keys when this record is written.
      `include=False`: queries cannot ask for it.
    - `title`, `description`, `examples`: for the documentation of the interface.
    - `init` is for type checkers only. Pyright takes a `Many` or `One` without any `Field(…)` for an argument of the
      constructor; with `by` it does not.
    """
    given = {
        "min_length": min_length, "max_length": max_length, "pattern": pattern, "gt": gt, "ge": ge, "lt": lt,
        "le": le, "multiple_of": multiple_of,
    }  # fmt: skip
    return FieldOptions(
        default=default, default_factory=default_factory, decimal_places=decimal_places, unique=unique,
        index=index, immutable=immutable, read=read, write=write, visible=visible, renamed_from=renamed_from,
        checked=checked,
        on_delete=on_delete, by=by, through=through, to=to, settable=settable, include=include, validate=validate,
        required_on=required_on, default_filter=default_filter, clear_filter=clear_filter, cascade=cascade, title=title,
        description=description, examples=tuple(examples),
        constraints={name: value for name, value in given.items() if value is not None},
    )  # fmt: skip


class Keyed(Protocol[K_co]):
    """Whatever has a key."""

    @property
    def id(self) -> K_co: ...


class Ref(Generic[T_co]):
    """A field that holds the key of a record of another resource: `owner: Ref[Account]`.

    Reading gives the key; a key or a record can be set. `Ref[Account | None]`, or `Ref[Account] | None`, may
    be null; type checkers let the first be given in the constructor as well.
    """

    @overload
    def __get__(self: "Ref[Keyed[K]]", instance: object, owner: Any) -> K: ...
    @overload
    def __get__(self: "Ref[Keyed[K] | None]", instance: object, owner: Any) -> K | None: ...
    def __get__(self, instance: object, owner: Any) -> Any:
        raise TypeError("Ref is for annotations only")

    def __set__(self, instance: object, value: T_co | UUID | str | int) -> None:
        raise TypeError("Ref is for annotations only")


class Parent(Ref[T_co]):
    """A reference to the record that this one belongs to, which gives the nested path: `project:
    Parent[Project]` makes `/projects/{project}/tasks`."""


@dataclass(frozen=True, slots=True)
class ManyOf:
    """A declared link backwards: the records of `target` whose field `by` points here, at most one if it `is_one`."""

    target: Any
    by: str | None = None
    is_one: bool = False


if not TYPE_CHECKING:

    class Many:
        """The records of another resource that point here, for rules and queries: `members:
        Many["Membership"]`.

        It is no field: nothing is stored, and it is no argument of the constructor. When several fields of
        the other resource point here, `Field(by="project")` names the one that is meant; so does
        `Many["Membership", "project"]`, which type checkers do not accept.
        """

        def __class_getitem__(cls, given: Any) -> ManyOf:
            return ManyOf(*given) if isinstance(given, tuple) else ManyOf(given)

    class One:
        """The one record of another resource that points here, for rules and queries: `profile: One["Profile"]`.

        The field that points here is unique there. Else it is as `Many`: no field, and no argument of the constructor.
        """

        def __class_getitem__(cls, given: Any) -> ManyOf:
            return ManyOf(given, is_one=True)


@dataclass(frozen=True, slots=True)
class Special:
    """Marks the types of our own inside `Annotated`."""

    name: Literal["email", "password", "bigint"]


Email: TypeAlias = Annotated[str, Special("email")]
"""An e-mail address; its domain is kept in lower case. Whether it exists is not looked up."""

Password: TypeAlias = Annotated[str, Special("password")]
"""A password: hashed with argon2 on the way in, never on the way out. At least 8 characters, unless
`Field(min_length=…)` says otherwise."""

BigInt: TypeAlias = Annotated[int, Special("bigint")]
"""An integer of 64 bits, which travels as text, since JavaScript keeps only 53."""
