"""How the writing actions are performed: create, replace, update, delete, alone or in one transaction.

Decide, then act: each request becomes `Prepared` writes without touching the database more than to read what
hooks and merges need; all of them go to the store as one unit; then `after` hooks run. A write that was decided
on a version that has moved meanwhile is decided again, at most three times.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import msgspec

from crudite.changes import Commit, Guard, Refused, Unit, Write
from crudite.errors import Conflict, Fault, Forbidden, Invalid, Malformed, NotFound, Problem
from crudite.ids import uuid7
from crudite.messages import Actor, Written
from crudite.query.plan import Mask, Need, Plan, Selection, everything
from crudite.query.resolve import join
from crudite.query.tree import EVERYTHING, NOTHING, Filter
from crudite.resources.access import Rulebook, Rules, at
from crudite.resources.definition import Definition
from crudite.resources.hooks import run_hook
from crudite.resources.passwords import hash_passwords
from crudite.resources.reading import plain_key, refusal
from crudite.resources.records import Intent
from crudite.resources.refusals import explain
from crudite.resources.request import Request
from crudite.stores.base import Store
from crudite.types import Key, Plain, PlainRecord

MAX_MANY = 1000
"""How many records one request can create."""
_TRIES = 3
_log = logging.getLogger("crudite")
_RAW = (bytes, bytearray, memoryview, msgspec.Raw)


@dataclass(slots=True)
class Prepared:
    """One decided write, with what the steps after the commit need to know.

    `draft` is what `after` hooks are given, `old` the stored record it was decided on (None when it was not
    read). `optimistic` says that `expect` is ours and not the client's, so that a miss means to decide again.
    """

    write: Write
    definition: Definition
    request: Request
    draft: Any = None
    old: PlainRecord | None = None
    optimistic: bool = False

    @property
    def runs_after(self) -> bool:
        """Whether there are `after` hooks for it."""
        return ("after", self.request.action) in self.definition.hooks


class Writing:
    """Performs the writing actions."""

    def __init__(self, rulebook: Rulebook, store: Store) -> None:
        self._rulebook = rulebook
        self._store = store

    async def write(self, request: Request) -> Written:
        """Performs one request of a writing action. Raises its problem; then nothing has changed."""
        return (await self.write_all([request]))[0]

    async def write_all(self, requests: Sequence[Request]) -> list[Written]:
        """Performs several requests in one transaction: all of them, or none."""
        given = [list(request.batched) for request in requests]
        for attempt in range(1, _TRIES + 1):
            for request, intents in zip(requests, given, strict=True):
                request.batched[:] = intents  # what hooks have put in at an earlier attempt is void
            prepared = [await self._prepare(request) for request in requests]
            further = await self._batched(requests)
            every = [write for group in prepared for write in group] + further
            try:
                commit = await self._store.write(_unit(requests[0], every))
                break
            except Refused as refused:
                missed = every[refused.index]
                if refused.kind == "version" and missed.optimistic:
                    if attempt < _TRIES:
                        continue
                    raise Conflict("The record keeps changing; try again.") from refused
                raise await self._problem(refused, missed) from refused
        if any(one.runs_after for one in every):
            await self._after(every, commit)
        return await self._results(requests, prepared, commit)

    async def _batched(self, requests: Sequence[Request]) -> list[Prepared]:
        """The writes that `before` hooks have put into the batch; their own hooks may put in more."""
        further: list[Prepared] = []
        waiting = list(requests)
        for request in waiting:
            for intent in request.batched:
                if len(further) >= MAX_MANY:
                    raise RuntimeError(f"hooks have put more than {MAX_MANY} writes into one batch")
                waiting.append(self._follow_up(request, intent))
                further += await self._prepare(waiting[-1])
            request.batched.clear()
        return further

    def _follow_up(self, request: Request, intent: Intent) -> Request:
        definition = self._rulebook.definitions[intent.resource]
        key = None if intent.key is None else plain_key(definition, intent.key)
        return Request(
            intent.action, definition.path, definition=definition, key=key,
            data=intent.data, expect=intent.expect, actor=request.actor, interface=request.interface, id=request.id,
            is_minimal=True, is_system=True, performers=request.performers,
        )  # fmt: skip

    async def _prepare(self, request: Request) -> list[Prepared]:
        definition = cast(Definition, request.definition)
        rules = self._rulebook.of(definition.schema, system=request.is_system)
        action = cast(Any, request.action)
        rule = rules.action_now(action, request.actor)
        if rule == NOTHING:
            raise refusal(request.actor, action, definition)
        match action:
            case "create":
                return await self._prepare_create(request, definition, rules, rule)
            case "delete":
                return [await self._prepare_delete(request, definition, rule)]
            case _:
                return [await self._prepare_change(request, definition, rules, rule)]

    async def _prepare_create(
        self, request: Request, definition: Definition, rules: Rules, rule: Filter
    ) -> list[Prepared]:
        parse = definition.bodies["create"].parse
        if request.nesting is not None:
            parse = partial(_parse_below, request.nesting.values, parse)
        bodies = _bodies(request.data)
        given = [parse(request.data)] if bodies is None else _each(bodies, parse)
        now = datetime.now(UTC)
        return [
            await self._prepare_one(request, definition, rules, rule, values, now) for values in given
        ]

    async def _prepare_one(
        self, request: Request, definition: Definition, rules: Rules, rule: Filter, given: PlainRecord, now: datetime
    ) -> Prepared:
        schema, actor = definition.schema, request.actor
        check, _ = self._field_rules(rules, given, actor)
        values = {**definition.make_defaults(actor, now, given), **given}
        if schema.key not in values and schema.key_field.type.kind == "uuid":
            values[schema.key] = uuid7()
        draft = None
        hooks = definition.hooks.get(("before", "create"), ())
        if hooks:
            draft = definition.from_plain(values)
            for hook in hooks:
                await run_hook(hook, draft, request, None)
            values = definition.validated(definition.to_plain(draft))
        if definition.passwords:
            await hash_passwords(definition, values)
        write = Write(
            action="create",
            schema=schema,
            key=values.get(schema.key),
            values=values,
            needs=self._needs(definition, values, request),
            check_after=_condition(rule, *(filter for _, filter in check)),
            returning=self._returning(request, definition, "create"),
        )
        return Prepared(write, definition, request, draft)

    async def _prepare_change(self, request: Request, definition: Definition, rules: Rules, rule: Filter) -> Prepared:
        schema, actor, now = definition.schema, request.actor, datetime.now(UTC)
        action = cast(Any, request.action)
        body = definition.bodies[action]
        parse = body.parse
        if action == "replace" and request.nesting is not None:
            parse = partial(_parse_below, request.nesting.values, parse)
        given = parse(request.data)
        hooks = definition.hooks.get(("before", action), ())
        after = definition.hooks.get(("after", action), ())
        read_first = hooks or any(hook.takes > 2 for hook in after) or body.needs_old(given) or definition.immutable & given.keys() or action == "replace"
        old, version = await self._old(request, definition, rule) if read_first else (None, None)
        _same_key(given, request, definition)
        values = given if old is None else body.merge(old, given)
        if old is not None:
            _keep_immutable(definition, old, values)
        check, guards = self._field_rules(rules, values if old is None else _changed(old, values), actor)
        if action == "replace":
            values = {**definition.make_defaults(actor, now, values), **values}
            for name in definition.immutable:
                values.pop(name, None)
        draft = None
        if hooks and old is not None:
            draft = definition.from_plain({**old, **values})
            stored = definition.from_plain(old)
            for hook in hooks:
                await run_hook(hook, draft, request, stored)
            values = definition.validated(_changed(old, definition.to_plain(draft)))
        await hash_passwords(definition, values)
        write = Write(
            action="update",
            schema=schema,
            key=request.key,
            values={name: value for name, value in values.items() if name != schema.key},
            expect=request.expect if request.expect is not None else version,
            where=_condition(rule, self._scope(request)),
            guards=guards,
            needs=self._needs(definition, values, request),
            check_after=_condition(rule, *(filter for _, filter in check)),
            returning=self._returning(request, definition, action),
        )
        return Prepared(write, definition, request, draft, old, optimistic=request.expect is None)

    async def _prepare_delete(self, request: Request, definition: Definition, rule: Filter) -> Prepared:
        hooks = definition.hooks.get(("before", "delete"), ())
        old, version = None, None
        if hooks or definition.hooks.get(("after", "delete")):
            old, version = await self._old(request, definition, rule)
            stored = definition.from_plain(old)
            for hook in hooks:
                await run_hook(hook, stored, request, stored)
        write = Write(
            action="delete",
            schema=definition.schema,
            key=request.key,
            expect=request.expect if request.expect is not None else version,
            where=_condition(rule, self._scope(request)),
        )
        return Prepared(write, definition, request, None, old, optimistic=request.expect is None)

    async def _old(self, request: Request, definition: Definition, rule: Filter) -> tuple[PlainRecord, int]:
        """The stored record and its version. Raises Forbidden, or NotFound when the actor may not read it, for one
        that the rule does not hold for: nothing of it may show in what the request is told."""
        selection, key = _whole(definition), cast(Key, request.key)
        condition = _condition(rule, self._scope(request))
        if condition is not None:
            selection = Selection(selection.schema, condition, selection.mask)
        row = await self._store.lookup(selection, key)
        if row is not None:
            return msgspec.json.decode(row.json), row.version
        if condition is None or not await self._may_read(request, definition):
            raise _not_found(request, definition)
        raise Forbidden(f"You may not {request.action} this {definition.name}.")

    async def _may_read(self, request: Request, definition: Definition) -> bool:
        rules = self._rulebook.of(definition.schema, system=request.is_system)
        readable = at(rules.selection(request.actor, "read"), datetime.now(UTC))
        scoped = join((readable.filter, self._scope(request)), either=False)
        selection = Selection(definition.schema, scoped, Mask((definition.schema.key,)))
        return await self._store.lookup(selection, cast(Key, request.key)) is not None

    def _scope(self, request: Request) -> Filter:
        """The nested path that a record was asked for under, as a condition on it."""
        if request.nesting is None or request.definition is None:
            return EVERYTHING
        return self._rulebook.resolve(request.definition.schema, request.nesting.filter)

    def _field_rules(
        self, rules: Rules, values: Mapping[str, Plain], actor: Actor
    ) -> tuple[list[tuple[str, Filter]], tuple[Guard, ...]]:
        """The rules for writing these fields: to be checked after, and on the stored record before."""
        restricted = rules.restricted_writes & values.keys()
        if not restricted:
            return [], ()
        folded = {name: rules.field_write(name, actor) for name in sorted(restricted)}
        refused = [name for name, filter in folded.items() if filter == NOTHING]
        if refused:
            raise _fields_refused(refused)
        partly = [(name, filter) for name, filter in folded.items() if filter != EVERYTHING]
        return partly, tuple(Guard((name,), filter) for name, filter in partly)

    def _needs(self, definition: Definition, values: Mapping[str, Plain], request: Request) -> tuple[Need, ...]:
        """The records that references point at and that the actor must be able to read."""
        if not definition.references:
            return ()
        needs = []
        for name, reference in definition.references:
            key = values.get(name)
            if key is None or not reference.enforced:
                continue
            rules = self._rulebook.of(self._rulebook.definitions.catalog[reference.target], system=request.is_system)
            selection = at(rules.selection(request.actor, "read"), datetime.now(UTC))
            if selection.filter != EVERYTHING:
                needs.append(Need(name, selection, key))
        return tuple(needs)

    def _returning(self, request: Request, definition: Definition, action: str) -> Selection | None:
        """What the asker may see of the written record; all of it where hooks will want it."""
        if definition.hooks.get(("after", cast(Any, action))):
            return _whole(definition)
        if request.is_minimal:
            return None
        rules = self._rulebook.of(definition.schema, system=request.is_system)
        selection = at(rules.selection(request.actor, "read"), datetime.now(UTC))
        return None if selection.filter == NOTHING else selection

    async def _after(self, prepared: Sequence[Prepared], commit: Commit) -> None:
        """Runs the `after` hooks. The commit stands, whatever they do."""
        for one, stored in zip(prepared, commit.stored, strict=True):
            action = cast(Any, one.request.action)
            for hook in one.definition.hooks.get(("after", action), ()):
                plain = one.old if stored.json is None else msgspec.json.decode(stored.json)
                record = one.definition.from_plain(plain or {})
                old = one.definition.from_plain(one.old) if one.old is not None else None
                try:
                    await run_hook(hook, record, one.request, old)
                except Exception:
                    _log.exception("a hook after %r failed; what was written stays", one.request)

    async def _results(
        self, requests: Sequence[Request], prepared: Sequence[Sequence[Prepared]], commit: Commit
    ) -> list[Written]:
        results, start = [], 0
        for request, group in zip(requests, prepared, strict=True):
            stored = commit.stored[start : start + len(group)]
            start += len(group)
            action = cast(Any, request.action)
            keys = [one.key for one in stored]
            texts: list[str | None] = [one.json for one in stored]
            if group and group[0].runs_after and action != "delete":
                texts = await self._shown(request, group[0].definition, keys)
            many = action == "create" and _is_many(request.data)
            results.append(Written(action, keys, [one.version for one in stored], texts, many, commit.mark))
        return results

    async def _shown(self, request: Request, definition: Definition, keys: Sequence[Key]) -> list[str | None]:
        if request.is_minimal:
            return [None] * len(keys)
        rules = self._rulebook.of(definition.schema, system=request.is_system)
        selection = at(rules.selection(request.actor, "read"), datetime.now(UTC))
        page = await self._store.page(Plan(selection=selection, keys=tuple(keys)))
        found = dict(zip(page.keys, page.records, strict=True))
        return [found.get(key) for key in keys]

    async def _problem(self, refused: Refused, missed: Prepared) -> Problem:
        """The problem for a refusal. A record that the actor may not even read is not there for him."""
        if refused.kind in ("where", "version", "guard") and not await self._may_read(missed.request, missed.definition):
            return _not_found(missed.request, missed.definition)
        return explain(refused, missed.definition, missed.request)


def _whole(definition: Definition) -> Selection:
    selection = definition.memo.get("whole")
    if selection is None:
        selection = definition.memo["whole"] = everything(definition.schema)
    return cast(Selection, selection)


def _unit(request: Request, prepared: Sequence[Prepared]) -> Unit:
    actor = None if request.actor.id is None else str(request.actor.id)
    return Unit(writes=tuple([one.write for one in prepared]), actor=actor, request=request.id or None)


def _condition(*filters: Filter) -> Filter | None:
    """All of the filters as one condition; None when there is nothing to check."""
    if all(filter == EVERYTHING for filter in filters):
        return None
    return join(filters, either=False)


def _bodies(data: Any) -> Sequence[Any] | None:
    """The parts of a body that holds several records; None when it holds one."""
    if not _is_many(data):
        return None
    parts: Sequence[Any] = data
    if isinstance(data, _RAW):
        try:
            parts = msgspec.json.decode(bytes(data), type=list[msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"The body is not JSON: {error}.") from error
    if len(parts) > MAX_MANY:
        raise Malformed(f"At most {MAX_MANY} records are created at once, {len(parts)} came.")
    return parts


def _is_many(data: Any) -> bool:
    """Whether a body holds several records: a JSON array, or a list."""
    if isinstance(data, _RAW):
        raw = bytes(data)
        return raw[:1] == b"[" or (raw[:1] in b" \t\r\n" and raw.lstrip(b" \t\r\n")[:1] == b"[")
    return isinstance(data, (list, tuple))


def _each(bodies: Sequence[Any], parse: Any) -> list[PlainRecord]:
    """Parses every body. Raises Invalid with the faults of all of them, each pointer with its index in front."""
    parsed, faults = [], []
    for index, body in enumerate(bodies):
        try:
            parsed.append(parse(body))
        except Problem as problem:
            if not problem.faults:
                raise
            faults += [
                Fault(fault.code, fault.detail, pointer=f"/{index}{fault.pointer or ''}") for fault in problem.faults
            ]
    if faults:
        raise Invalid(faults=faults)
    return parsed


def _parse_below(parents: PlainRecord, parse: Callable[[Any], PlainRecord], data: Any) -> PlainRecord:
    """Parses a body that was sent to a nested path: it gets the parent's key from there, and may repeat it."""
    try:
        given = msgspec.json.decode(bytes(data)) if isinstance(data, _RAW) else data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return parse(data)
    if not isinstance(given, Mapping):
        return parse(data)
    other = [name for name, key in parents.items() if given.get(name, key) != key]
    if other:
        detail = "The path names another record."
        raise Invalid(faults=[Fault("other_parent", detail, pointer=f"/{name}") for name in other])
    return parse({**given, **parents})


def _same_key(given: dict[str, Plain], request: Request, definition: Definition) -> None:
    """A body may repeat the key of its record; it cannot give it another."""
    key = definition.schema.key
    if key in given and given[key] != request.key:
        raise Invalid(faults=[Fault("immutable", f"{key} cannot be changed.", pointer=f"/{key}")])


def _keep_immutable(definition: Definition, old: PlainRecord, values: dict[str, Plain]) -> None:
    changed = [name for name in sorted(definition.immutable & values.keys()) if values[name] != old.get(name)]
    if changed:
        raise Invalid(faults=[Fault("immutable", f"{name} cannot be changed.", pointer=f"/{name}") for name in changed])


def _changed(old: PlainRecord, values: Mapping[str, Plain]) -> dict[str, Plain]:
    return {name: value for name, value in values.items() if name not in old or old[name] != value}


def _fields_refused(names: Sequence[str]) -> Forbidden:
    faults = [Fault("not_writable", f"You may not write {name}.", pointer=f"/{name}") for name in names]
    return Forbidden(faults=faults)


def _not_found(request: Request, definition: Definition) -> NotFound:
    return NotFound(f"There is no {definition.name} with the key {request.key!r}.")


