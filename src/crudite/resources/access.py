"""What one actor may see and do: rules folded for him, kept by the values that they used."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from crudite.clock import Clock
from crudite.messages import ANONYMOUS, ActionName, Actor
from crudite.query.plan import Mask, Selection
from crudite.query.presence import absent, present
from crudite.query.resolve import Resolver
from crudite.query.tree import EVERYTHING, NOTHING, Check, Filter, Given, Symbol, Test, leaves
from crudite.resources.declaring.definition import Definition, Definitions
from crudite.resources.judging import Tally, judging
from crudite.rules import bind_clock, clocks_in, fold, values_used
from crudite.schema import DELETED_AT, ResourceSchema

_MOST_KEPT = 10_000
_OF_DELETED: tuple[ActionName, ...] = ("deleted", "list_deleted")


def at(selection: Selection, clock: Callable[[], datetime]) -> Selection:
    """The selection with `now` and `today` replaced by their values when the clock is asked."""
    clocks = selection.memo.get("clocks")
    if clocks is None:
        clocks = selection.memo["clocks"] = clocks_of(selection)
    if not clocks:
        return selection
    moment = clock()
    return selection.with_filters(lambda filter: bind_clock(filter, moment))


def clocks_of(selection: Selection) -> frozenset[str]:
    """Which of `now` and `today` decide what a selection shows."""
    return frozenset().union(*(clocks_in(filter) for _, filter in selection.filters()))


class FoldedRule:
    """One resolved rule of a resource, folded once for each set of values that actors bring to it."""

    def __init__(self, rule: Filter, definition: Definition, tally: Tally) -> None:
        self._rule = rule
        self._definition = definition
        self._tally = tally
        self._has_checks = any(isinstance(leaf, Check) for leaf in leaves(rule))
        self.is_same_for_all = not any(_asks(leaf) for leaf in leaves(rule))
        self._has_clock = bool(clocks_in(rule))
        self._folded: dict[tuple[Any, ...], Filter] = {}

    def values(self, actor: Actor) -> tuple[Any, ...]:
        """What of the actor decides the folded rule."""
        return () if self.is_same_for_all else values_used(self._rule, self._seen(actor))

    def __call__(self, actor: Actor) -> Filter:
        """The rule for an actor, without `me`."""
        values = self.values(actor)
        folded = self._folded.get(values)
        if folded is None:
            if len(self._folded) >= _MOST_KEPT:
                self._folded.clear()
            seen = self._seen(actor)
            folded = self._folded[values] = fold(
                self._rule, seen, judging(seen, self._definition.from_plain, self._tally)
            )
        return folded

    def _seen(self, actor: Actor) -> Actor:
        """What a rule may look at. Functions are not shown the session, so that their answers outlive it."""
        if not self._has_checks:
            return actor
        return Actor(actor.id, frozenset(actor.roles), dict(actor.claims))

    def at(self, clock: Clock, actor: Actor) -> Filter:
        """The same, with `now` and `today` replaced by what the clock says."""
        folded = self(actor)
        return bind_clock(folded, clock()) if self._has_clock else folded


class Rules:
    """The rules of one resource."""

    def __init__(self, definition: Definition, clock: Clock, tally: Tally) -> None:
        self.definition = definition
        self._clock = clock
        self._actions: Mapping[ActionName, FoldedRule] = {
            action: FoldedRule(rule, definition, tally) for action, rule in definition.rules.items()
        }
        self._reads = {name: FoldedRule(rule, definition, tally) for name, rule in definition.field_read.items()}
        self._writes = {name: FoldedRule(rule, definition, tally) for name, rule in definition.field_write.items()}
        self._open_fields = tuple(name for name in shown_unasked(definition.schema) if name not in self._reads)
        self._selections: dict[tuple[Any, ...], Selection] = {}
        self.restricted_writes = frozenset(self._writes)
        """The fields that have a rule for writing."""
        self.show_the_same_to_all = all(rule.is_same_for_all for rule in self._reads.values())
        """Whether who may read a record at all sees the same fields of it as everybody else."""

    def action(self, action: ActionName, actor: Actor) -> Filter:
        """The records on which the actor may do that; NOTHING when there can be none."""
        return self._actions[action](actor)

    def action_now(self, action: ActionName, actor: Actor) -> Filter:
        """The same, with the clock's values of now."""
        return self._actions[action].at(self._clock, actor)

    def field_read(self, name: str, actor: Actor) -> Filter:
        """The records in which the actor may read a field."""
        if self.definition.schema.fields[name].secret:
            return NOTHING
        rule = self._reads.get(name)
        return EVERYTHING if rule is None else rule(actor)

    def field_write(self, name: str, actor: Actor) -> Filter:
        """The records in which the actor may write a field now."""
        rule = self._writes.get(name)
        return EVERYTHING if rule is None else rule.at(self._clock, actor)

    def mask(self, actor: Actor) -> Mask:
        """Every field that the actor may see."""
        if not self._reads:
            return Mask(self._open_fields)
        folded = {name: rule(actor) for name, rule in self._reads.items()}
        always = [
            name
            for name in self.definition.schema.fields
            if name in self._open_fields or folded.get(name) == EVERYTHING
        ]
        sometimes = [(name, f) for name, f in folded.items() if f not in (EVERYTHING, NOTHING)]
        return Mask(tuple(always), tuple(sometimes))

    def selection(self, actor: Actor, action: ActionName = "read") -> Selection:
        """All that the actor may see of the resource; the same object again for actors that see the same."""
        values = (action, self._actions[action].values(actor), *(r.values(actor) for r in self._reads.values()))
        selection = self._selections.get(values)
        if selection is None:
            if len(self._selections) >= _MOST_KEPT:
                self._selections.clear()
            mask = self.mask(actor)
            if action in _OF_DELETED:
                mask = replace(mask, always=(*mask.always, DELETED_AT))
            selection = Selection(self.definition.schema, self.action(action, actor), mask)
            self._selections[values] = selection
        return selection


