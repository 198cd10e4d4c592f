"""One write that has been decided, with what the steps after the commit need to know."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from crudite.changes import Write
from crudite.query.tree import Filter
from crudite.resources.declaring.definition import Definition
from crudite.resources.hooks import Hook
from crudite.resources.request import Request
from crudite.types import Key, PlainRecord


class InBody(NamedTuple):
    """Where the body of a request says what another record is to be: its values stand there, if `is_body`."""

    pointer: str
    is_body: bool = False


@dataclass(slots=True)
class Prepared:
    """One decided write, with what the steps after the commit need to know.

    `old` is the stored record that it was decided on, None when that was not read. `optimistic` says that
    `expect` is ours and not the client's, so that a miss means to decide again; `has_pins` says the same of `needs`,
    of whose records functions have been asked; `is_carried` says that it follows from a change of another record.
    `links` are what links of the record are to be set to; `entry` is its index among several that a request creates,
    `place` is there when it is made for another request's body, and `taken_from` when it takes a record out of a link:
    a condition that holds as long as it is in there.
    `answers` is there for the first write of a request that sets a whole: the keys and versions of the records that it
    leaves as they are, and the places of the writes of those that it makes, in the order of the answer. `last` is a
    write that comes after all others of the transaction.
    """

    write: Write
    definition: Definition
    request: Request
    old: PlainRecord | None = None
    optimistic: bool = False
    has_pins: bool = False
    is_carried: bool = False
    links: PlainRecord | None = None
    entry: int | None = None
    place: InBody | None = None
    taken_from: Filter | None = None
    answers: Sequence[tuple[Key, int] | int] = ()
    last: "Prepared | None" = None

    @property
    def after(self) -> Sequence[Hook]:
        """The hooks that run after its commit."""
        hooks = self.definition.hooks
        return hooks.get(("after", cast(Any, self.request.action)), ()) if hooks else ()
