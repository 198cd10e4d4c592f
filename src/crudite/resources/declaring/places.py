"""`Place(…)`: where a resource stands in URLs, as it is declared."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias

from crudite.query.tree import Filter

SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
"""What a word in a path is."""

Named: TypeAlias = str | Sequence[str]
"""The name of an action, or several."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path at which a resource stands: `Place("/posts/{post}/comments", only=("list", "create"))`.

    - `path`: words, and in braces the fields that lead up: the last is a reference of the resource itself, the one
      before it of the record that it points at. Of the records, those stand here that belong to all of them.
    - `only`, `exclude`: the actions that can be done here, or not: `list`, `read`, `create`, `replace`, `update`,
      `delete`, `history`, `restore`; and `subscribe`, `read_field`, `update_field`, which go along with `list`, `read`
      and `update` unless they are excluded.
    - `rules`: one rule, or one for each action, that must hold here besides the resource's own.
    - `parent`: what a body says of the record that the path names: nothing or the same (`"filled"`), or always the
      same (`"required"`).

    Nothing is checked before an `App` is made.
    """

    path: str
    _: KW_ONLY
    only: Named | None = None
    exclude: Named = ()
    rules: Filter | Mapping[str, Filter] | None = None
    parent: Literal["filled", "required"] = "filled"
