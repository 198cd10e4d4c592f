"""Cursors of pages: sealed places in the order of a query, which only that query opens again."""

from collections.abc import Sequence
from typing import Any

import msgspec

from crudite.errors import Fault
from crudite.query.identity import identity_of_sort
from crudite.query.parse import WrittenQuery
from crudite.query.plan import Plan, Selection, SortKey
from crudite.query.resolve import Resolver
from crudite.tokens import Sealer


class PageCursors:
    """Seals and opens the cursors of one application."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def at(self, plan: Plan, values: tuple[Any, ...] | None, *, backwards: bool) -> str:
        """The cursor of a place in the order of a plan's sort, given the values of its keys there."""
        digest = self._digest(plan.selection, plan.sort)
        return self._sealer.seal(msgspec.msgpack.encode((digest, backwards, values)))

    def places(
        self, query: WrittenQuery, selection: Selection, sort: Sequence[SortKey], resolver: Resolver
    ) -> dict[str, Any]:
        """Where the cursors of a query say that its records start and end, as members of a plan. A cursor of another
        query is a fault."""
        found: dict[str, Any] = {}
        for name in ("cursor", "after", "until"):
            given = getattr(query, name)
            place = self._place(given, selection, sort) if given is not None else None
            if given is not None and place is None:
                detail = f"{name} does not belong to this query; leave it away to have no such bound."
                resolver.faults.append(Fault("bad_cursor", detail, parameter=name))
            elif place is not None and name == "cursor":
                found.update(start=place[1], backwards=place[0])
            elif place is not None:
                found["start" if name == "after" else "until"] = place[1]
        if query.cursor is not None and (query.after is not None or query.until is not None):
            resolver.faults.append(Fault("bad_cursor", "cursor goes with neither after nor until.", parameter="cursor"))
        return found

    def _place(self, cursor: str, selection: Selection, sort: Sequence[SortKey]) -> tuple[bool, tuple[Any, ...]] | None:
        """What a cursor holds: whether it goes backwards, and the values of the sort keys there."""
        try:
            content = self._sealer.open(cursor) or b""
            digest, backwards, values = msgspec.msgpack.decode(content, type=tuple[str, bool, list[Any]])
        except msgspec.DecodeError:
            return None
        return (backwards, tuple(values)) if digest == self._digest(selection, sort) else None

    def _digest(self, selection: Selection, sort: Sequence[SortKey]) -> str:
        return self._sealer.digest(f"{selection.schema.name} {identity_of_sort(sort)}")[:12]
