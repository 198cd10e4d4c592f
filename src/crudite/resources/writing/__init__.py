"""How the writing actions are performed: create, replace, update, delete, restore, alone or in one transaction.

Each request is prepared (`resources.preparing`), all of them go to the store as one unit, and then the `after`
hooks run. A write that was decided on a version that has moved meanwhile is decided again, at most eight times, with
pauses that are less than a second together: of many who write the same, one goes on each time.
"""

import asyncio
import logging
import random
from collections.abc import Collection, Sequence
from typing import Any, cast

import msgspec

from crudite.changes import Commit, Refused, Stored, Unit
from crudite.errors import Conflict, Problem
from crudite.messages import Written
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.tree import NOTHING
from crudite.resources.access import Rulebook
from crudite.resources.asking import rules_of
from crudite.resources.hooks import run_hook
from crudite.resources.keys import plain_key
from crudite.resources.records import Intent
from crudite.resources.refusals import explain
from crudite.resources.request import Request
from crudite.resources.writing.cascading import Cascading
from crudite.resources.writing.dangling import dangling
from crudite.resources.writing.deleting import Deleting
from crudite.resources.writing.incoming import MAX_MANY, is_many
from crudite.resources.writing.prepared import InBody, Prepared
from crudite.resources.writing.preparing import Preparing, not_found
from crudite.resources.writing.relations import Moved, Relating, placed
from crudite.resources.writing.setting import Setting
from crudite.resources.writing.taken import not_unique
from crudite.stores.base import Store
from crudite.stores.sieve import read_page
from crudite.types import Key

_TRIES = 8
_FIRST_PAUSE = 0.005
_TRIES_OF_DOUBT = 3
"""How often a write is decided that nobody may have been in the way of."""
_MOVED = ("missing", "unique")
"""Why a write that sets a link is refused when somebody else has written what it was decided on."""
_CHANGED_BEFORE = "What is decided on a record as it is stored cannot come after a change of it in one transaction."
_log = logging.getLogger("crudite")


