"""Which records an actor may touch: a rule is a filter that may speak of `me`, folded for each actor.

Folding replaces `me.…` by the actor's own values. A term that names a value which this actor lacks permits
nothing, also under `ne`, `~` and `|`: it becomes NOTHING and is never bound as null.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NoReturn, Protocol

from crudite.query.parse import where
from crudite.query.simplify import join, simplify
from crudite.query.tree import EVERYTHING, NOTHING, And, Check, Exists, Filter, Given, Not, Or, Symbol, Test, leaves
from crudite.schema import format_datetime


class Asker(Protocol):
    """What rules can know of an actor."""

    @property
    def id(self) -> str | int | None: ...
    @property
    def roles(self) -> frozenset[str]: ...
    @property
    def claims(self) -> Mapping[str, Any]: ...


_ME: Final = "me."

MOST_CHECKS = 3
"""The most functions that one rule combines."""


class Me:
    """The actor in rules and defaults: `me.id`, `me.roles`, `me.<claim>` for what authentication found."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Symbol(f"{_ME}{name}")

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("me stands for the actor in rules and defaults; elsewhere use request.actor.")

    __bool__ = __eq__ = __ne__ = __hash__ = __str__ = _refuse

    def __repr__(self) -> str:
        return "me"


me = Me()
now: Any = Symbol("now")
"""The moment at which a query is asked (UTC); a live query stays true as time passes."""
today: Any = Symbol("today")
"""The day (UTC) on which a query is asked; a live query stays true at midnight."""


class Allow:
    """The rules to start from: `allow.everyone`, `allow.signed_in`, `allow.nobody`, `allow.role(…)`,
    `allow.where(…)`, `allow.when(…)`, `allow.check(…)`. Combine them with `|`, `&` and `~`."""

    everyone: Filter = EVERYTHING
    nobody: Filter = NOTHING
    signed_in: Filter = Given("signed_in", lambda actor: actor.id is not None)

    def role(self, *names: str) -> Filter:
        """Actors that have at least one of these roles."""
        wanted = frozenset(names)
        return Given(f"role({', '.join(sorted(wanted))})", lambda actor: not wanted.isdisjoint(actor.roles))

    def where(self, *terms: Filter, **conditions: Any) -> Filter:
        """Records for which all of the conditions hold: `allow.where(owner=me.id, project__open=True)`."""
        return where(terms, **conditions)

    def when(self, test: Callable[[Any], bool]) -> Filter:
        """Actors for whom `test(actor)` is true. It must be quick, without side effects, and depend on
        nothing but the actor: its answer holds as long as the actor does."""
        return Given(f"when({test.__qualname__})", test)

    def check(self, test: Callable[[Any, Any], bool]) -> Filter:
        """Records for which `test(record, actor)` is True: for what no filter can say.

        It must be quick, without side effects, and depend on nothing but the record (all its fields that are not
        secret) and the actor's `id`, `roles` and `claims`. Where it raises, or returns what is neither True nor False,
        it permits nothing, also under `~`. Raises TypeError for what is no plain function of two arguments.
        """
        name = getattr(test, "__qualname__", repr(test))
        if not callable(test) or inspect.iscoroutinefunction(test):
            raise TypeError(f"allow.check takes a plain function, such as `def may(record, actor)`; {name} is none")
        try:
            inspect.signature(test).bind(None, None)
        except TypeError:
            raise TypeError(f"allow.check takes a function of (record, actor); {name} does not take two") from None
        return Check(name, test)


allow = Allow()


def _no_judge(check: Check) -> NoReturn:
    raise TypeError(f"{check.name} decides about whole records only")


