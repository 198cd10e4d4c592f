"""What a write demands, decided without reading: of the stored record, of the one that would be, of each field."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, cast

from crudite.changes import Guard
from crudite.errors import Fault, Forbidden, Invalid
from crudite.messages import Actor
from crudite.query.resolve import join
from crudite.query.tree import EVERYTHING, NOTHING, Filter, is_judged
from crudite.resources.access import Rules
from crudite.resources.declaring.definition import Definition
from crudite.resources.request import Request
from crudite.resources.writing.validating import looks_at_record
from crudite.schema import DELETED_AT
from crudite.stores.sieve import left_of
from crudite.types import Plain, PlainRecord

_UNREACHABLE = ("", ".", "..", "subscribe")


class FieldRules(NamedTuple):
    """The rules of the fields that a request gives, as far as they do not hold for every record: to hold for the
    stored record before, and for the record as it would be stored."""

    guards: tuple[Guard, ...] = ()
    after: tuple[Filter, ...] = ()


def left_before(rule: Filter, old: PlainRecord | None) -> Filter:
    """What of a rule the store must check, functions having been asked about the stored record."""
    return rule if old is None else left_of(rule, old)


def left_after(rule: Filter, definition: Definition, values: PlainRecord) -> Filter:
    """What of a rule the store must check, functions having been asked about the record as it would be stored."""
    if not is_judged(rule):
        return rule
    fields = definition.schema.fields.values()
    record = {f.name: None for f in fields if f.nullable and not f.secret}
    return left_of(rule, {**record, **{f.name: values[f.name] for f in fields if f.name in values and not f.secret}})


def needs_old(request: Request, definition: Definition, rules: Rules, values: PlainRecord) -> bool:
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


def written_values(request: Request, rules: Rules, values: PlainRecord, old: PlainRecord | None) -> PlainRecord:
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


def field_rules(rules: Rules, given: Mapping[str, Plain], actor: Actor) -> FieldRules:
    """The rules for writing the fields that are given. Raises Forbidden naming all that the actor may never write."""
    restricted = rules.restricted_writes & given.keys()
    if not restricted:
        return FieldRules()
    folded = {name: rules.field_write(name, actor) for name in sorted(restricted)}
    refused = [name for name, filter in folded.items() if filter == NOTHING]
    if refused:
        faults = [Fault("not_writable", f"You may not write {name}.", pointer=f"/{name}") for name in refused]
        raise Forbidden(faults=faults)
    partly = {name: filter for name, filter in folded.items() if filter != EVERYTHING}
    return FieldRules(tuple(Guard((name,), filter) for name, filter in partly.items()), tuple(partly.values()))


def completed(
    request: Request, definition: Definition, rules: Rules, values: PlainRecord, now: datetime
) -> PlainRecord:
    """What a replace stores: the defaults in place of what is not given, but for fields that stay."""
    defaults = definition.make_defaults(request.actor, now, values)
    kept = staying(definition, rules, request.actor, defaults)
    every = {**{name: value for name, value in defaults.items() if name not in kept}, **values}
    return {name: value for name, value in every.items() if name not in definition.immutable}


def staying(definition: Definition, rules: Rules, actor: Actor, names: Iterable[str]) -> set[str]:
    """Those of some fields that a replace leaves as they are where it does not say them: nobody's to change, or not the
    actor's to write, or such that he may not have read them to send them back."""
    restricted = {name for name in rules.restricted_writes if rules.field_write(name, actor) != EVERYTHING}
    return {name for name in names if name in definition.immutable or name in restricted} | unseen(rules, actor, names)


def unseen(rules: Rules, actor: Actor, names: Iterable[str]) -> set[str]:
    """Those of some fields that the actor may not read in every record."""
    return {name for name in names if rules.field_read(name, actor) != EVERYTHING}


def refuse_unreachable(given: PlainRecord, definition: Definition) -> None:
    """Raises Invalid for a key with which a record would have no address of its own in URLs."""
    key = definition.schema.key
    if given.get(key) in _UNREACHABLE:
        detail = f"{key} must not be empty, a dot, two dots or the word subscribe: it is part of an address."
        raise Invalid(faults=[Fault("unreachable_key", detail, pointer=f"/{key}")])


def refuse_immutable(definition: Definition, old: PlainRecord, values: PlainRecord, ours: PlainRecord) -> None:
    """Raises Invalid when a field that cannot be changed would be, or is one of the server's own and not as it is
    stored."""
    given = {**{name: values[name] for name in definition.immutable & values.keys()}, **ours}
    stored = {DELETED_AT: None, **old}  # no record is changed that is deleted
    changed = [name for name in sorted(given) if name not in stored or given[name] != stored[name]]
    if changed:
        raise Invalid(faults=[_read_only(name) if name in ours else _immutable(name) for name in changed])


def _immutable(name: str) -> Fault:
    return Fault("immutable", f"{name} cannot be changed.", pointer=f"/{name}")


def _read_only(name: str) -> Fault:
    return Fault("read_only", f"The server sets {name}: leave it out, or repeat it as it is.", pointer=f"/{name}")


def differences(old: PlainRecord, values: Mapping[str, Plain]) -> PlainRecord:
    """The values that are others than those of the stored record."""
    return {name: value for name, value in values.items() if name not in old or old[name] != value}


def condition_of(*filters: Filter) -> Filter | None:
    """All of the filters as one condition; None when there is nothing to check."""
    if all(filter == EVERYTHING for filter in filters):
        return None
    return join(filters, either=False)
