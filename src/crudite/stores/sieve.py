"""Reads whose conditions a store knows in part: functions tell the rest (`query.tree.Judged`).

The store is asked, in one snapshot, for all records that are in the selection if every function agrees, for what the
functions look at in them, and for each mixture of answers that leaves it something to decide, which of them are in
the selection then. What stays is decided here, without further reads. No more than MOST_CHECKED records are looked at:
where that does not tell the answer, there is none, never a part of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import TypeAlias

import msgspec

from crudite.errors import TooLarge
from crudite.query.plan import Mask, Plan, Selection, everything
from crudite.query.simplify import join
from crudite.query.tree import EVERYTHING, NOTHING, And, Filter, Judged, Or, is_judged, leaves
from crudite.stores.base import Page, Row, Store
from crudite.types import Key, Plain, PlainRecord

MOST_CHECKED = 1_000
"""The most records of one query that functions are asked about."""

Judge: TypeAlias = Callable[[PlainRecord], bool | None]
Verdicts: TypeAlias = dict[tuple[Judge, str], bool | None]
"""What functions have said of records, by the JSON text of the record."""

_decode = msgspec.json.Decoder().decode


class Sieve:
    """How the records of a selection with functions in its filter are found."""

    def __init__(self, selection: Selection) -> None:
        schema, filter = selection.schema, selection.filter
        asked = frozenset(leaf for leaf in leaves(filter) if isinstance(leaf, Judged))
        self._schema = schema
        self._judges = tuple({leaf.judge: None for leaf in asked})
        self._asked = asked
        widest = _granted(filter, asked)
        shown = Selection(schema, widest, selection.mask)
        whole = Selection(schema, widest, everything(schema).mask)
        self._selections = [shown] if shown.mask == whole.mask else [shown, whole]
        self._whole_at = len(self._selections) - 1
        places: dict[Filter, int | None] = {widest: 0, NOTHING: None}
        self._places: dict[frozenset[Judged], int | None] = {}
        for answers in product((True, False, None), repeat=len(self._judges)):
            held = self._held(answers)
            left = _granted(filter, held)
            if left not in places:
                places[left] = len(self._selections)
                self._selections.append(Selection(schema, left, Mask((schema.key,))))
            self._places[held] = places[left]

    def plans(self, plan: Plan, most: int = MOST_CHECKED) -> tuple[Plan, ...]:
        """What to read, in one snapshot, to know a plan's page, if at most so many records have to be looked at."""
        most_of = None if plan.keys is not None else most
        wide = msgspec.structs.replace(plan, limit=most_of, offset=0, total=False)
        return tuple(msgspec.structs.replace(wide, selection=selection) for selection in self._selections)

    def sizes(self, plan: Plan) -> Iterable[int]:
        """How many records to look at for a plan: at first, and if these are too few."""
        if plan.limit is None or plan.total or plan.keys is not None:
            return (MOST_CHECKED,)
        return (min(2 * (plan.offset + plan.limit) + 1, MOST_CHECKED), MOST_CHECKED)

    def page(self, plan: Plan, pages: Sequence[Page], known: Verdicts | None = None) -> Page | None:
        """The plan's page, given what its plans read; None when more records have to be looked at.

        `known` are verdicts of an earlier time, which those of now take the place of. Raises TooLarge when more than
        MOST_CHECKED records would have to be looked at.
        """
        wide = pages[0]
        whole = pages[self._whole_at]
        texts = dict(zip(whole.keys, whole.records, strict=True))
        passing = self._passing(pages, texts, {} if known is None else known)
        most = None if plan.limit is None or plan.keys is not None else plan.offset + plan.limit
        if wide.more and (plan.total or most is None or len(passing) <= most):
            if len(wide.keys) < MOST_CHECKED:
                return None
            if plan.total or most is None or len(passing) < most:
                raise TooLarge(
                    f"A function decides which records of {self._schema.name} may be seen, and it is asked of at most "
                    f"{MOST_CHECKED:,} in one request. Ask for fewer of them, by a filter."
                )
        chosen = passing
        if most is not None:
            chosen = passing[plan.offset : most] if not plan.backwards else passing[::-1][plan.offset : most][::-1]
        ends = [_decode(texts[wide.keys[place]]) for place in (chosen[:1] + chosen[-1:])]
        first, last = (_place(plan, record) for record in ends) if ends else (None, None)
        return Page(
            [wide.keys[place] for place in chosen], [wide.versions[place] for place in chosen],
            [wide.records[place] for place in chosen], first, last,
            more=most is not None and (wide.more or len(passing) > most),
            total=len(passing) if plan.total else None,
        )  # fmt: skip

    def _passing(self, pages: Sequence[Page], texts: Mapping[Key, str], known: Verdicts) -> list[int]:
        """Which records of the first page are in the selection, by their places there."""
        inside = [frozenset(page.keys) for page in pages]
        said: Verdicts = {}

        def holds(key: Key, held: frozenset[Judged]) -> bool:
            at = self._places[held]
            return at is not None and key in inside[at]

        def answers(text: str) -> list[bool | None]:
            record: PlainRecord | None = None
            for judge in self._judges:
                if (judge, text) in known:
                    said[judge, text] = known[judge, text]
                else:
                    record = _decode(text) if record is None else record
                    said[judge, text] = judge(record)
            return [said[judge, text] for judge in self._judges]

        unasked: frozenset[Judged] = frozenset()
        passing = [
            place
            for place, key in enumerate(pages[0].keys)
            if holds(key, unasked) or holds(key, self._held(answers(texts[key])))
        ]
        known.clear()
        known.update(said)
        return passing

    def _held(self, answers: Iterable[bool | None]) -> frozenset[Judged]:
        """The conditions of the filter that hold where its functions have given these answers."""
        given = zip(self._judges, answers, strict=True)
        return self._asked & {Judged(judge, not answer) for judge, answer in given if answer is not None}