def fold(rule: Filter, actor: Asker, judge: Callable[[Check], Filter] = _no_judge) -> Filter:
    """A resolved rule for one actor: no `me` and no condition on the asker is left in it.

    `judge` makes of a function that is asked of records what stands for its answers to this actor.
    """
    match rule:
        case And(terms):
            return join([fold(term, actor, judge) for term in terms], either=False)
        case Or(terms):
            return join([fold(term, actor, judge) for term in terms], either=True)
        case Check():
            return judge(rule)
        case Given():
            return EVERYTHING if bool(rule.test(actor)) != rule.negated else NOTHING
        case Exists():
            return _fold_exists(rule, actor)
        case Test(path, operator, Symbol(name), negated) if name.startswith(_ME):
            plain = _value(actor, name, rule)
            return NOTHING if plain is None else Test(path, operator, plain, negated)
    return rule


def holds(rule: Filter, actor: Asker) -> bool:
    """Whether a rule that speaks of nothing but the actor, such as `allow.role("staff")`, holds for him."""
    match rule:
        case And(terms):
            return all(holds(term, actor) for term in terms)
        case Or(terms):
            return any(holds(term, actor) for term in terms)
        case Not(term):
            return not holds(term, actor)
        case Given():
            return bool(rule.test(actor)) != rule.negated
    raise TypeError(f"{rule!r} speaks of records, not of the actor alone")


def values_used(rule: Filter, actor: Asker) -> tuple[Any, ...]:
    """The values of an actor that decide what a resolved rule folds to: equal values, equal folded rules.

    They are plain values of the types that they are compared as, so that 1 and "1" are not mixed up. Where a function
    is asked it may look at anything: then it is the actor himself, who must be hashable.
    """
    used: list[Any] = []
    for leaf in leaves(rule):
        match leaf:
            case Given():
                used.append(bool(leaf.test(actor)))
            case Check():
                told = (actor.id, sorted(map(repr, actor.roles)), actor.claims)
                used.append((repr(told), actor))  # the text tells apart what is equal, such as 1 and True
            case Test(value=Symbol(name)) if name.startswith(_ME):
                used.append(_value(actor, name, leaf))
    return tuple(used)


def bind_clock(filter: Filter, at: datetime) -> Filter:
    """A folded filter with `now` and `today` replaced by their values at a moment (a naive one is UTC).

    Raises TypeError when another symbol is left in it.
    """
    match filter:
        case And(terms):
            return And(tuple(bind_clock(term, at) for term in terms))
        case Or(terms):
            return Or(tuple(bind_clock(term, at) for term in terms))
        case Exists(hops, link, target, inner, negated):
            return Exists(hops, link, target, bind_clock(inner, at), negated)
        case Test(path, operator, Symbol(name), negated):
            if name not in _CLOCKS:
                raise TypeError(f"the filter is not folded: {name} has no value yet")
            text = format_datetime(at)
            return Test(path, operator, text if name == "now" else text[:10], negated)
    return filter


def clocks_in(filter: Filter) -> frozenset[str]:
    """Which of `now` and `today` a resolved filter speaks of."""
    symbols = (leaf.symbol for leaf in leaves(filter) if isinstance(leaf, Test))
    return frozenset(symbol.name for symbol in symbols if symbol is not None) & _CLOCKS


_CLOCKS = frozenset(("now", "today"))


def _fold_exists(rule: Exists, actor: Asker) -> Filter:
    # A value that the actor lacks must permit nothing. Inside a negated EXISTS it would permit everything.
    if rule.negated and None in values_used(rule.filter, actor):
        return NOTHING
    return simplify(replace(rule, filter=fold(rule.filter, actor)))


def _raw(actor: Asker, name: str) -> Any:
    match name.removeprefix(_ME):
        case "id":
            return actor.id
        case "roles":
            return actor.roles
        case claim:
            return actor.claims.get(claim)


def _value(actor: Asker, name: str, test: Test) -> Any:
    """The actor's value for a test in plain form, in order if there are many.

    None when it is lacking, or not of the type that the test compares, or one where many are meant.
    """
    raw = _raw(actor, name)
    many = test.operator == "in"
    if raw is None or isinstance(raw, list | tuple | set | frozenset) != many:
        return None
    try:
        if many:
            return tuple(sorted({test.compared.check(one) for one in raw if one is not None}))
        return test.compared.check(raw)
    except ValueError:
        return None
