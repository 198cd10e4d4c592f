"""The history of a record: who changed what of it, when, and through which interface, as the change log told."""

from collections.abc import Mapping, Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

import msgspec

from crudite.errors import Fault, Malformed, NotFound
from crudite.messages import Listed
from crudite.query.parse import EMPTY, WrittenQuery
from crudite.query.plan import Selection
from crudite.query.resolve import join
from crudite.query.tree import EVERYTHING, NOTHING
from crudite.resources.access import Rulebook
from crudite.resources.asking import definition_of, refusal, rules_of
from crudite.resources.declaring.collect import SYSTEM_FIELDS
from crudite.resources.declaring.definition import Definition
from crudite.resources.keys import no_record
from crudite.resources.request import Request
from crudite.schema import DELETED_AT
from crudite.stores.base import Past, Store, SupportsHistory
from crudite.stores.sieve import look_up
from crudite.tokens import Sealer
from crudite.types import Key, PlainRecord

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNSAID = frozenset(("id", *SYSTEM_FIELDS))
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _Sight(NamedTuple):
    """What an actor may see of a history: these fields of the record that is there, made at that moment, and those of
    one that is there no more, even if its key has been given away again; None: not even that there was one."""

    made_at: str | None
    fields: Set[str]
    former: Set[str] | None

    def of(self, record: PlainRecord) -> Set[str] | None:
        """The fields that he may see of a record as it once was."""
        is_there = self.made_at is not None and record.get("created_at") == self.made_at
        return self.fields if is_there else self.former


class Histories:
    """Performs `history`."""

    def __init__(self, rulebook: Rulebook, store: Store, sealer: Sealer) -> None:
        self._rulebook = rulebook
        self._store = store
        self._sealer = sealer

    async def read(self, request: Request) -> Listed:
        """A page of the changes of one record, the latest first, with the fields that the actor may read of it as it is
        now; it may be shorter than asked for though others follow. Raises NotFound where no history is kept, or there
        is no record whose history the actor may see."""
        definition = definition_of(request)
        if "history" not in definition.rules or not isinstance(self._store, SupportsHistory):
            raise NotFound(f"{definition.name} keeps no history.")
        key = cast(Key, request.key)
        sight = await self._sight(request, definition, key)
        limit, before = self._place(request.query, definition, key)
        found = await self._store.history(definition.schema, key, before=before, limit=limit + 1)
        if not found and sight.made_at is None and before is None:
            raise no_record(definition, key)
        shown, more = found[:limit], len(found) > limit
        old_names = {f.renamed_from: f.name for f in definition.schema.fields.values() if f.renamed_from is not None}
        return Listed(
            [text for past in shown if (text := _json(past, sight, old_names)) is not None],
            next=self._cursor(definition, key, shown[-1].number) if more else None,
            first=before is None,
        )

    async def _sight(self, request: Request, definition: Definition, key: Key) -> _Sight:
        """What may be shown to whom. Of a record that is deleted it is not known any more what a condition on it would
        say: it is shown to those, and with the fields, that need none. Else who takes a key that has become free would
        be shown what another one's record was."""
        rules = rules_of(request, self._rulebook)
        rule = rules.action("history", request.actor)
        if rule == NOTHING:
            raise refusal(request.actor, "history", definition)
        mask = rules.mask(request.actor)
        if request.nesting is not None:
            scope = self._rulebook.resolve(definition.schema, request.nesting.filter)
            rule = join((rule, scope), either=False)
        row = await look_up(self._store, self._rulebook.now(Selection(definition.schema, rule, mask)), key)
        former = frozenset(mask.always) if rule == EVERYTHING else None
        if row is not None:
            record = _decode(row.json)
            return _Sight(record["created_at"], record.keys(), former)
        if former is None:
            raise no_record(definition, key)
        return _Sight(None, former, former)

    def _place(self, query: WrittenQuery, definition: Definition, key: Key) -> tuple[int, int | None]:
        """How many changes are asked for, and below which number."""
        if replace(query, limit=None, cursor=None) != EMPTY:
            raise Malformed("A history takes limit and cursor, and nothing else.")
        if query.limit is not None and query.limit > definition.max_limit:
            detail = f"limit goes up to {definition.max_limit}."
            raise Malformed(faults=[Fault("bad_value", detail, parameter="limit")])
        limit = definition.limit if query.limit is None else query.limit
        if query.cursor is None:
            return limit, None
        try:
            content = self._sealer.open(query.cursor) or b""
            *place, before = msgspec.msgpack.decode(content, type=tuple[str, str, Any, int])
        except msgspec.DecodeError:
            place, before = [], 0
        if place != ["history", definition.name, key]:
            detail = "cursor does not belong to this history; leave it away to begin with the latest change."
            raise Malformed(faults=[Fault("bad_cursor", detail, parameter="cursor")])
        return limit, before

    def _cursor(self, definition: Definition, key: Key, number: int) -> str:
        return self._sealer.seal(msgspec.msgpack.encode(("history", definition.name, key, number)))


def _json(past: Past, sight: _Sight, old_names: Mapping[str, str]) -> str | None:
    """The JSON text of one change; None for one that is not to be seen, or did not move the version, since only fields
    changed that not everybody may read, and the reader is not among those who may."""
    before, after = _record(past.before, old_names), _record(past.after, old_names)
    fields = sight.of(after or before)
    if fields is None:
        return None
    action = _action(before, after)
    changes = {
        name: [before.get(name), after.get(name)]
        for name in {**before, **after}
        if name in fields and name not in _UNSAID and before.get(name) != after.get(name)
    }
    if not changes and before.get("version") == after.get("version"):
        return None
    told = {
        "at": (_EPOCH + timedelta(microseconds=past.at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "action": action,
        "version": (after or before).get("version"), "actor": past.actor, "interface": past.interface,
        "request": past.request, "changes": changes,
    }  # fmt: skip
    return msgspec.json.encode(told).decode()


def _action(before: PlainRecord, after: PlainRecord) -> str:
    """What was done: a record that is deleted and kept is not there, though its row is."""
    if not before:
        return "created"
    was, now = (record.get(DELETED_AT) is None for record in (before, after))
    if not after or (was and not now):
        return "deleted"
    return "restored" if now and not was else "updated"


def _record(image: str | None, old_names: Mapping[str, str]) -> PlainRecord:
    """The record that an image shows, by the names that its fields have now; empty for none, and for what another
    program wrote that is no JSON."""
    try:
        record: PlainRecord = _decode(image) if image is not None else {}
    except msgspec.DecodeError:
        return {}
    return {old_names.get(name, name) if name in old_names and old_names[name] not in record else name: value
            for name, value in record.items()}  # fmt: skip
