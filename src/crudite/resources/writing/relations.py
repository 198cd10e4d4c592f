"""Setting links: from the keys that a body gives for a link to the writes after which it leads to exactly those.

What is there already is kept, so that the fewest records are written. The asker sets what he sees: a record that the
link does not show him stays where it is. Every write is one of his own, as if he had asked for it by itself: rules,
hooks and limits of the resources that it concerns hold, and what is wrong is said of the place in his body.

Whoever sets links writes the record that they belong to as well (its version grows), decided on the version that he
saw: of two who set the same link at the same time one decides again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias, cast

import msgspec

from crudite.errors import Fault, Forbidden, Invalid, NotFound, Problem, TooLarge, Unauthorized
from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.simplify import join
from crudite.query.tree import Filter, Path, Test
from crudite.resources.access import Rulebook, Rules
from crudite.resources.declaring.definition import Definition
from crudite.resources.declaring.links import MOST_SET, Settable
from crudite.resources.request import Request
from crudite.resources.writing.incoming import is_many
from crudite.resources.writing.prepared import InBody, Prepared
from crudite.resources.writing.preparing import Preparing
from crudite.schema import FieldSpec, ResourceSchema
from crudite.stores.base import Store
from crudite.stores.sieve import read_page
from crudite.types import Key, PlainRecord

Moved: TypeAlias = tuple[str, Key, str]
"""A record that a link leads to from now on: its resource, its key, and the field that points back. It need not be
taken out of where it was."""


@dataclass(frozen=True, slots=True)
class Step:
    """One write on the way to what was asked for: its request, and the place in the body that it is for. `pointing` is
    the field that points at the record which is written along, so that nobody has to be able to read that one.
    `taken_from` must still hold of a record that is taken out of a link: who has moved it meanwhile keeps it."""

    request: Request
    place: InBody
    pointing: str | None = None
    taken_from: Filter | None = None

    def of(self, prepared: Prepared) -> Prepared:
        """The write as it was prepared for this step."""
        write = prepared.write
        needs = tuple([need for need in write.needs if need.field != self.pointing])
        where = write.where
        if self.taken_from is not None:
            where = self.taken_from if where is None else join((where, self.taken_from), either=False)
        write = msgspec.structs.replace(write, needs=needs, where=where)
        return replace(prepared, place=self.place, taken_from=self.taken_from, write=write)


@dataclass(frozen=True)
class _Setting:
    """What one link of one record is set to; `place` is where the body says so."""

    owner: Prepared
    settable: Settable
    keys: tuple[Key, ...]
    place: str

    def at(self, key: Key) -> str:
        """The place of a key in the body."""
        return self.place if self.settable.link.is_one else f"{self.place}/{self._places[key]}"

    @cached_property
    def _places(self) -> dict[Key, int]:
        return {key: index for index, key in enumerate(self.keys)}


class Relating:
    """Decides what the links that requests give become by."""

    def __init__(self, rulebook: Rulebook, store: Store, preparing: Preparing) -> None:
        self._rulebook = rulebook
        self._store = store
        self._preparing = preparing

    async def settle(self, prepared: Sequence[Prepared], moved: set[Moved]) -> list[Prepared]:
        """The writes that set the links which were given with the writes of one request. `moved` are the records that
        earlier writes of the transaction have put into links, to which it adds. Raises a problem that names every
        place in the body where something is wrong."""
        steps: list[Step] = []
        faults: list[Fault] = []
        for setting in _settings(prepared):
            try:
                steps += await self._steps(setting, moved)
            except Invalid as invalid:
                faults += invalid.faults
        if faults:
            raise Invalid(faults=faults)
        return await self.prepare(steps)

    async def prepare(self, steps: Iterable[Step]) -> list[Prepared]:
        """The writes of some steps. Raises a problem that names the places of all that cannot be made."""
        found, problems = [], []
        for step in steps:
            try:
                found += [step.of(one) for one in await self._preparing.prepare(step.request)]
            except Problem as problem:
                problems.append(placed(problem, step.place))
        if problems:
            raise _together(problems)
        return found

    async def _steps(self, setting: _Setting, moved: set[Moved]) -> list[Step]:
        link, request = setting.settable.link, setting.owner.request
        pointing = self._rulebook.definitions.by_name[link.target]
        rows = await self._pointing(setting, pointing)
        if link.to is None:
            here = {key: to for key, to in rows.items() if (pointing.name, key, link.field) not in moved}
            wanted = [key for key in setting.keys if key not in here]
            await self.refuse_unseen(pointing, ((key, setting.at(key)) for key in wanted), request)
            kept = set(setting.keys)
            gone = [key for key in here if key not in kept]
            moved.update((pointing.name, key, link.field) for key in wanted)
        else:
            target = self._rulebook.definitions.by_name[link.leads_to]
            places = ((key, setting.at(key)) for key in setting.keys)
            seen = await self.refuse_unseen(target, places, request, further=rows.values())
            there, kept = set(rows.values()), set(setting.keys)
            wanted = [key for key in setting.keys if key not in there]
            gone = [key for key, to in rows.items() if to in seen and to not in kept]
        own, place = cast(Key, setting.owner.write.key), InBody(setting.place)
        steps = [self.taken_out(request, setting.settable, key, own, rows[key], place) for key in gone]
        steps += [Step(self._put_in(setting, pointing, key), InBody(setting.at(key)), link.field) for key in wanted]
        if link.to is None and not _makes_room(pointing.schema, link.field):
            # all who write some of the same records do so in one order, so that none waits for one that waits for him
            steps.sort(key=lambda step: cast(Any, step.request.key))
        return steps

    def taken_out(self, request: Request, settable: Settable, key: Key, own: Key, to: Key, place: InBody) -> Step:
        """The step that takes the record with a key, which points at this one and, where the link goes on, on at `to`,
        out of the link."""
        link = settable.link
        pointing = self._rulebook.definitions.by_name[link.target]
        fields = pointing.schema.fields
        there: Filter = _equals(fields[link.field], own)
        if link.to is not None:
            there = join((there, _equals(fields[link.to], to)), either=False)
        if settable.clears:
            asked = derived(request, "update", pointing, key=key, data={link.field: None})
        else:
            asked = derived(request, "delete", pointing, key=key)
        return Step(asked, place, taken_from=there)

    def _put_in(self, setting: _Setting, pointing: Definition, key: Key) -> Request:
        link, request = setting.settable.link, setting.owner.request
        data = {link.field: setting.owner.write.key}
        if link.to is None:
            return derived(request, "update", pointing, key=key, data=data)
        return derived(request, "create", pointing, data={**data, link.to: key})

    async def _pointing(self, setting: _Setting, pointing: Definition) -> dict[Key, Any]:
        """The records that point at the owner, as far as the link shows them to the asker: their keys, and the keys of
        what the link goes on to."""
        link, owner = setting.settable.link, setting.owner
        if owner.write.action == "create":
            return {}
        names = (link.field,) if link.to is None else (link.field, link.to)
        records = await self.children(pointing, names, cast(Key, owner.write.key), owner.request)
        key = pointing.schema.key
        return {record[key]: record[names[-1]] for record in records if record[names[-1]] is not None}

    async def children(
        self, pointing: Definition, names: Sequence[str], key: Key, request: Request, *, everything: bool = False
    ) -> list[PlainRecord]:
        """The records whose first field among `names` holds a key, as far as the asker may read them and these fields:
        the key and the named fields of each, or `everything` that he may read. Raises TooLarge for more than
        MOST_SET."""
        schema = pointing.schema
        rules = self._rules(pointing, request)
        readable = rules.selection(request.actor)
        seen = [rules.field_read(name, request.actor) for name in names]
        pointing_here = _equals(schema.fields[names[0]], key)
        mask = readable.mask if everything else Mask((schema.key, *names))
        filter: Filter = join((readable.filter, *seen, pointing_here), either=False)
        selection = self._rulebook.now(Selection(schema, filter, mask))
        own = schema.key_field
        plan = Plan(selection=selection, sort=(SortKey(Path((), own, (), own.type)),), limit=MOST_SET)
        page = await read_page(self._store, plan)
        if page.more:
            raise TooLarge(f"More than {MOST_SET} records of {schema.name} are there, which are not set as a whole.")
        return [msgspec.json.decode(text) for text in page.records]

    async def _seen(self, definition: Definition, keys: Sequence[Key], request: Request) -> set[Key]:
        """Which of some records are there for the asker."""
        if not keys:
            return set()
        readable = self._rules(definition, request).selection(request.actor)
        selection = Selection(definition.schema, readable.filter, Mask((definition.schema.key,)))
        page = await read_page(self._store, Plan(selection=self._rulebook.now(selection), keys=tuple(keys)))
        return set(page.keys)

    def _rules(self, definition: Definition, request: Request) -> Rules:
        return self._rulebook.of(definition.schema, system=True) if request.is_system else self._rulebook.at(definition)

    async def refuse_unseen(
        self, definition: Definition, places: Iterable[tuple[Key, str]], request: Request, further: Iterable[Key] = ()
    ) -> set[Key]:
        """Which of some records and `further` ones are there for the asker. Raises Invalid naming the places of those
        that are not."""
        asked = dict(places)
        seen = await self._seen(definition, [*dict.fromkeys((*asked, *further))], request)
        faults = [no_such_record(place) for key, place in asked.items() if key not in seen]
        if faults:
            raise Invalid(faults=faults)
        return seen


def derived(
    request: Request, action: Any, definition: Definition, *, key: Key | None = None, data: Any = None
) -> Request:
    """A further request of whoever made one, on another resource."""
    return Request(
        action, definition.path, definition=definition, key=key, data=data, actor=request.actor, id=request.id,
        credentials=lambda: request.credentials, headers=request.headers, interface=request.interface,
        is_minimal=True, is_system=request.is_system, performers=request.performers,
    )  # fmt: skip


def placed(problem: Problem, place: InBody) -> Problem:
    """The problem of a step, said of the place in the body that it is for."""
    pointer = place.pointer
    if isinstance(problem, NotFound):
        return Invalid(faults=[no_such_record(pointer)])
    if place.is_body and problem.faults:
        faults = [replace(one, pointer=f"{pointer}{one.pointer or ''}", parameter=None) for one in problem.faults]
    elif isinstance(problem, Forbidden | Unauthorized):
        faults = [Fault("not_writable", problem.detail or "You may not do that.", pointer=pointer)]
    else:
        faults = [replace(one, pointer=pointer, parameter=None) for one in problem.faults]
    if not faults:
        return problem
    return type(problem)(faults=list(dict.fromkeys(faults)), headers=problem.headers)


def _settings(prepared: Sequence[Prepared]) -> list[_Setting]:
    """What was given for links, in order. Raises Invalid for more than MOST_SET keys, or for a record that has no key
    yet to point at."""
    settings, faults = [], []
    for index, owner in enumerate(prepared):
        above = owner.place.pointer if owner.place is not None else f"/{index}" if is_many(owner.request.data) else ""
        for name, given in (owner.links or {}).items():
            keys = tuple(given) if isinstance(given, list) else (given,) if given is not None else ()
            if keys and owner.write.key is None:
                detail = f"The new record has no key yet: give one, or set {name} in a second request."
                faults.append(Fault("no_key", detail, pointer=f"{above}/{name}"))
            settings.append(_Setting(owner, owner.definition.settable[name], keys, f"{above}/{name}"))
    if sum(len(setting.keys) for setting in settings) > MOST_SET:
        faults.append(Fault("too_long", f"At most {MOST_SET} keys are set in one request."))
    if faults:
        raise Invalid(faults=faults)
    return settings


def _makes_room(schema: ResourceSchema, field: str) -> bool:
    """Whether a record that stops pointing with a field may make room for another one that begins to."""
    return schema.fields[field].unique or any(field in group for group in schema.unique)


def _equals(field: FieldSpec, key: Key) -> Filter:
    return Test(Path((), field, (), field.type), "eq", key)


def no_such_record(pointer: str) -> Fault:
    """The fault of a key that no record has, or none that the asker may know of."""
    return Fault("no_such_record", "This is the key of no record.", pointer=pointer)


def _together(problems: Sequence[Problem]) -> Problem:
    """One problem with the faults of all that are of its kind; what may not be done comes before what is wrong."""
    first = next((one for one in problems if not isinstance(one, Invalid)), problems[0])
    alike = [one for one in problems if type(one) is type(first)]
    if not first.faults:
        return first
    return type(first)(faults=[fault for one in alike for fault in one.faults], headers=first.headers)
