"""All key sets: each made once for all who rest on it, loaded at a position, and led from there to the next."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from crudite.changes import Change
from crudite.errors import Problem
from crudite.live.keysets import Conditions, KeySet, Use, resting
from crudite.live.matching import MatchIndex, Place, place
from crudite.live.span import Fetch, Span, Spot
from crudite.live.tiers import own_part
from crudite.query.identity import identity_of
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.tree import Filter, Test
from crudite.schema import FieldSpec, ResourceSchema
from crudite.stores.base import Page
from crudite.types import PlainRecord

_log = logging.getLogger("crudite.live")
_decode = msgspec.json.Decoder(PlainRecord).decode
Load: TypeAlias = tuple[Plan, Callable[[Page], None]]
"""What to read, and what to do with it."""


class Dependencies:
    """The key sets of an engine. A set that has more than `most` values at first is not kept, and marked as large."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sets: dict[tuple[str, str, str], KeySet] = {}
        self._indexes: dict[str, MatchIndex[KeySet]] = {}
        self._unloaded: set[KeySet] = set()
        self._waiting: list[tuple[Sequence[KeySet], asyncio.Future[None]]] = []
        self._stopped: Problem | None = None

    def __len__(self) -> int:
        return len(self._sets)

    @property
    def are_wanted(self) -> bool:
        """Whether somebody waits for a set to be loaded."""
        return bool(self._unloaded)

    def of(self, resource: str) -> list[KeySet]:
        """The sets that are made of a resource's records."""
        return [keys for keys in self._sets.values() if keys.schema.name == resource]

    # who rests on what

    def conditions(self, filter: Filter, mask: Mask) -> Conditions:
        """What a selection says of records. Whoever uses it must hold the sets that it rests on."""
        return Conditions(filter, mask, self._find)

    def hold(self, user: Any, uses: Iterable[Use]) -> None:
        """The user rests on these sets from now on."""
        for use in uses:
            use.keys.users.add(user)

    def let_go(self, user: Any, uses: Iterable[Use]) -> None:
        """The user does not rest on them any more; a set that nobody needs is forgotten."""
        for use in uses:
            use.keys.users.discard(user)
            if not use.keys.users:
                self._forget(use.keys)

    async def ready(self, uses: Sequence[Use]) -> bool:
        """Waits until the sets are loaded; returns whether all of them can be kept."""
        missing = [use.keys for use in uses if not use.keys.is_loaded]
        if missing and self._stopped is not None:
            raise self._stopped
        if missing:
            loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((missing, loaded))
            await loaded
        return not any(keys.is_large for keys in resting(uses))

    # from one position to the next

    async def settle(self, span: Span, fetch: Fetch, among: frozenset[KeySet] | None = None) -> None:
        """Finds what a span does to the sets (or to those `among` them), those that rest on others last."""
        todo: dict[int, dict[KeySet, list[Change]]] = {}
        for keys, changes in self._concerned(span, among).items():
            todo.setdefault(keys.depth, {})[keys] = changes
        for keys in list(span.lost):
            self._lose(keys, span)
        while todo:
            level = todo.pop(min(todo))
            wanted: dict[Spot, frozenset[Any]] = {}
            for keys in level:
                for at, values in span.wanted(keys.schema, keys.uses).items():
                    wanted[at] = wanted.get(at, frozenset()) | values
            await span.fetch_rows(wanted, fetch)
            with span.active():
                flipped = [keys for keys, changes in level.items() if self._settle(keys, changes, span)]
            for keys in flipped:
                for user in keys.users:
                    if isinstance(user, KeySet) and (among is None or user in among):
                        todo.setdefault(user.depth, {}).setdefault(user, [])

    def are_touched(self, sets: frozenset[KeySet], changes: Iterable[Change]) -> bool:
        """Whether any of some changes, each as it was committed, may have done something to one of the sets."""
        if not sets:
            return False
        for change in changes:
            index = self._indexes.get(change.schema.name)
            if index is None or change.before_json == change.after_json:
                continue
            images = (change.before, change.after)
            if any(not sets.isdisjoint(index.candidates(image)) for image in images if image is not None):
                return True
        return False

    def apply(self, span: Span) -> None:
        """Takes the new end of a span as the state of all sets; those that are lost must be loaded anew."""
        for keys, delta in span.deltas.items():
            keys.apply(delta)
        for keys in span.lost:
            self._unload(keys)

    def forget_all(self) -> None:
        """No set knows anything any more; each must be loaded anew."""
        for keys in self._sets.values():
            self._unload(keys)

    def loads(self) -> list[Load]:
        """What to read at one position to load every set that is not; sets of one shape are read together."""
        shapes: dict[Any, list[KeySet]] = {}
        for keys in self._unloaded:
            shapes.setdefault(_shape(keys), []).append(keys)
        return [self._load(alike) for alike in shapes.values()]

    def stop(self, problem: Problem) -> None:
        """No set will be loaded any more: whoever waits for one is told why."""
        self._stopped = problem
        for _, loaded in self._waiting:
            if not loaded.done():
                loaded.set_exception(problem)
        self._waiting = []

    def tell_ready(self) -> None:
        """Wakes whoever waits for sets that are loaded now."""
        waiting, self._waiting = self._waiting, []
        for sets, loaded in waiting:
            if not all(keys.is_loaded for keys in sets):
                self._waiting.append((sets, loaded))
            elif not loaded.done():
                loaded.set_result(None)

    def _find(self, schema: ResourceSchema, field: FieldSpec, filter: Filter) -> KeySet:
        identity = (schema.name, field.name, identity_of(filter))
        keys = self._sets.get(identity)
        if keys is None:
            keys = self._sets[identity] = KeySet(schema, field, filter, self._find)
            self._indexes.setdefault(schema.name, MatchIndex()).add(keys, _place(keys))
            self._unloaded.add(keys)
            self.hold(keys, keys.uses)
        return keys

    def _forget(self, keys: KeySet) -> None:
        identity = (keys.schema.name, keys.field.name, identity_of(keys.filter))
        if self._sets.pop(identity, None) is not None:
            self._indexes[keys.schema.name].remove(keys, _place(keys))
            self._unloaded.discard(keys)
            self.let_go(keys, keys.uses)

    def _unload(self, keys: KeySet) -> None:
        keys.is_loaded = False
        self._unloaded.add(keys)

    def _concerned(self, span: Span, among: frozenset[KeySet] | None) -> dict[KeySet, list[Change]]:
        found: dict[KeySet, list[Change]] = {}
        for name, changes in span.changes.items():
            index = self._indexes.get(name)
            if index is None:
                continue
            for change in changes:
                try:
                    images = (change.before, change.after)
                    candidates = set().union(*(index.candidates(image) for image in images if image is not None))
                except Exception:
                    _log.exception("%r could not be matched", change)
                    span.lost |= {keys for keys in self._sets.values() if keys.schema.name == name}
                    continue
                for keys in candidates:
                    if keys.is_loaded and (among is None or keys in among):
                        found.setdefault(keys, []).append(change)
        return found

    def _settle(self, keys: KeySet, changes: Sequence[Change], span: Span) -> bool:
        """Finds what the span does to one set; returns whether any value flips."""
        if keys in span.lost or not keys.is_loaded:
            return False
        if span.is_lost_for(keys.schema, keys.uses):
            self._lose(keys, span)
            return False
        # A change of a record decides by its images under the sets of both ends, wherever the index put it.
        own = span.changes.get(keys.schema.name, ()) if any(u.keys in span.flips for u in keys.uses) else changes
        try:
            pairs = [(change.before, change.after) for change in (*own, *span.reached(keys.schema, keys.uses))]
            delta = keys.delta(pairs)
        except Exception:
            _log.exception("%r could not be led on", keys)
            self._lose(keys, span)
            return False
        flips = keys.flips(delta, back=span.back)
        span.deltas[keys] = delta
        if flips:
            span.flips[keys] = flips
        return bool(flips)

    def _lose(self, keys: KeySet, span: Span) -> None:
        """The span cannot tell of a set, nor of those that rest on it."""
        span.lost.add(keys)
        span.deltas.pop(keys, None)
        span.flips.pop(keys, None)
        for user in keys.users:
            if isinstance(user, KeySet) and user not in span.lost:
                self._lose(user, span)

    def _load(self, alike: Sequence[KeySet]) -> Load:
        first = alike[0]
        if len(alike) == 1:
            return first.plan(self._room(first)), lambda page: self._take(first, page)
        test = first.filter
        assert isinstance(test, Test)
        by_value = {keys.filter.value: keys for keys in alike if isinstance(keys.filter, Test)}
        among = Test(test.path, "in", tuple(by_value))
        room = self._room(first)
        plan = first.plan(None if room is None else room * len(alike))
        mask = Mask(tuple(dict.fromkeys((first.field.name, test.path.field.name))))
        plan = msgspec.structs.replace(plan, selection=Selection(first.schema, among, mask))

        def take(page: Page) -> None:
            values: dict[Any, list[Any]] = {value: [] for value in by_value}
            for text in page.records:
                record = _decode(text)
                values[record[test.path.field.name]].append(record[first.field.name])
            for value, keys in by_value.items():
                self._loaded(keys, values[value], is_large=page.more)

        return plan, take

    def _take(self, keys: KeySet, page: Page) -> None:
        self._loaded(keys, [_decode(text)[keys.field.name] for text in page.records], is_large=page.more)

    def _room(self, keys: KeySet) -> int | None:
        """How many values are read of a set. One that groups rest on already must be known whole."""
        return None if keys.is_kept else self._most

    def _loaded(self, keys: KeySet, values: Sequence[Any], *, is_large: bool) -> None:
        keys.is_large = is_large
        keys.is_kept = not is_large
        keys.load(() if is_large else values)
        self._unloaded.discard(keys)


def _place(keys: KeySet) -> Place:
    return place(own_part(keys.filter), keys.conditions.inside)


def _shape(keys: KeySet) -> Any:
    """Equal for sets that differ in nothing but the value which one field of their records equals."""
    test = keys.filter
    if not isinstance(test, Test) or test.operator != "eq" or test.negated:
        return keys
    if test.path.hops or test.path.inside or test.path.field.type.kind not in ("text", "uuid", "integer"):
        return keys
    return keys.schema.name, keys.field.name, test.path.field.name, keys.is_kept
