"""Identity: texts that are equal only for what means the same, by which queries, groups and answers are told apart."""

from collections.abc import Sequence

from crudite.query.plan import Selection, SortKey, Through
from crudite.query.tree import And, Exists, Filter, Judged, Or, Search, Test


def identity_of(filter: Filter) -> str:
    """A text that is equal for two resolved filters of one resource only if they mean the same records.

    The order of terms and of the values of a list does not count; symbols count by name.
    """
    match filter:
        case Test(path, operator, value, negated):
            if isinstance(value, tuple):
                value = tuple(sorted(value))
            elif value.__class__ is float:
                value = value + 0.0  # -0.0 is 0.0
            return repr((path.names, operator, filter.compared.kind, value, negated))
        case And(terms) | Or(terms):
            word = "and" if isinstance(filter, And) else "or"
            return f"{word}({','.join(sorted({identity_of(term) for term in terms}))})"
        case Exists(hops, link, _, inner, negated):
            way = tuple(hop.field.name for hop in hops)
            return f"exists({(way, link.name, negated)!r},{identity_of(inner)})"
        case Judged(judge, negated):
            return f"judged({id(judge)},{negated})"  # as long as the filter is there, so is its judge
        case Search(_, words):
            return repr(("search", words))
    raise TypeError(f"expected a resolved filter, got {filter!r}")


def identity_of_query(selection: Selection, sort: Sequence[SortKey]) -> str:
    """A text that is equal for two queries only if they show the same of the same records, in the same order."""
    shown: str | None = selection.memo.get("identity")
    if shown is None:
        shown = selection.memo["identity"] = _shown(selection)
    return f"{shown} {identity_of_sort(sort)}"


def identity_of_sort(sort: Sequence[SortKey]) -> str:
    """A text that is equal for two sorts of one resource only if they put records in the same order."""
    return ",".join(("-" if key.descending else "") + ".".join(key.path.names) for key in sort)


def _shown(selection: Selection) -> str:
    schema, mask = selection.schema, selection.mask
    shown = (mask.always, [(name, identity_of(filter)) for name, filter in mask.sometimes])
    text = f"{schema.name} {schema.fingerprint} {identity_of(selection.filter)} {shown!r}"
    for one in mask.includes:
        through = identity_of(one.along.filter) if isinstance(one.along, Through) else ""
        text += f" {one.name} {identity_of(one.guard)} {through} ({_shown(one.selection)})"
    return text