class Writing:
    """Performs the writing actions."""

    def __init__(self, rulebook: Rulebook, store: Store) -> None:
        self._rulebook = rulebook
        self._store = store
        self._deleting = Deleting(rulebook, store)
        self._preparing = Preparing(rulebook, store, self._deleting)
        self._relating = Relating(rulebook, store, self._preparing)
        self._setting = Setting(rulebook, store, self._relating)

    async def write_all(self, requests: Sequence[Request]) -> list[Written]:
        """Performs several requests in one transaction: all of them, or none. Raises the problem of the first that
        cannot be performed; then nothing has changed."""
        given = [list(request.batched) for request in requests]
        for tried in range(1, _TRIES + 1):
            for request, intents in zip(requests, given, strict=True):
                request.batched[:] = intents  # what hooks have put in at an earlier attempt is void
            prepared = [await self._prepare(request) for request in requests]
            every = await self._every(requests, prepared)
            try:
                commit = await self._store.write(_unit(requests[0], every))
            except Refused as refused:
                missed = every[refused.index]
                if _is_in_its_own_way(refused, every):
                    raise Conflict(_CHANGED_BEFORE) from refused
                changing = await self._changing(refused, missed)
                if changing is not None and tried < _TRIES:  # those who met do not come back at the same moment
                    await asyncio.sleep(random.uniform(0, _FIRST_PAUSE * 2**tried))  # noqa: S311
                    continue
                if changing is None and tried < _TRIES_OF_DOUBT and _may_have_come(refused, missed):
                    continue
                if changing is not None:
                    raise Conflict(f"{changing} changing; try again.") from refused
                raise await self._problem(refused, missed, every) from refused
            for one in every:
                one.request.is_written = True
            if any(one.after for one in every):
                await self._run_after(every, commit)
            return await self._results(requests, prepared, every, commit)
        raise AssertionError("the last try returns or raises")

    async def _every(self, requests: Sequence[Request], prepared: Sequence[list[Prepared]]) -> list[Prepared]:
        """The writes of requests, and all that follow from them, in order."""
        moved: set[Moved] = set()
        linked = [one for group in prepared for one in await self._linked(group, moved)]
        further = await self._further(
            [*requests, *(one.request for one in linked)], [*prepared, *([one] for one in linked)], moved
        )
        last = [one.last for group in prepared for one in group if one.last is not None]
        return [write for group in prepared for write in group] + linked + further + last

    async def _prepare(self, request: Request) -> list[Prepared]:
        return await (self._setting if request.action == "set" else self._preparing).prepare(request)

    async def _linked(self, group: Sequence[Prepared], moved: set[Moved]) -> list[Prepared]:
        """The writes that set the links which were given with others."""
        return await self._relating.settle(group, moved) if any(one.links for one in group) else []

    async def _changing(self, refused: Refused, missed: Prepared) -> str | None:
        """What others keep changing, where that alone has a write refused: decided again, it may succeed."""
        is_carried = missed.is_carried and refused.kind in ("missing", "where")
        if is_carried or (refused.kind == "version" and _is_ours(refused, missed)):
            return "The record keeps"
        references = dict(missed.definition.references).keys()
        if refused.kind == "need" and missed.has_pins and references.isdisjoint(refused.fields):
            return "What this is decided on keeps"  # validators have looked at it
        if refused.kind == "where" and await self._has_moved(missed):
            return "The records of a link keep"
        if refused.kind == "where" and await self._is_back(missed):
            return "The record keeps"
        return None

    async def _has_moved(self, missed: Prepared) -> bool:
        """Whether a record that was to be taken out of a link, or whose link was to be set at its path, has been moved
        elsewhere meanwhile."""
        if missed.taken_from is None:
            return missed.request.action == "set"
        schema = missed.definition.schema
        still = Selection(schema, missed.taken_from, Mask((schema.key,)))
        return await self._store.lookup(still, cast(Key, missed.request.key)) is None

    async def _is_back(self, missed: Prepared) -> bool:
        """Whether a record that was not there when it was to be changed has been restored since, so that what was
        demanded of it holds."""
        schema, where = missed.definition.schema, missed.write.where
        if not schema.is_soft or missed.request.action == "restore" or where is None:
            return False
        demanded = Selection(schema, where, Mask((schema.key,)))
        return await self._store.lookup(demanded, cast(Key, missed.request.key)) is not None

    async def _further(
        self, requests: Sequence[Request], prepared: Sequence[list[Prepared]], moved: set[Moved]
    ) -> list[Prepared]:
        """The writes that `before` hooks have put into the batch, those that set the links of these, and those that
        follow from changed fields; all may bring more."""
        further: list[Prepared] = []
        cascading = Cascading(self._rulebook, self._store, self._preparing)
        waiting = list(zip(requests, prepared, strict=True))
        for group in prepared:
            cascading.heed(group)
        for request, group in waiting:
            askers = dict.fromkeys((request, *(one.request for one in group)))  # those below a parent have their own
            for asked in askers:
                for intent in asked.batched:
                    if len(further) >= MAX_MANY:
                        raise RuntimeError(f"hooks have put more than {MAX_MANY} writes into one batch")
                    follow_up = self._follow_up(asked, intent)
                    made = await self._preparing.prepare(follow_up)
                    linked = await self._linked(made, moved)
                    waiting += [(follow_up, made), *((one.request, [one]) for one in linked)]
                    further += made + linked
                    cascading.heed(made + linked)
                asked.batched.clear()
            carried = await cascading.of(group)
            waiting += [(one.request, [one]) for one in carried]
            further += carried
        return further

    def _follow_up(self, request: Request, intent: Intent) -> Request:
        definition = self._rulebook.definitions[intent.resource]
        key = None if intent.key is None else plain_key(definition, intent.key)
        return Request(
            intent.action, definition.path, definition=definition, key=key, data=intent.data, expect=intent.expect,
            is_forced=intent.is_forced, is_purging=intent.is_purging, actor=request.actor,
            interface=request.interface, id=request.id,
            is_minimal=True, is_system=True, performers=request.performers,
        )  # fmt: skip

    async def _run_after(self, prepared: Sequence[Prepared], commit: Commit) -> None:
        """Runs the `after` hooks. The commit stands, whatever they do."""
        for one, stored in zip(prepared, commit.stored, strict=True):
            for hook in one.after:
                plain = one.old if stored.json is None else msgspec.json.decode(stored.json)
                record = one.definition.from_plain(plain or {})
                old = one.definition.from_plain(one.old) if one.old is not None else None
                try:
                    await run_hook(hook, record, one.request, old, self._rulebook.definitions.provided)
                except Exception:
                    _log.exception("a hook after %r failed; what was written stays", one.request)

    async def _results(
        self,
        requests: Sequence[Request],
        prepared: Sequence[Sequence[Prepared]],
        every: Sequence[Prepared],
        commit: Commit,
    ) -> list[Written]:
        results, start = [], 0
        latest = _latest(every, commit.stored)
        for request, group in zip(requests, prepared, strict=True):
            stored, places = commit.stored[start : start + len(group)], range(start, start + len(group))
            start += len(group)
            keys, versions = [one.key for one in stored], [commit.stored[latest[place]].version for place in places]
            texts: list[str | None] = [one.json for one in stored]
            if request.action == "set":
                keys, versions = _answers(group[0], stored)
            is_along = None in texts and len(commit.stored) > len(group)  # what came along may have given the right
            is_old = any(latest[place] != place for place in places)
            if (
                group
                and request.action != "delete"
                and (group[0].after or group[0].write.returning is None or is_along or is_old)
            ):
                texts, versions = await self._shown(request, keys, versions)
            if group and request.shows is not None:
                texts = _narrowed(texts, request.shows(group[0].definition))
            many = request.action == "set" or (request.action == "create" and is_many(request.data))
            results.append(Written(cast(Any, request.action), keys, versions, texts, many, commit.mark))
        return results

    async def _shown(
        self, request: Request, keys: Sequence[Key], versions: list[int]
    ) -> tuple[list[str | None], list[int]]:
        """What the asker may see of the written records, read after the commit, and the versions that it is of; those
        that they got where he sees nothing."""
        nothing: list[str | None] = [None] * len(keys)
        if request.is_minimal:
            return nothing, versions
        rules = rules_of(request, self._rulebook)
        readable = self._rulebook.now(rules.selection(request.actor, "read"))
        if readable.filter == NOTHING:
            return nothing, versions
        page = await read_page(self._store, Plan(selection=readable, keys=tuple(keys)))
        texts = dict(zip(page.keys, page.records, strict=True))
        found = dict(zip(page.keys, page.versions, strict=True))
        return [texts.get(key) for key in keys], [found.get(key, v) for key, v in zip(keys, versions, strict=True)]

    async def _problem(self, refused: Refused, missed: Prepared, every: Sequence[Prepared]) -> Problem:
        """The problem for a refusal, said of the places in the body that it is about."""
        if refused.kind in ("need", "reference") and missed.request.action != "restore":
            problem: Problem = await dangling(refused, missed, every, self._store, self._rulebook.definitions.catalog)
        else:
            problem = await self._explained(refused, missed)
            if missed.entry is not None:
                return placed(problem, InBody(f"/{missed.entry}", is_body=True))
        return problem if missed.place is None else placed(problem, missed.place)

    async def _explained(self, refused: Refused, missed: Prepared) -> Problem:
        """The problem for the refusal of one write. A record that the actor may not even read is not there for him."""
        if refused.kind in ("where", "version", "guard") and not await self._preparing.may_read(missed.request):
            problem: Problem = not_found(missed.request)
        elif refused.kind == "where" and await self._is_back(missed):  # only now: else he could not read it either
            problem = Conflict("The record keeps changing; try again.")
        elif refused.kind == "referenced":
            problem = await self._deleting.what_refuses(missed.request, missed.definition)
        elif refused.kind == "unique":
            problem = await not_unique(refused, missed, self._store)
        else:
            problem = explain(refused, missed.definition, missed.request)
        return problem