class SystemRules(Rules):
    """The rules that the server itself acts under: none, but that secret fields stay inside."""

    def __init__(self, definition: Definition, clock: Clock, tally: Tally) -> None:
        super().__init__(definition, clock, tally)
        self.restricted_writes = frozenset()
        self._there, self._kept = present(definition.schema), absent(definition.schema)

    def action(self, action: ActionName, actor: Actor) -> Filter:
        """Every record that the action is about: those that are there, or those that were deleted."""
        if action in ("restore", *_OF_DELETED):
            return self._kept
        return EVERYTHING if action in ("purge", "history") else self._there

    def action_now(self, action: ActionName, actor: Actor) -> Filter:
        """The same."""
        return self.action(action, actor)

    def field_read(self, name: str, actor: Actor) -> Filter:
        """Every record, but for a secret field none."""
        return NOTHING if self.definition.schema.fields[name].secret else EVERYTHING

    def field_write(self, name: str, actor: Actor) -> Filter:
        """Every record."""
        return EVERYTHING

    def mask(self, actor: Actor) -> Mask:
        """Every field but secret ones."""
        return Mask(shown_unasked(self.definition.schema))

    def selection(self, actor: Actor, action: ActionName = "read") -> Selection:
        """All of the resource that is there; with `deleted`, all that is kept."""
        return super().selection(ANONYMOUS, "deleted" if action in _OF_DELETED else "read")


class Rulebook:
    """The rules of all resources, and the same without rules for the server itself; `clock` tells what they mean
    by now."""

    def __init__(self, definitions: Definitions, clock: Clock) -> None:
        self.definitions = definitions
        self.clock = clock
        tally = definitions.tally
        self._rules = {d.schema.name: Rules(d, clock, tally) for d in definitions}
        self._at = {rules.definition: rules for rules in self._rules.values()}
        self._system: dict[str, Rules] = {d.schema.name: SystemRules(d, clock, tally) for d in definitions}

    def now(self, selection: Selection) -> Selection:
        """A selection as it is now."""
        return at(selection, self.clock)

    def of(self, schema: ResourceSchema, *, system: bool = False) -> Rules:
        """The rules of a resource."""
        return (self._system if system else self._rules)[schema.name]

    def at(self, definition: Definition) -> Rules:
        """The rules of a resource as they hold at one of its places."""
        rules = self._at.get(definition)
        if rules is None:
            rules = self._at[definition] = Rules(definition, self.clock, self.definitions.tally)
        return rules

    def resolve(self, schema: ResourceSchema, written: Filter) -> Filter:
        """A filter of the server's own, resolved without rules. Raises Malformed when it does not fit."""
        resolver = Resolver(schema, self.definitions.catalog)
        resolved = resolver.filter(written)
        resolver.check()
        return resolved


class ActorAccess:
    """What an actor may read anywhere, as the resolver of his queries wants to know it (`query.resolve.Access`)."""

    def __init__(self, rulebook: Rulebook, actor: Actor, *, system: bool = False) -> None:
        self._rulebook = rulebook
        self._actor = actor
        self._system = system

    def records(self, schema: ResourceSchema) -> Filter:
        """The records of a resource that the actor may read."""
        return self._rulebook.of(schema, system=self._system).action("read", self._actor)

    def field(self, schema: ResourceSchema, name: str) -> Filter:
        """The records in which the actor may read a field."""
        return self._rulebook.of(schema, system=self._system).field_read(name, self._actor)


def shown_unasked(schema: ResourceSchema) -> tuple[str, ...]:
    """The fields that may be shown and need not be asked for by name: DELETED_AT is null in all that are there."""
    unsaid = DELETED_AT if schema.is_soft else ""
    return tuple(f.name for f in schema.fields.values() if not f.secret and f.name != unsaid)


def _asks(leaf: Filter) -> bool:
    symbol = isinstance(leaf, Test) and isinstance(leaf.value, Symbol) and leaf.value.name.startswith("me.")
    return symbol or isinstance(leaf, Given | Check)
