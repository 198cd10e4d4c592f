"""From a request to the writes that it means: decided here, with all that they depend on; made by the store.

    given → merged with what is stored → allowed? → completed → validators → hooks → passwords → Write

Nothing is written, and no more is read than hooks and merges need. Whatever was decided on is checked again
inside the transaction: the version, the rule before and after, the rules of single fields, the records that
references point at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

import msgspec

from crudite.changes import Guard, Write
from crudite.errors import Conflict, Fault, Forbidden, Invalid, NotFound
from crudite.ids import uuid7
from crudite.messages import ActionName, Actor
from crudite.query.plan import Mask, Need, Selection, everything
from crudite.query.resolve import join
from crudite.query.tree import EVERYTHING, NOTHING, Filter, Path, Test, is_judged
from crudite.resources.access import Rulebook, Rules
from crudite.resources.asking import refusal, rules_of
from crudite.resources.definition import Definition
from crudite.resources.deleting import Deleting
from crudite.resources.hooks import Hook, run_hook
from crudite.resources.incoming import at_index, created, given, is_many
from crudite.resources.keys import no_record
from crudite.resources.passwords import hash_passwords
from crudite.resources.refusals import changed, not_allowed
from crudite.resources.request import Request
from crudite.resources.validating import Validation, differing, looks_at_record
from crudite.stores.base import Store
from crudite.stores.sieve import left_of, look_up
from crudite.types import Key, Plain, PlainRecord

_UNREACHABLE = ("", ".", "..", "subscribe")


class Place(NamedTuple):
    """Where the body of a request says what another record is to be: its values stand there, if `is_body`."""

    pointer: str
    is_body: bool = False


@dataclass(slots=True)
class Prepared:
    """One decided write, with what the steps after the commit need to know.

    `old` is the stored record that it was decided on, None when that was not read. `optimistic` says that
    `expect` is ours and not the client's, so that a miss means to decide again; `has_pins` says the same of `needs`,
    of whose records functions have been asked; `is_carried` says that it follows from a change of another record.
    `links` are what links of the record are to be set to; `place` is there when it is made for another request's body.
    `answers` is there for the first write of a request that sets a whole: the keys and versions of the records that it
    leaves as they are, and the places of the writes of those that it makes, in the order of the answer.
    """

    write: Write
    definition: Definition
    request: Request
    old: PlainRecord | None = None
    optimistic: bool = False
    has_pins: bool = False
    is_carried: bool = False
    links: PlainRecord | None = None
    place: Place | None = None
    answers: Sequence[tuple[Key, int] | int] = ()

    @property
    def after(self) -> Sequence[Hook]:
        """The hooks that run after its commit."""
        hooks = self.definition.hooks
        return hooks.get(("after", cast(Any, self.request.action)), ()) if hooks else ()


class _FieldRules(NamedTuple):
    """The rules of the fields that a request gives, as far as they do not hold for every record: to hold for the
    stored record before, and for the record as it would be stored."""

    guards: tuple[Guard, ...] = ()
    after: tuple[Filter, ...] = ()


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
        for index, one in enumerate(created(request)):
            try:
                prepared.append(await self._creation(request, definition, rules, rule, one, now))
            except Invalid as invalid:
                if not (is_many(request.data) and invalid.faults):
                    raise
                faults += [at_index(fault, index) for fault in invalid.faults]
        if faults:
            raise Invalid(faults=faults)
        return prepared

    async def _creation(
        self, request: Request, definition: Definition, rules: Rules, rule: Filter, given: PlainRecord, now: datetime
    ) -> Prepared:
        schema = definition.schema
        given, links = definition.without_links(given)
        refuse_unreachable(given, definition)
        fields = _field_rules(rules, given, request.actor)
        values = {**definition.make_defaults(request.actor, now, given), **given}
        if schema.key not in values and schema.key_field.type.kind == "uuid":
            values[schema.key] = uuid7()
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
            check_after=condition_of(_left_after(rule, definition, values), *fields.after),
            returning=self._returning(request, definition),
        )
        return Prepared(write, definition, request, has_pins=has_pins, links=links)

    async def _change(self, request: Request, definition: Definition, rules: Rules, rule: Filter) -> Prepared:
        values, links = definition.without_links(given(request))
        old, version = None, None
        if links or is_judged(rule) or _needs_old(request, definition, rules, values):
            old, version = await self._old(request, definition, rule)
        fields = _field_rules(rules, _written(request, rules, values, old), request.actor)
        if old is not None:
            values = definition.bodies[cast(Any, request.action)].merge(old, values)
            _refuse_immutable(definition, old, values)
        named = frozenset(values)
        if request.action == "replace":
            values = _completed(request, definition, rules, values, self._rulebook.clock())
        validation = self._validation(request, definition, old)
        if validation is not None:
            values = await validation.of(values, named)
        hooks = definition.hooks.get(("before", cast(Any, request.action)), ())
        if hooks and old is not None:
            draft, stored = definition.from_plain({**old, **values}), definition.from_plain(old)
            provided = self._rulebook.definitions.provided
            for hook in hooks:
                await run_hook(hook, draft, request, stored, provided)
            before, values = {**old, **values}, definition.validated(_changed(old, definition.to_plain(draft)))
            if validation is not None:
                values = await validation.of(values, differing(values, before))
        if definition.passwords:
            await hash_passwords(definition, values)
        needs, has_pins = await self._needs(definition, values, request, validation)
        write = Write(
            action="update",
            schema=definition.schema,
            key=request.key,
            values={
                **{name: value for name, value in values.items() if name != definition.schema.key},
                **({definition.schema.key: request.key} if links else {}),  # with which the version grows
            },
            expect=request.expect if request.expect is not None else version,
            where=condition_of(_left_before(rule, old), self._scope(request)),
            guards=fields.guards,
            needs=needs,
            check_after=condition_of(_left_after(rule, definition, {**(old or {}), **values}), *fields.after),
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
            where=condition_of(_left_before(rule, old), self._scope(request)),
            returning=None if action == "delete" else self._returning(request, definition),
            along=self._deleting.along(request, definition.schema),
        )
        return Prepared(write, definition, request, old, optimistic=request.expect is None)

    async def _old(self, request: Request, definition: Definition, rule: Filter) -> tuple[PlainRecord, int]:
        """The stored record and its version. Raises Forbidden, or NotFound when the actor may not read it, for one
        that the rule does not hold for: nothing of it may show in what the request is told."""
        selection = whole(definition)
        condition = condition_of(rule, self._scope(request))
        if condition is not None:
            selection = Selection(selection.schema, condition, selection.mask)
        row = await look_up(self._store, selection, cast(Key, request.key))
        if row is not None:
            if is_judged(rule) and request.expect not in (None, row.version):
                # What functions have said of this version says nothing of the one that the client means.
                raise changed() if await self.may_read(request) else not_found(request)
            return msgspec.json.decode(row.json), row.version
        if condition is None or not await self.may_read(request):
            raise not_found(request)
        raise not_allowed(request, definition)

    def _scope(self, request: Request) -> Filter:
        """The nested path that a record was asked for under, as a condition on it."""
        if request.nesting is None:
            return EVERYTHING
        return self._rulebook.resolve(cast(Definition, request.definition).schema, request.nesting.filter)

    def _validation(self, request: Request, definition: Definition, old: PlainRecord | None) -> Validation | None:
        """What asks the validators of a write, where there are any."""
        if not definition.validators:
            return None
        return Validation(definition, self._rulebook.definitions, self._store, request, old)

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
                pinned = await self._pinned(readable, key) if is_judged(readable.filter) else readable
                needs.append(Need(name, pinned, key))
                has_pins = has_pins or (pinned is not readable and pinned.filter != NOTHING)
        return tuple(needs), has_pins

    async def _pinned(self, selection: Selection, key: Key) -> Selection:
        """A selection in which functions have been asked about the record with a key: it holds that record only as
        long as it has the version that they saw."""
        row = await self._store.lookup(everything(selection.schema), key)
        if row is None:
            return Selection(selection.schema, NOTHING, selection.mask)
        left = left_of(selection.filter, msgspec.json.decode(row.json))
        version = selection.schema.fields["version"]
        as_it_was = Test(Path((), version, (), version.type), "eq", row.version)
        return Selection(selection.schema, join((left, as_it_was), either=False), selection.mask)

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


def _left_before(rule: Filter, old: PlainRecord | None) -> Filter:
    """What of a rule the store must check, functions having been asked about the stored record."""
    return rule if old is None else left_of(rule, old)


def _left_after(rule: Filter, definition: Definition, values: PlainRecord) -> Filter:
    """What of a rule the store must check, functions having been asked about the record as it would be stored."""
    if not is_judged(rule):
        return rule
    fields = definition.schema.fields.values()
    record = {f.name: None for f in fields if f.nullable and not f.secret}
    return left_of(rule, {**record, **{f.name: values[f.name] for f in fields if f.name in values and not f.secret}})


def _needs_old(request: Request, definition: Definition, rules: Rules, values: PlainRecord) -> bool:
    """Whether a change can only be decided on the stored record."""
    action = cast(Any, request.action)
    return (
        ("before", action) in definition.hooks
        or any(hook.takes > 2 for hook in definition.hooks.get(("after", action), ()))
        or definition.bodies[action].needs_old(values)
        or not definition.immutable.isdisjoint(values)
        or looks_at_record(definition, values)
        or (action == "replace" and bool(definition.cascades))
        or not definition.cascades.keys().isdisjoint(values)
        or (action == "replace" and not rules.restricted_writes.isdisjoint(values))
    )


def _written(request: Request, rules: Rules, values: PlainRecord, old: PlainRecord | None) -> PlainRecord:
    """The values that a request writes, for the rules of their fields.

    Whoever replaces a record sends all of it: what he may read and leaves as it is counts as not written. (A
    field that he may not read always counts: else the answer would tell whether he guessed its value.)
    """
    if request.action != "replace" or old is None:
        return values
    return {
        name: value
        for name, value in values.items()
        if old.get(name) != value or rules.field_read(name, request.actor) != EVERYTHING
    }


def _field_rules(rules: Rules, given: Mapping[str, Plain], actor: Actor) -> _FieldRules:
    """The rules for writing the fields that are given. Raises Forbidden naming all that the actor may never write."""
    restricted = rules.restricted_writes & given.keys()
    if not restricted:
        return _FieldRules()
    folded = {name: rules.field_write(name, actor) for name in sorted(restricted)}
    refused = [name for name, filter in folded.items() if filter == NOTHING]
    if refused:
        faults = [Fault("not_writable", f"You may not write {name}.", pointer=f"/{name}") for name in refused]
        raise Forbidden(faults=faults)
    partly = {name: filter for name, filter in folded.items() if filter != EVERYTHING}
    return _FieldRules(tuple(Guard((name,), filter) for name, filter in partly.items()), tuple(partly.values()))


def _completed(
    request: Request, definition: Definition, rules: Rules, values: PlainRecord, now: datetime
) -> PlainRecord:
    """What a replace stores: the defaults in place of what is not given, but for fields that are not the actor's
    to write, or nobody's to change."""
    defaults = definition.make_defaults(request.actor, now, values)
    kept = definition.immutable | {
        name for name in rules.restricted_writes if rules.field_write(name, request.actor) != EVERYTHING
    }
    completed = {**{name: value for name, value in defaults.items() if name not in kept}, **values}
    return {name: value for name, value in completed.items() if name not in definition.immutable}


def refuse_unreachable(given: PlainRecord, definition: Definition) -> None:
    """Raises Invalid for a key with which a record would have no address of its own in URLs."""
    key = definition.schema.key
    if given.get(key) in _UNREACHABLE:
        detail = f"{key} must not be empty, a dot, two dots or the word subscribe: it is part of an address."
        raise Invalid(faults=[Fault("unreachable_key", detail, pointer=f"/{key}")])


def _refuse_immutable(definition: Definition, old: PlainRecord, values: PlainRecord) -> None:
    """Raises Invalid when a field that cannot be changed would be."""
    changed = [name for name in sorted(definition.immutable & values.keys()) if values[name] != old.get(name)]
    if changed:
        raise Invalid(faults=[Fault("immutable", f"{name} cannot be changed.", pointer=f"/{name}") for name in changed])


def _changed(old: PlainRecord, values: Mapping[str, Plain]) -> PlainRecord:
    return {name: value for name, value in values.items() if name not in old or old[name] != value}


def condition_of(*filters: Filter) -> Filter | None:
    """All of the filters as one condition; None when there is nothing to check."""
    if all(filter == EVERYTHING for filter in filters):
        return None
    return join(filters, either=False)