def _latest(every: Sequence[Prepared], stored: Sequence[Stored]) -> list[int]:
    """For each write of a transaction the place of the last one of the same record, which says how it is now; of a
    record that is deleted in the end its own."""
    names = [(one.write.schema.name, made.key) for one, made in zip(every, stored, strict=True)]
    last = {name: place for place, name in enumerate(names)}
    return [own if every[last[name]].write.action == "delete" else last[name] for own, name in enumerate(names)]


def _narrowed(texts: Sequence[str | None], names: Collection[str]) -> list[str | None]:
    """Records as a style shows them, with these of their fields: code around the write sees and shows no others."""
    rows = [None if text is None else msgspec.json.decode(text) for text in texts]
    shown = [None if row is None else {n: value for n, value in row.items() if n in names} for row in rows]
    return [None if row is None else msgspec.json.encode(row).decode() for row in shown]


def _is_in_its_own_way(refused: Refused, every: Sequence[Prepared]) -> bool:
    """Whether a write is refused since a record has changed on which it was decided, by an earlier write of the same
    transaction: another try would come to the same."""
    missed, earlier = every[refused.index], every[: refused.index]
    updates = (one.write for one in earlier if one.write.action == "update" and one.write.values)
    changed = {(write.schema.name, write.key) for write in updates}
    if refused.kind == "version":
        return _is_ours(refused, missed) and (missed.write.schema.name, missed.write.key) in changed
    if refused.kind == "where" and missed.taken_from is not None:
        return (missed.write.schema.name, missed.write.key) in changed
    needs = missed.write.needs if refused.kind == "need" and missed.has_pins else ()
    return any((need.selection.schema.name, need.key) in changed for need in needs if need.field in refused.fields)


def _is_ours(refused: Refused, missed: Prepared) -> bool:
    """Whether it is we who want the record to be as it was, and not the client, who knows of versions alone."""
    return missed.optimistic or bool(refused.fields)


def _may_have_come(refused: Refused, missed: Prepared) -> bool:
    """Whether what stands in the way of a write may be there since it was decided, and may be gone when it is decided
    again; but may have been there before, too."""
    return (refused.kind == "need" and missed.has_pins) or (missed.place is not None and refused.kind in _MOVED)


def _answers(first: Prepared, stored: Sequence[Stored]) -> tuple[list[Key], list[int]]:
    """The keys and versions of the records of a whole that was set."""
    found = [(stored[one].key, stored[one].version) if isinstance(one, int) else one for one in first.answers]
    return [key for key, _ in found], [version for _, version in found]


def _unit(request: Request, prepared: Sequence[Prepared]) -> Unit:
    actor = None if request.actor.id is None else str(request.actor.id)
    return Unit(
        writes=tuple([one.write for one in prepared]), actor=actor, request=request.id or None,
        interface=request.interface,
    )  # fmt: skip
