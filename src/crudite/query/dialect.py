"""What differs between databases: how one spells the leaves of a query, and how it keeps values."""

from collections.abc import Sequence
from typing import Any, Protocol

from crudite.schema import FieldType, ResourceSchema
from crudite.types import Plain


class Dialect(Protocol):
    """How one database spells the leaves. Every argument that is SQL is a complete expression."""

    name: str

    def store(self, type: FieldType, value: Plain) -> Any:
        """What is bound for a plain value (for a tuple of them: for the list)."""
        ...

    def load(self, type: FieldType, value: Any) -> Plain:
        """The plain value of a column's."""
        ...

    def parameter(self, number: int, type: FieldType, is_list: bool = False) -> str:
        """Parameter `number`, from 1."""
        ...

    def inside(self, column: str, path: tuple[str, ...], type: FieldType) -> str:
        """The value at a path inside a JSON column, or, the path being empty, the column's own.

        NULL when it is not there, JSON null, beyond the largest double, or not of the type: a list where one
        is declared, an object for members or values.
        """
        ...

    def present(self, column: str, path: tuple[str, ...]) -> str:
        """Whether there is anything at the path, JSON null included."""
        ...

    def one_of(self, value: str, parameter: str, type: FieldType) -> str:
        """Whether the value is in the list that is bound to a parameter."""
        ...

    def holds(self, column: str, path: tuple[str, ...], item: FieldType, parameter: str) -> str:
        """Whether the JSON list at the path, or in the column itself, has the parameter's value in it."""
        ...

    def text_test(self, operator: str, value: str, parameter: str) -> str:
        """`contains icontains startswith istartswith endswith` by code point; `i` folds ASCII only."""
        ...

    def search(self, schema: ResourceSchema, alias: str, parameter: str) -> str:
        """Whether the words of a `Search`, bound to a parameter, are in the searched fields of the row `alias`."""
        ...

    def json_value(self, column: str, type: FieldType) -> str:
        """The column's value as an expression that a JSON object takes as it is."""
        ...

    def json_object(self, members: Sequence[tuple[str, str]]) -> str:
        """The text of a JSON object of names and `json_value` expressions, in order."""
        ...

    def json_without(self, json: str, members: Sequence[tuple[str, str]]) -> str:
        """The text of a JSON object without those members whose condition (SQL) is not true."""
        ...

    def json_nested(self, json: str) -> str:
        """The text of a JSON value, NULL for null, as an expression that a JSON object takes as it is."""
        ...

    def json_array(self, rows: str) -> str:
        """The text of a JSON array, without white space, of the texts `json` of a SELECT, in the order of its
        column `place`."""
        ...

    def total(self, value: str, type: FieldType) -> str:
        """The exact sum of the values of a group, as `load_total` takes it."""
        ...

    def load_total(self, type: FieldType, value: Any) -> int | float:
        """A sum: an integer, of a decimal in units of its last place; a float of a float. Without values it is 0."""
        ...

    def order(self, value: str, descending: bool, nullable: bool) -> str:
        """A term of ORDER BY, null lowest; not nullable: spelled so that a plain index serves it."""
        ...