def sieve_of(selection: Selection) -> Sieve | None:
    """The sieve of a selection; None when the store knows all of its conditions."""
    if "sieve" not in selection.memo:
        selection.memo["sieve"] = Sieve(selection) if is_judged(selection.filter) else None
    sieve: Sieve | None = selection.memo["sieve"]
    return sieve


def left_of(filter: Filter, record: PlainRecord) -> Filter:
    """What of a filter is left for the store to decide once functions have been asked about a record."""
    asked = frozenset(leaf for leaf in leaves(filter) if isinstance(leaf, Judged))
    answers = {judge: judge(record) for judge in {leaf.judge for leaf in asked}}
    return _granted(filter, frozenset(leaf for leaf in asked if answers[leaf.judge] is (not leaf.negated)))


async def read_page(store: Store, plan: Plan) -> Page:
    """One page of a plan, whatever conditions it has. Raises TooLarge as `Sieve.page` does."""
    sieve = sieve_of(plan.selection)
    if sieve is None:
        return await store.page(plan)
    for most in sieve.sizes(plan):
        found = sieve.page(plan, (await store.read(sieve.plans(plan, most))).pages)
        if found is not None:
            return found
    raise AssertionError("the last size decides")


async def look_up(store: Store, selection: Selection, key: Key) -> Row | None:
    """The record of a selection that has a key, whatever conditions it has."""
    if sieve_of(selection) is None:
        return await store.lookup(selection, key)
    page = await read_page(store, Plan(selection=selection, keys=(key,)))
    return Row(page.versions[0], page.records[0]) if page.keys else None


def _granted(filter: Filter, held: frozenset[Judged]) -> Filter:
    """The filter where these of its conditions hold and the others that functions decide do not."""
    match filter:
        case And(terms):
            return join([_granted(term, held) for term in terms], either=False)
        case Or(terms):
            return join([_granted(term, held) for term in terms], either=True)
        case Judged():
            return EVERYTHING if filter in held else NOTHING
    return filter


def _place(plan: Plan, record: PlainRecord) -> tuple[Plain, ...]:
    """The values of the sort keys, which are fields of the record itself."""
    return tuple(record[key.path.field.name] for key in plan.sort)
