"""Windows: the first records of a sorted query, kept by their keys with some more behind them.

    shown (L)                  buffer (up to b)                    beyond: not known
    ┌─────────────────────────┬────────────────────────────────┐
    │ k1  k2  k3  …           │ …                              │  bound
    └─────────────────────────┴────────────────────────────────┘

Every record up to the `bound` is among the entries; none behind it is. A change moves keys in and out; the records
that move up from the buffer are read by their keys. When less than L are left, and there are records beyond the
bound, one read fills it up again. `b` is L, but at least 8.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import msgspec

from crudite.changes import Change
from crudite.live.exact import KeptGroup
from crudite.live.frames import Changed, Frame
from crudite.live.groups import Snapshot
from crudite.live.keysets import Conditions
from crudite.live.tiers import is_ordered
from crudite.messages import LiveQuery
from crudite.query.order import compile_order
from crudite.query.plan import Mask, Plan, Selection
from crudite.stores.base import Page
from crudite.types import Key, Plain, PlainRecord

_decode = msgspec.json.Decoder(PlainRecord).decode
_encode = msgspec.json.Encoder().encode
_LEAST_BUFFER = 8


class Entry(NamedTuple):
    """A record of a window: where it stands, which it is, and the plain values of its sort keys."""

    order: Any
    key: Key
    values: tuple[Plain, ...]


class Bound(NamedTuple):
    """The last place of which all is known, and the plain values there."""

    order: Any
    values: tuple[Plain, ...]


Touched: TypeAlias = Mapping[Key, tuple[PlainRecord | None, PlainRecord | None]]
"""Records by key, as they were and as they are."""


@dataclass(slots=True)
class Draft:
    """What a span makes of a window, before the records that it needs have been read.

    `touched` are the images of the records that the span concerns; `refill` and `rows` are what to read.
    """

    entries: list[Entry]
    bound: Bound | None
    touched: dict[Key, tuple[PlainRecord | None, PlainRecord | None]] = field(default_factory=dict)
    refill: Plan | None = None
    rows: Plan | None = None

    @property
    def plans(self) -> list[Plan]:
        """What to read, at the span's new end."""
        return [plan for plan in (self.refill, self.rows) if plan is not None]


