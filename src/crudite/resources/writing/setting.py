"""Setting the records below a parent as a whole: after `PUT /users/1/groups` they are those of the body.

An entry of the body is a key, or all of a record. What is there already is kept: by its key or, where the entry gives
none, because its fields have the same values. What is left over is taken out, and what is missing is created or moved
here; each by the rules, hooks and limits of the resource, and all of it in one transaction.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from crudite.changes import Write
from crudite.errors import Fault, Invalid, Malformed, MethodNotAllowed, NotFound, Problem
from crudite.query.tree import is_judged
from crudite.resources.access import Rulebook
from crudite.resources.asking import above_now, readable, rules_of
from crudite.resources.declaring.body import decoded
from crudite.resources.declaring.definition import Definition, Placement
from crudite.resources.declaring.links import Settable
from crudite.resources.keys import no_record, plain_key
from crudite.resources.request import Nesting, Request
from crudite.resources.writing.demands import condition_of, staying, unseen
from crudite.resources.writing.incoming import at_index, entries_of, parser
from crudite.resources.writing.making_room import Move, making_room
from crudite.resources.writing.prepared import InBody, Prepared
from crudite.resources.writing.relations import Relating, Step, derived, no_such_record
from crudite.schema import NO_DEFAULT
from crudite.stores.base import Store
from crudite.stores.sieve import look_up
from crudite.types import Key, PlainRecord

_ACTIONS = ("create", "replace", "update", "delete")


class _Entry(NamedTuple):
    """One entry of the body: the `key` of a record, None when it gives none, and the `values` of all of it, None for a
    key alone. `old` is the record that it stands for, as it is there now."""

    key: Key | None
    values: PlainRecord | None
    old: PlainRecord | None = None


class Setting:
    """Decides what requests write that set a whole.

    The parent is the first that is looked at, and held until the commit: of two who set the same at the same time one
    decides again. Its version grows at the end, so that what is decided on the parent as it was still holds meanwhile.
    """

    def __init__(self, rulebook: Rulebook, store: Store, relating: Relating) -> None:
        self._rulebook = rulebook
        self._store = store
        self._relating = relating

    async def prepare(self, request: Request) -> list[Prepared]:
        """The writes of a request, that which holds the parent first. Raises the problem of what cannot be made, which
        names its places in the body."""
        definition, nesting = cast(Definition, request.definition), cast(Nesting, request.nesting)
        parent, keys, _ = nesting.parents[-1]
        if len(keys) > 1:
            raise MethodNotAllowed("What is below several records is not set as a whole.", allowed=["GET"])
        [(field, key)] = nesting.values.items()
        settable = _settable(definition, parent, field)
        assert settable is not None, "what cannot be set has no path for it"
        above = above_now(request, self._rulebook, nesting.parents[-1])
        row = await look_up(self._store, above, key)
        if row is None:
            raise no_record(parent, key)
        here = await self._relating.children(definition, (field,), key, request, everything=True)
        given = _given(request, definition, {child[definition.schema.key] for child in here})
        rules, fields = rules_of(request, self._rulebook), definition.schema.fields.values()
        defaults = {field.name: field.default for field in fields if field.default is not NO_DEFAULT}
        entries = _matched(given, here, definition, _without(defaults, unseen(rules, request.actor, defaults)))
        replaced = _without(defaults, staying(definition, rules, request.actor, defaults))
        places = ((stranger, f"/{index}") for stranger, index in _strangers(entries))
        await self._relating.refuse_unseen(definition, places, request)
        kept = {one.old[definition.schema.key] for one in entries if one.old is not None}
        left = [child for child in here if child[definition.schema.key] not in kept]
        gone = [child[definition.schema.key] for child in left if _is_listed(child, definition)]
        steps = [self._relating.taken_out(request, settable, one, key, key, InBody("")) for one in gone]
        answers: dict[int, tuple[Key, int] | int] = {}
        for index, entry in _in_order(entries, definition, {field: key}, replaced):
            asked = _asked(request, definition, entry, {field: key}, replaced)
            if asked is None:
                answers[index] = (cast(Any, entry.old)[definition.schema.key], cast(Any, entry.old)["version"])
            else:
                steps.append(Step(asked, InBody(f"/{index}", is_body=entry.values is not None)))
                answers[index] = len(steps)  # the parent's write comes before them
        if not steps:
            readable(rules, "read", request.actor)  # nothing is told but what is there
        expect = row.version if steps else None
        where = None if is_judged(above.filter) else condition_of(above.filter)
        write = Write(action="update", schema=parent.schema, key=key, values={}, expect=expect, where=where)
        told = [answers[index] for index in range(len(entries))]
        asked = derived(request, "set", parent, key=key)
        grows = Write(action="update", schema=parent.schema, key=key, values={parent.schema.key: key})
        last = Prepared(grows, parent, asked) if steps else None
        first = Prepared(write, parent, asked, optimistic=True, answers=told, last=last)
        return [first, *await self._relating.prepare(steps)]


def settable_at(place: Placement) -> Settable | None:
    """The link by which the records at a place can be set as a whole: everything can be done with them there."""
    if not place.above or not place.actions.issuperset(_ACTIONS):
        return None
    parent, field = place.above[-1]
    return _settable(place.definition, parent, field)


def _settable(definition: Definition, parent: Definition, field: str) -> Settable | None:
    """The link of a parent along which a field of the records below it points, if that can be set."""
    found = (one for one in parent.settable.values() if one.link.to is None and one.link.target == definition.name)
    return next((one for one in found if one.link.field == field), None)


def _given(request: Request, definition: Definition, here: Container[Key | None]) -> list[_Entry]:
    """The entries of a body: a record that is here already is given as for a replace, so that what was read can be sent
    back, any other as for a create. Raises Malformed, or Invalid with every fault."""
    create, replace, key_of = parser(request, "create"), parser(request, "replace"), definition.schema.key
    entries: list[_Entry] = []
    faults: list[Fault] = []
    keys: set[Key] = set()
    for index, (given, is_record) in enumerate(entries_of(request)):
        try:
            shown = _shown(given, definition) if is_record else {}
            parse = replace if shown.get(key_of) in here else create
            if parse is create and "version" in shown and shown.get(key_of) is not None:
                raise NotFound  # it was read, and is not here any more
            values = parse(given) if is_record else None
            key = values.get(key_of) if values is not None else plain_key(definition, given)
        except NotFound:
            faults.append(no_such_record(f"/{index}"))
        except Problem as problem:
            if not problem.faults:
                raise
            faults += [at_index(fault, index) for fault in problem.faults]
        else:
            if key in keys:
                faults.append(Fault("repeated", "This key comes twice.", pointer=f"/{index}"))
            keys |= {key} if key is not None else set()
            entries.append(_Entry(key, values))
    if faults:
        raise Invalid(faults=faults)
    return entries


def _shown(given: Any, definition: Definition) -> PlainRecord:
    """What a record gives as it stands there, with its key as it is stored; nothing for what has none, or is none."""
    try:
        values = decoded(given) if isinstance(given, bytes) else given
        return {**values, definition.schema.key: plain_key(definition, values[definition.schema.key])}
    except (Malformed, KeyError, TypeError, NotFound):
        return {}  # whoever parses it says what is wrong


def _matched(
    given: Sequence[_Entry], here: Iterable[PlainRecord], definition: Definition, unsaid: PlainRecord
) -> list[_Entry]:
    """The entries with the records that they stand for: by key first, then, each once, by their values. `unsaid` is
    what a record has of which an entry says nothing, as far as that is the same for every record and is seen."""
    left = {child[definition.schema.key]: child for child in here}
    found = [left.pop(entry.key, None) if entry.key is not None else None for entry in given]
    alike: dict[tuple[str, ...], dict[bytes | None, list[PlainRecord]]] = {}
    for index, entry in enumerate(given):
        if entry.key is not None:
            continue
        wanted = _wanted(entry, definition, unsaid)
        names = tuple(wanted)
        if names not in alike:
            alike[names] = {}
            for child in reversed(left.values()):
                alike[names].setdefault(_content(child, names), []).append(child)
        same = alike[names].get(_content(wanted, names), [])
        while same and found[index] is None:
            found[index] = left.pop(same.pop()[definition.schema.key], None)
    return [entry._replace(old=old) for entry, old in zip(given, found, strict=True)]


def _asked(
    request: Request, definition: Definition, entry: _Entry, pointing: Mapping[str, Key], unsaid: PlainRecord
) -> Request | None:
    """The request by which an entry comes to be; None when it is there as it is. `unsaid` is what a replace makes of
    fields of which it says nothing."""
    if entry.old is None and entry.values is None:
        return derived(request, "update", definition, key=entry.key, data=pointing)
    if entry.old is None:
        return derived(request, "create", definition, data=entry.values)
    if entry.values is None or _is_same(entry, entry.old, definition, unsaid):
        return None
    return derived(request, "replace", definition, key=entry.key, data=entry.values)


def _without(values: PlainRecord, names: Container[str]) -> PlainRecord:
    return {name: value for name, value in values.items() if name not in names}


def _is_same(entry: _Entry, record: PlainRecord, definition: Definition, unsaid: PlainRecord) -> bool:
    wanted = _wanted(entry, definition, unsaid)
    return _content(wanted, tuple(wanted)) == _content(record, tuple(wanted))


def _wanted(entry: _Entry, definition: Definition, unsaid: PlainRecord) -> PlainRecord:
    """What a record has that an entry may stand for, but for its key: what is given, and what else is `unsaid`."""
    wanted = {**unsaid, **(entry.values or {})}
    return {name: wanted[name] for name in sorted(wanted) if name != definition.schema.key}


def _content(record: PlainRecord, names: Sequence[str]) -> bytes | None:
    """Some values of a record as bytes that are equal only for equal ones; None when it does not show one of them."""
    if any(name not in record for name in names):
        return None
    return msgspec.json.encode([record[name] for name in names], order="deterministic")


def _is_listed(child: PlainRecord, definition: Definition) -> bool:
    """Whether a list that asks for nothing holds a record: who sets what he was shown takes out nothing else."""
    return all(child.get(name) in default.values for name, default in definition.default_filters.items())


def _in_order(
    entries: Sequence[_Entry], definition: Definition, pointing: Mapping[str, Key], unsaid: PlainRecord
) -> list[tuple[int, _Entry]]:
    """The entries with their indexes, in the order in which they are written. What comes from elsewhere does so in the
    order of keys: all who move some of the same records wait for each other in one order, and none for one that waits
    for him. All others make room for each other."""
    by_key = iter(sorted(_strangers(entries)))
    strangers = {index for _, index in _strangers(entries)}
    moves = [
        Move(index, entry.old, {**(entry.old or {}), **unsaid, **(entry.values or {}), **pointing})
        for index, entry in enumerate(entries)
        if index not in strangers and entry.values is not None
    ]
    written = iter(making_room(moves, definition.schema))
    moved = {move.at for move in moves}
    order = [
        next(by_key)[1] if index in strangers else next(written) if index in moved else index
        for index in range(len(entries))
    ]
    return [(index, entries[index]) for index in order]


def _strangers(entries: Iterable[_Entry]) -> Iterator[tuple[Key, int]]:
    """The keys of records that are to come here from elsewhere, each with its index in the body."""
    for index, entry in enumerate(entries):
        if entry.old is None and entry.values is None and entry.key is not None:
            yield entry.key, index
