"""Which records an actor may touch: a rule is a filter that may speak of `me`, folded for one actor before use.

Folding replaces `me.…` by the actor's own values. A term that names a value which this actor lacks permits
nothing, also under `ne`, `~` and `|`: it becomes NOTHING and is never bound as null.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from crudite.query.parse import where
from crudite.query.resolve import simplify
from crudite.query.tree import EVERYTHING, NOTHING, And, Exists, Filter, Given, Or, Symbol, Test, leaves
from crudite.schema import FieldType, format_datetime


class Asker(Protocol):
    """What rules can know of an actor."""

    @property
    def id(self) -> str | int | None: ...
    @property
    def roles(self) -> frozenset[str]: ...
    @property
    def claims(self) -> Mapping[str, Any]: ...


class Me:
    """The actor, in rules and defaults: `me.id`, `me.roles`, and `me.<claim>` for what authentication found."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Symbol(f"me.{name}")

    def __bool__(self) -> bool:
        raise TypeError("me stands for the actor in rules and defaults; in a handler or a hook use request.actor.")


me = Me()
now: Any = Symbol("now")
"""The moment at which a query is asked (UTC); a live query stays true as time passes."""
today: Any = Symbol("today")
"""The day (UTC) on which a query is asked; a live query stays true at midnight."""


class Allow:
    """The rules to start from: `allow.everyone`, `allow.signed_in`, `allow.nobody`, `allow.role(…)`,
    `allow.where(…)`. Combine them with `|`, `&` and `~`."""

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
        """Actors for whom `test(actor)` is true. It must be quick, without side effects, and depend on nothing
        but the actor: its answer holds as long as the actor does."""
        return Given(f"when({test.__qualname__})", test)


allow = Allow()


def fold(rule: Filter, actor: Asker) -> Filter:
    """A resolved rule for one actor: no `me` and no condition on the asker is left in it."""
    match rule:
        case And(terms):
            return simplify(And(tuple(fold(term, actor) for term in terms)))
        case Or(terms):
            return simplify(Or(tuple(fold(term, actor) for term in terms)))
        case Given():
            return EVERYTHING if bool(rule.test(actor)) != rule.negated else NOTHING
        case Exists():
            return _fold_exists(rule, actor)
        case Test(path, operator, value, negated) if isinstance(value, Symbol) and value.name.startswith("me."):
            type = path.type.item if operator == "contains" and path.type.item is not None else path.type
            plain = _value(actor, value.name.removeprefix("me."), type, many=operator == "in")
            return NOTHING if plain is None else Test(path, operator, plain, negated)
    return rule


def values_used(rule: Filter, actor: Asker) -> tuple[Any, ...]:
    """The values of an actor that decide what a resolved rule folds to: equal values, equal folded rules."""
    used: list[Any] = []
    for leaf in leaves(rule):
        if isinstance(leaf, Given):
            used.append(bool(leaf.test(actor)))
        elif isinstance(leaf, Test) and isinstance(leaf.value, Symbol) and leaf.value.name.startswith("me."):
            value = _raw(actor, leaf.value.name.removeprefix("me."))
            used.append(tuple(sorted(map(str, value))) if isinstance(value, Iterable) and _is_many(value) else value)
    return tuple(used)


def bind_clock(filter: Filter, at: datetime) -> Filter:
    """A folded filter with `now` and `today` replaced by their values at a moment."""
    match filter:
        case And(terms):
            return And(tuple(bind_clock(term, at) for term in terms))
        case Or(terms):
            return Or(tuple(bind_clock(term, at) for term in terms))
        case Exists(hops, link, target, inner, negated):
            return Exists(hops, link, target, bind_clock(inner, at), negated)
        case Test(path, operator, value, negated) if isinstance(value, Symbol):
            text = format_datetime(at) if value.name == "now" else at.astimezone(UTC).date().isoformat()
            return Test(path, operator, text, negated)
    return filter


def clocks_in(filter: Filter) -> frozenset[str]:
    """Which of `now` and `today` a folded filter speaks of."""
    tests = (leaf for leaf in leaves(filter) if isinstance(leaf, Test) and isinstance(leaf.value, Symbol))
    return frozenset(test.value.name for test in tests)


def speaks_of_records(rule: Filter) -> bool:
    """Whether a rule depends on the record at all, and not only on the actor."""
    return any(not isinstance(leaf, Given) for leaf in leaves(rule))


def _fold_exists(rule: Exists, actor: Asker) -> Filter:
    # A value that the actor lacks must permit nothing. Inside a negated EXISTS it would permit everything.
    if any(_lacks(leaf, actor) for leaf in leaves(rule.filter)) and rule.negated:
        return NOTHING
    inner = fold(rule.filter, actor)
    if inner == NOTHING:
        return EVERYTHING if rule.negated else NOTHING
    return Exists(rule.hops, rule.link, rule.target, inner, rule.negated)


def _lacks(leaf: Filter, actor: Asker) -> bool:
    if not isinstance(leaf, Test) or not isinstance(leaf.value, Symbol) or not leaf.value.name.startswith("me."):
        return False
    return _value(actor, leaf.value.name.removeprefix("me."), leaf.path.type, many=leaf.operator == "in") is None


def _raw(actor: Asker, name: str) -> Any:
    if name == "id":
        return actor.id
    return actor.roles if name == "roles" else actor.claims.get(name)


def _is_many(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset)


def _value(actor: Asker, name: str, type: FieldType, *, many: bool) -> Any:
    """The actor's value in plain form, None when it is lacking or of another type than the field."""
    raw = _raw(actor, name)
    if raw is None or _is_many(raw) != many:
        return None
    try:
        if many:
            return tuple(dict.fromkeys(type.check(one) for one in raw if one is not None))
        return type.check(raw)
    except ValueError:
        return None
