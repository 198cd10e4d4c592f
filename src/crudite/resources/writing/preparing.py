"""From a request to the writes that it means: decided here, with all that they depend on; made by the store.

    given → merged with what is stored → allowed? → completed → validators → hooks → passwords → Write

Nothing is written, and no more is read than hooks and merges need. Whatever was decided on is checked again
inside the transaction: the version, the rule before and after, the rules of single fields, the records that
references point at.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, cast

import msgspec

from crudite.changes import Write
from crudite.errors import Conflict, Invalid, NotFound
from crudite.ids import uuid7
from crudite.messages import ActionName
from crudite.query.plan import Mask, Need, Selection, everything
from crudite.query.resolve import join
from crudite.query.tree import EVERYTHING, NOTHING, Filter, Path, Test, is_judged
from crudite.resources.access import Rulebook, Rules
from crudite.resources.asking import refusal, rules_of
from crudite.resources.declaring.definition import Definition
from crudite.resources.hooks import run_hook
from crudite.resources.keys import no_record
from crudite.resources.refusals import changed, not_allowed
from crudite.resources.request import Request
from crudite.resources.writing.deleting import Deleting
from crudite.resources.writing.demands import (
    completed,
    condition_of,
    differences,
    field_rules,
    left_after,
    left_before,
    needs_old,
    refuse_immutable,
    refuse_unreachable,
    written_values,
)
from crudite.resources.writing.incoming import at_index, created, given, is_many
from crudite.resources.writing.numbering import numbers_for
from crudite.resources.writing.passwords import hash_passwords
from crudite.resources.writing.prepared import Prepared
from crudite.resources.writing.validating import Validation, differing
from crudite.schema import ResourceSchema
from crudite.stores.base import Store
from crudite.stores.seen import beside_version
from crudite.stores.sieve import left_of, look_up
from crudite.types import Key, Plain, PlainRecord


class Preparing:
    """Decides what requests of writing actions write."""

    def __init__(self, rulebook: Rulebook, store: Store, deleting: Deleting) -> None:
        self._rulebook = rulebook
        self._store = store
        self._deleting = deleting

    async def prepare(self, request: Request) -> list[Prepared]:
        """The writes of a request. Raises the problem of one that cannot be made."""
        definition = cast(Definition, request.definition)
        rules = rules_of(request, self._rulebook)
        if request.action == "restore" and not definition.schema.is_soft:
            raise Conflict(f"{definition.name} keeps no deleted records.")
        asked = "purge" if request.is_purging and definition.schema.is_soft else cast(ActionName, request.action)
        rule = rules.action_now(asked, request.actor)
        if rule == NOTHING:
            raise refusal(request.actor, asked, definition)
        if request.action == "create":
            return await self._creations(request, definition, rules, rule)
        if request.action in ("delete", "restore"):
            return [await self._removal(request, definition, rule)]
        return [await self._change(request, definition, rules, rule)]

    async def may_read(self, request: Request) -> bool:
        """Whether the record of a request is there for its actor."""
        definition = cast(Definition, request.definition)
        rules = rules_of(request, self._rulebook)
        readable = self._rulebook.now(rules.selection(request.actor, "read"))
        scoped = join((readable.filter, self._scope(request)), either=False)
        selection = Selection(definition.schema, scoped, Mask((definition.schema.key,)))
        return await look_up(self._store, selection, cast(Key, request.key)) is not None

    async def _creations(self, request: Request, definition: Definition, rules: Rules, rule: Filter) -> list[Prepared]:
        """The writes of a create. Raises Invalid with the faults of every record, in a list behind its index."""
        now, prepared, faults = self._rulebook.clock(), [], []
        records = created(request)
        numbers = await numbers_for(definition, records, self._store)
        for index, one in enumerate(records):
            try:
                made = await self._creation(request, definition, rules, rule, one, numbers.get(index), now)
                made.entry = index if is_many(request.data) else None
                prepared.append(made)
            except Invalid as invalid:
                if not (is_many(request.data) and invalid.faults):
                    raise
                faults += [at_index(fault, index) for fault in invalid.faults]
        if faults:
            raise Invalid(faults=faults)
        return prepared

    async def _creation(
        self, request: Request, definition: Definition, rules: Rules, rule: Filter, given: PlainRecord,
        number: Key | None, now: datetime,
    ) -> Prepared:  # fmt: skip
        schema = definition.schema
        given, links = definition.without_links(given)
        refuse_unreachable(given, definition)
        fields = field_rules(rules, given, request.actor)
        values = {**definition.make_defaults(request.actor, now, given), **given}
        if schema.key not in values and schema.key_field.type.kind == "uuid":
            values[schema.key] = uuid7()
        if number is not None:
            values.setdefault(schema.key, number)
        validation = self._validation(request, definition, None)
        if validation is not None:
            values = await validation.of(values, given)
        hooks = definition.hooks.get(("before", "create"), ()) if definition.hooks else ()
        if hooks:
            draft = definition.from_plain(values)
            provided = self._rulebook.definitions.provided
            for hook in hooks:
                await run_hook(hook, draft, request, None, provided)
            before, values = values, definition.validated(definition.to_plain(draft))
            if validation is not None:
                values = await validation.of(values, differing(values, before))
        if definition.passwords:
            await hash_passwords(definition, values)
        needs, has_pins = await self._needs(definition, values, request, validation)
        write = Write(
            action="create",
            schema=schema,
            key=values.get(schema.key),
            values=values,
            needs=needs,
            check_after=condition_of(left_after(rule, definition, values), *fields.after),
            returning=self._returning(request, definition),
        )
        return Prepared(write, definition, request, has_pins=has_pins, links=links)

    async def _change(self, request: Request, definition: Definition, rules: Rules, rule: Filter) -> Prepared:
        values, links = definition.without_links(given(request))
        values, ours = definition.without_ours(cast(Any, request.action), values)
        await self._expect(request, ours.pop("version", None))
        old, version = None, None
        if links or ours or is_judged(rule) or needs_old(request, definition, rules, values):
            old, version = await self._old(request, definition, rule)
        fields = field_rules(rules, written_values(request, rules, values, old), request.actor)
        if old is not None:
            values = definition.bodies[cast(Any, request.action)].merge(old, values)
            repeatable = await self._repeatable(request, definition, rules, old, {**values, **ours})
            refuse_immutable(definition, repeatable, values, ours)
        named, repeated = frozenset(values), {}
        if request.action == "replace":
            values = completed(request, definition, rules, values, self._rulebook.clock())
        hooks = definition.hooks.get(("before", cast(Any, request.action)), ())
        validation = self._validation(request, definition, old)
        if validation is not None:
            values = await validation.of(values, named, is_draft=bool(hooks))
        if hooks and old is not None:
            draft, stored = definition.from_plain({**old, **values}), definition.from_plain(old)
            provided = self._rulebook.definitions.provided
            for hook in hooks:
                await run_hook(hook, draft, request, stored, provided)
            before, values = {**old, **values}, definition.validated(differences(old, definition.to_plain(draft)))
            repeated = {name: old[name] for name, _ in definition.references if name in named and name not in values}
            if validation is not None:
                values = await validation.of(values, differing(values, before))
        if definition.passwords:
            await hash_passwords(definition, values)
        pointing = {**repeated, **{name: values[name] for name, _ in definition.references if name in values}}
        kept = await self._kept(request, definition, rules, pointing, old)
        leading = {name: key for name, key in pointing.items() if name not in kept}
        needs, has_pins = await self._needs(definition, leading, request, validation)
        write = Write(
            action="update",
            schema=definition.schema,
            key=request.key,
            values={
                **{name: value for name, value in values.items() if name != definition.schema.key},
                **({definition.schema.key: request.key} if links else {}),  # with which the version grows
            },
            expect=request.expect if request.expect is not None else version,
            seen={**beside_version(definition.schema, old), **kept},
            where=condition_of(left_before(rule, old), self._scope(request)),
            guards=fields.guards,
            needs=needs,
            check_after=condition_of(left_after(rule, definition, {**(old or {}), **values}), *fields.after),
            returning=self._returning(request, definition),
        )
        optimistic = request.expect is None
        return Prepared(write, definition, request, old, optimistic=optimistic, has_pins=has_pins, links=links)

    async def _removal(self, request: Request, definition: Definition, rule: Filter) -> Prepared:
        """The write that deletes a record, or brings it back."""
        action = cast(ActionName, request.action)
        hooks = definition.hooks.get(("before", action), ())
        old, version = None, None
        if hooks or definition.hooks.get(("after", action)) or is_judged(rule):
            old, version = await self._old(request, definition, rule)
            stored = definition.from_plain(old)
            provided = self._rulebook.definitions.provided
            for hook in hooks:
                await run_hook(hook, stored, request, stored, provided)
        write = Write(
            action="delete" if action == "delete" else "update",
            schema=definition.schema,
            key=request.key,
            expect=request.expect if request.expect is not None else version,
            seen=beside_version(definition.schema, old),
            where=condition_of(left_before(rule, old), self._scope(request)),
            returning=None if action == "delete" else self._returning(request, definition),
            along=self._deleting.along(request, definition.schema),
        )
        return Prepared(write, definition, request, old, optimistic=request.expect is None)

    async def _old(self, request: Request, definition: Definition, rule: Filter) -> tuple[PlainRecord, int]:
        """The stored record and its version. Raises Forbidden, or NotFound when the actor may not read it, for one
        that the rule does not hold for: nothing of it may show in what the request is told; PreconditionFailed for one
        that has another version than is expected."""
        selection = whole(definition)
        condition = condition_of(rule, self._scope(request))
        if condition is not None:
            selection = Selection(selection.schema, condition, selection.mask)
        row = await look_up(self._store, selection, cast(Key, request.key))
        if row is None and (condition is None or not await self.may_read(request)):
            raise not_found(request)
        if row is None and definition.schema.is_soft:  # when it was looked for it was deleted, and is restored by now
            row = await look_up(self._store, selection, cast(Key, request.key))
        if row is None:
            raise not_allowed(request, definition)
        if request.expect not in (None, row.version):
            # What is found of this version, or functions say of it, says nothing of the one that the client means.
            raise changed() if await self.may_read(request) else not_found(request)
        return msgspec.json.decode(row.json), row.version

    async def _repeatable(
        self, request: Request, definition: Definition, rules: Rules, old: PlainRecord, values: PlainRecord
    ) -> PlainRecord:
        """The stored record as far as a request may repeat what cannot be changed: what its actor does not see, he does
        not repeat, but guess."""
        given = (definition.immutable | definition.bodies[cast(Any, request.action)].repeated) & values.keys()
        if not given:
            return old
        selection = rules.selection(request.actor, "read")
        if selection.filter == EVERYTHING and all(rules.field_read(n, request.actor) == EVERYTHING for n in given):
            return old
        seen = await self._shown(request, rules)
        return {name: value for name, value in old.items() if name in seen}

    async def _kept(
        self, request: Request, definition: Definition, rules: Rules, values: Mapping[str, Plain],
        old: PlainRecord | None,
    ) -> PlainRecord:  # fmt: skip
        """The references that a request leaves as its actor is shown them, though he may not read where they lead:
        what was read can be sent back. One that he is not shown he does not repeat, but guess."""
        unreadable: PlainRecord = {}
        for name, reference in definition.references:
            key = values.get(name)
            if key is None or not reference.enforced or self._belonging(request, name) != EVERYTHING:
                continue
            if old is not None and old.get(name, key) != key:  # it does not stay as it was
                continue
            readable = self._readable(request, self._rulebook.definitions.catalog[reference.target])
            if readable.filter != EVERYTHING and await look_up(self._store, readable, cast(Key, key)) is None:
                unreadable[name] = key
        shown = await self._shown(request, rules) if unreadable else {}
        return {name: key for name, key in unreadable.items() if shown.get(name) == key}

    async def _shown(self, request: Request, rules: Rules) -> PlainRecord:
        """What the actor of a request is shown of its record now."""
        selection = self._rulebook.now(rules.selection(request.actor, "read"))
        row = await look_up(self._store, selection, cast(Key, request.key))
        return {} if row is None else msgspec.json.decode(row.json)

    async def _expect(self, request: Request, version: Plain) -> None:
        """Takes the version that a body repeats for the one that the record must still have. Raises PreconditionFailed
        when the request says another one besides."""
        if version is None or request.expect == version:
            return
        if request.expect is not None:
            raise changed() if await self.may_read(request) else not_found(request)
        request.expect = cast(int, version)

    def _scope(self, request: Request) -> Filter:
        """The nested path that a record was asked for under, as a condition on it."""
        if request.nesting is None:
            return EVERYTHING
        return self._rulebook.resolve(cast(Definition, request.definition).schema, request.nesting.filter)

    def _validation(self, request: Request, definition: Definition, old: PlainRecord | None) -> Validation | None:
        """What asks the validators of a write, where there are any."""
        if not definition.validators:
            return None
        readable = partial(self._readable, request)
        return Validation(definition, self._rulebook.definitions, self._store, request, old, readable)

    def _readable(self, request: Request, schema: ResourceSchema) -> Selection:
        """The records of a resource that the actor of a request may point at now."""
        rules = self._rulebook.of(schema, system=request.is_system)
        return self._rulebook.now(rules.selection(request.actor, "read"))

    def _belonging(self, request: Request, field: str) -> Filter:
        """What must hold of the record that a field points at since it is on the nested path: that it belongs to those
        above it, also at the moment of the write."""
        if request.nesting is None or field not in request.nesting.values:
            return EVERYTHING
        nearest = request.nesting.parents[-1]
        return self._rulebook.resolve(nearest.definition.schema, nearest.filter)

    async def _needs(
        self, definition: Definition, values: Mapping[str, Plain], request: Request, validation: Validation | None
    ) -> tuple[tuple[Need, ...], bool]:
        """The records that references point at and that the actor must be able to read, and those that validators have
        looked at; and whether functions have been asked about any of them as it is now."""
        needs = list(validation.needs) if validation is not None else []
        has_pins = bool(needs)
        for name, reference in definition.references:
            key, belongs = values.get(name), self._belonging(request, name)
            if key is None or not (reference.enforced or belongs != EVERYTHING):
                continue
            target = self._rulebook.definitions.catalog[reference.target]
            selection = self._rulebook.of(target, system=request.is_system).selection(request.actor, "read")
            if selection.filter != EVERYTHING or belongs != EVERYTHING:
                readable = self._rulebook.now(selection)
                if belongs != EVERYTHING:
                    readable = Selection(target, join((readable.filter, belongs), either=False), readable.mask)
                need = Need(name, readable, key)
                pinned = await self._pinned(need) if is_judged(readable.filter) else need
                needs.append(pinned)
                has_pins = has_pins or (pinned is not need and pinned.selection.filter != NOTHING)
        return tuple(needs), has_pins

    async def _pinned(self, need: Need) -> Need:
        """A need of a record about which functions have been asked: only as long as it is as they saw it."""
        schema, filter, mask = need.selection.schema, need.selection.filter, need.selection.mask
        row = await self._store.lookup(everything(schema), need.key)
        if row is None:
            return Need(need.field, Selection(schema, NOTHING, mask), need.key)
        record = msgspec.json.decode(row.json)
        version = schema.fields["version"]
        as_it_was = Test(Path((), version, (), version.type), "eq", row.version)
        left = join((left_of(filter, record), as_it_was), either=False)
        return Need(need.field, Selection(schema, left, mask), need.key, beside_version(schema, record))

    def _returning(self, request: Request, definition: Definition) -> Selection | None:
        """What the asker may see of the written record; all of it where hooks will want it. None where he may see
        nothing, and where only functions can tell."""
        if definition.hooks and ("after", request.action) in definition.hooks:
            return whole(definition)
        if request.is_minimal:
            return None
        rules = rules_of(request, self._rulebook)
        selection = self._rulebook.now(rules.selection(request.actor, "read"))
        return None if selection.filter == NOTHING or is_judged(selection.filter) else selection


def whole(definition: Definition) -> Selection:
    """Every record of a resource with all that is not secret, for the server's own eyes."""
    selection = definition.memo.get("whole")
    if selection is None:
        selection = definition.memo["whole"] = everything(definition.schema)
    return cast(Selection, selection)


def not_found(request: Request) -> NotFound:
    """The problem for a record that is not there, or not for this actor."""
    return no_record(cast(Definition, request.definition), request.key)
