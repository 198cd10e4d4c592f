"""A resolved rule in words, for people: `owner is me.id or has the role staff`."""

from typing import Any

from crudite.query.tree import EVERYTHING, NOTHING, And, Check, Exists, Filter, Given, Or, Symbol, Test

_OPERATORS = {
    "eq": ("is", "is not"), "lt": ("<", "not <"), "lte": ("≤", "not ≤"), "gt": (">", "not >"),
    "gte": ("≥", "not ≥"), "in": ("is one of", "is none of"), "contains": ("contains", "does not contain"),
    "icontains": ("contains", "does not contain"), "startswith": ("starts with", "does not start with"),
    "istartswith": ("starts with", "does not start with"), "endswith": ("ends with", "does not end with"),
}  # fmt: skip


def in_words(rule: Filter) -> str:
    """Who may, or for which records, in words."""
    if rule == EVERYTHING:
        return "everyone"
    if rule == NOTHING:
        return "nobody"
    return _words(rule, inside=False)


def _words(rule: Filter, *, inside: bool) -> str:
    match rule:
        case And(terms) | Or(terms):
            joined = (" and " if isinstance(rule, And) else " or ").join(_words(t, inside=True) for t in terms)
            return f"({joined})" if inside and len(terms) > 1 else joined
        case Given(name, _, negated):
            return _given(name, negated)
        case Check(name, _, negated):
            return f"{'not ' if negated else ''}{name}(record)"
        case Test():
            return _test(rule)
        case Exists(hops, link, _, filter, negated):
            path = ".".join([*(hop.field.name for hop in hops), link.name])
            which = "" if filter == EVERYTHING else f" where {_words(filter, inside=True)}"
            return f"there is {'no' if negated else 'one of'} {path}{which}"
    return repr(rule)


def _given(name: str, negated: bool) -> str:
    if name == "signed_in":
        return "not signed in" if negated else "signed in"
    kind, _, rest = name.partition("(")
    if kind == "role":
        return f"has {'no' if negated else 'the'} role {rest.removesuffix(')').replace(', ', ' or ')}"
    return f"not {name}" if negated else name


def _test(test: Test) -> str:
    path = ".".join(test.path.names)
    if test.operator in ("isnull", "exists"):
        is_there = (test.operator == "exists") != test.negated
        return f"{path} is {'there' if is_there else 'empty'}"
    return f"{path} {_OPERATORS[test.operator][test.negated]} {_value(test.value)}"


def _value(value: Any) -> str:
    if isinstance(value, Symbol):
        return value.name
    if isinstance(value, tuple):
        return ", ".join(_value(one) for one in value)
    return repr(value)