class WindowGroup(KeptGroup):
    """A group of the `window` tier. Without `is_loaded` its entries are not known."""

    def __init__(self, id: str, key: str, query: LiveQuery, conditions: Conditions) -> None:
        super().__init__(id, key, query, conditions)
        plan = query.plan
        assert plan.limit is not None
        self.is_loaded = False
        self._limit = plan.limit
        self._room = plan.limit + max(_LEAST_BUFFER, plan.limit)
        self._entries: list[Entry] = []
        self._bound: Bound | None = None
        self._names = tuple(key.path.field.name for key in plan.sort)
        self._order: Callable[[PlainRecord], Any] = compile_order(plan.sort)
        self._is_ordered = is_ordered(plan)
        # Whatever is read tells its place too; what of that is not to be shown is taken out again.
        self._hidden = frozenset(self._names) - set(plan.selection.mask.always)
        mask = Mask((*plan.selection.mask.always, *sorted(self._hidden)), plan.selection.mask.sometimes)
        self._selection = Selection(self.schema, plan.selection.filter, mask) if self._hidden else plan.selection

    @property
    def is_complete(self) -> bool:
        """Whether there are no records beyond its entries."""
        return self._bound is None

    @property
    def size(self) -> int:
        """How many records it shows at most."""
        return self._limit

    @property
    def keys(self) -> list[Key]:
        """The keys of what it shows, in order."""
        return [entry.key for entry in self._entries[: self._limit]]

    # loading

    def load_plan(self) -> Plan:
        """What to read to load it."""
        return msgspec.structs.replace(self.query.plan, selection=self._selection, limit=self._room)

    def load(self, page: Page) -> Snapshot:
        """Takes what was read as its state; returns what it shows."""
        self._entries = [self._entry(key, _decode(text)) for key, text in zip(page.keys, page.records, strict=True)]
        self._bound = self._bound_at_last(self._entries) if page.more else None
        self.is_loaded = True
        return Snapshot([self._shown(text) for text in page.records[: self._limit]])

    def forget(self) -> None:
        """It is not known any more what it holds."""
        self.is_loaded = False
        self._entries = []
        self._bound = None

    def rows_plan(self, keys: Sequence[Key]) -> Plan:
        """What to read to show records of the window."""
        return Plan(selection=self._selection, keys=tuple(keys))

    def texts(self, page: Page) -> dict[Key, str]:
        """What is shown of records that were read, by key."""
        return {key: self._shown(text) for key, text in zip(page.keys, page.records, strict=True)}

    # from one position to the next

    def draft(self, changes: Iterable[Change]) -> Draft:
        """What a span makes of the window; the span must be active."""
        entries = self._entries.copy()
        draft = Draft(entries, self._bound)
        held = {entry.key: entry for entry in entries}
        for change in changes:
            key, after = change.key, change.after
            old = held.get(key)
            new = self._entry(key, after) if after is not None and self.conditions.holds(after) else None
            if new is not None and draft.bound is not None and draft.bound.order < new.order:
                new = None
            if old is None and new is None:
                continue
            draft.touched[key] = (change.before, after)
            if old is not None and (new is None or new.order != old.order):
                del entries[bisect_left(entries, old.order, key=_order_of)]
                del held[key]
            if new is not None and key not in held:
                insort(entries, new, key=_order_of)
                held[key] = new
        self._trim(draft)
        self._ask(draft)
        return draft

    def settle(self, draft: Draft, pages: Sequence[Page]) -> Frame | None:
        """Takes a draft and what was read for it as its state; returns what that changes of what it shows. The span
        must be active."""
        read: dict[Key, str] = {}
        rest = list(pages)
        if draft.refill is not None:
            page = rest.pop(0)
            more = [self._entry(key, _decode(text)) for key, text in zip(page.keys, page.records, strict=True)]
            draft.entries += more
            draft.bound = self._bound_at_last(more) if page.more else None
            read.update(self.texts(page))
        if draft.rows is not None:
            read.update(self.texts(rest.pop(0)))
        old = self.keys
        self._entries, self._bound = draft.entries, draft.bound
        return self.frame(old, draft.touched, read)

    def frame(self, old: Sequence[Key], touched: Touched, read: Mapping[Key, str]) -> Frame | None:
        """What leads from the keys that were shown to what it shows now; the span that led there must be active.

        `touched` are the images of what the span concerns, `read` the texts of other records that have come in.
        """
        new = self.keys
        were, are = set(old), set(new)
        added: list[str] = []
        changed: list[Changed] = []
        for key in new:
            before, after = touched.get(key, (None, None))
            if key not in were:
                added.append(self.text(after) if after is not None else read[key])
            elif before is not None and after is not None:
                event = self.difference(key, before, after)
                changed += [event] if event is not None else []
        removed = tuple(key for key in old if key not in are)
        order = tuple(new) if self._is_ordered and new != old else None
        if not (added or changed or removed or order is not None):
            return None
        return Frame(added=tuple(added), changed=tuple(changed), removed=removed, order=order)

    def restated(self, held: Iterable[Key], read: Mapping[Key, str]) -> Frame:
        """All that it shows, and that whatever else of `held` a client may hold is not shown."""
        new = self.keys
        removed = tuple(set(held).difference(new))
        return Frame(
            added=tuple(read[key] for key in new), removed=removed, order=tuple(new) if self._is_ordered else None
        )

    def region_before(self, changes: Iterable[Change]) -> list[Key] | None:
        """All keys up to the bound, in order, as they were before the changes of the active span; None when they would
        not have filled the window, so that it went beyond."""
        region = {entry.key: entry.order for entry in self._entries}
        for change in changes:
            region.pop(change.key, None)
            before = change.before
            if before is not None and self.conditions.held(before):
                order = self._order(before)
                if self._bound is None or not self._bound.order < order:
                    region[change.key] = order
        if self._bound is not None and len(region) < self._limit:
            return None
        return sorted(region, key=region.__getitem__)

    def _trim(self, draft: Draft) -> None:
        # Some more than it has room for may stay: else every insert at the top would cost a cut at the end.
        if len(draft.entries) > self._room + self._limit:
            del draft.entries[self._room :]
            draft.bound = self._bound_at_last(draft.entries)

    def _ask(self, draft: Draft) -> None:
        entries, bound = draft.entries, draft.bound
        if len(entries) < self._limit and bound is not None:
            draft.refill = msgspec.structs.replace(
                self.query.plan, selection=self._selection, start=bound.values, limit=self._room - len(entries)
            )
        shown = [entry.key for entry in entries[: self._limit]]
        risen = unread(self.keys, shown, draft.touched)
        if risen:
            draft.rows = self.rows_plan(risen)

    def _entry(self, key: Key, record: PlainRecord) -> Entry:
        return Entry(self._order(record), key, tuple(record[name] for name in self._names))

    def _bound_at_last(self, entries: Sequence[Entry]) -> Bound | None:
        return Bound(entries[-1].order, entries[-1].values) if entries else self._bound

    def _shown(self, text: str) -> str:
        if not self._hidden:
            return text
        record = _decode(text)
        return _encode({name: value for name, value in record.items() if name not in self._hidden}).decode()


def unread(old: Sequence[Key], new: Sequence[Key], touched: Touched) -> list[Key]:
    """The keys of the records that come in and of which no image is at hand."""
    were = set(old)
    return [key for key in new if key not in were and touched.get(key, (None, None))[1] is None]


def _order_of(entry: Entry) -> Any:
    return entry.order
