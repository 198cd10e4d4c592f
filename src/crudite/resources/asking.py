"""What a request asks for: a selection and a sort, resolved on behalf of its actor, before anything is read."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias, cast

from crudite.errors import Fault, Forbidden, Malformed, Unauthorized
from crudite.messages import ActionName, Actor
from crudite.query.aggregates import WrittenMeasure
from crudite.query.parse import WrittenQuery
from crudite.query.plan import Mask, Selection, SortKey
from crudite.query.resolve import Resolver, join
from crudite.query.tree import EVERYTHING, NOTHING, Filter, is_judged
from crudite.resources.access import ActorAccess, Rulebook, Rules
from crudite.resources.declaring.default_filters import with_defaults
from crudite.resources.declaring.definition import Definition
from crudite.resources.request import Above, Request
from crudite.schema import DELETED_AT

Asks: TypeAlias = tuple[Sequence[str], Sequence[WrittenMeasure]]
"""What is asked of all records of a query in place of them: the paths that group them, and what of each group."""


def definition_of(request: Request) -> Definition:
    """The resource that a request is about. Raises TypeError for one that is about none."""
    if request.definition is None:
        raise TypeError(f"{request!r} is not about a resource")
    return request.definition


def rules_of(request: Request, rulebook: Rulebook) -> Rules:
    """The rules that hold for a request."""
    definition = definition_of(request)
    return rulebook.of(definition.schema, system=True) if request.is_system else rulebook.at(definition)


def readable(rules: Rules, action: ActionName, actor: Actor) -> Selection:
    """All that an actor may see by a reading action. Raises Forbidden or Unauthorized when it can be nothing."""
    selection = rules.selection(actor, action)
    if selection.filter == NOTHING:
        raise refusal(actor, action, rules.definition)
    return selection


def readable_now(request: Request, rulebook: Rulebook, action: ActionName) -> Selection:
    """The same, with the deleted records that a query asks for: with those that are there, or only these."""
    rules, asked = rules_of(request, rulebook), request.query.deleted
    if asked is None:
        return readable(rules, action, request.actor)
    if not rules.definition.schema.is_soft:
        detail = f"{rules.definition.name} keeps no deleted records."
        raise Malformed(faults=[Fault("unknown_parameter", detail, parameter="deleted")])
    there = readable(rules, action, request.actor)
    deleted = rules.selection(request.actor, "list_deleted" if action == "list" else "deleted")
    if deleted.filter == NOTHING:
        raise refusal(request.actor, "restore", rules.definition)
    if asked == "only":
        return deleted
    both = join((there.filter, deleted.filter), either=True)
    return Selection(deleted.schema, both, deleted.mask)


def above_now(request: Request, rulebook: Rulebook, above: Above) -> Selection:
    """What an actor may read now of the records on a nested path that belong to those above them."""
    schema = above.definition.schema
    rules = rulebook.of(schema, system=True) if request.is_system else rulebook.at(above.definition)
    selection = rules.selection(request.actor)
    if above.filter != EVERYTHING:
        belongs = rulebook.resolve(schema, above.filter)
        selection = Selection(schema, join((selection.filter, belongs), either=False), selection.mask)
    return rulebook.now(selection)


def refusal(actor: Actor, action: str, definition: Definition) -> Forbidden | Unauthorized:
    """The problem for an actor who may not do that with any record."""
    verb = "see the history of" if action == "history" else action
    doing = f"{verb} {definition.path}"
    if definition.rules[cast(ActionName, action)] == NOTHING:
        return Forbidden(f"Nobody may {doing}: {definition.name} has no rule that lets somebody.")
    if not actor.is_known:
        return Unauthorized(f"Sign in to {doing}.", headers={"www-authenticate": "Bearer"})
    return Forbidden(f"You may not {doing}.")


def narrowed(request: Request, rulebook: Rulebook, selection: Selection) -> Selection:
    """A readable selection, with the request's own fields and nested path applied. Raises Malformed when they do not
    fit the resource."""
    definition = definition_of(request)
    resolver = _resolver(request, definition, rulebook)
    scope = _scope(request, definition, rulebook, resolver)
    mask = _mask(request.query, selection.mask, definition, resolver)
    resolver.check()
    if scope == EVERYTHING and mask is selection.mask:
        return selection
    return Selection(definition.schema, join((selection.filter, scope), either=False), mask)


def resolved(
    request: Request, rulebook: Rulebook, action: ActionName, *, trusted: bool = False
) -> tuple[Selection, tuple[SortKey, ...], Resolver]:
    """What a query asks for by a reading action: a selection, a sort, and the resolver with what is wrong so far.
    Raises Forbidden or Unauthorized when there can be nothing. A `trusted` query was written by the application, and
    says all that it asks for: nothing is added by default."""
    definition = definition_of(request)
    base = readable_now(request, rulebook, action)
    resolver = _resolver(request, definition, rulebook)
    query = request.query
    written = query.filter
    if definition.default_filters and action == "list" and not trusted:
        written = with_defaults(definition.default_filters, written)
    asked = EVERYTHING if written == EVERYTHING else resolver.filter(written)
    if query.search is not None:
        asked = join((asked, resolver.search(query.search)), either=False)
    if request.nesting is not None:
        asked = join((asked, _scope(request, definition, rulebook, resolver)), either=False)
    mask = _mask(query, base.mask, definition, resolver)
    sort = resolver.sort(query.sort)
    if is_judged(base.filter):
        resolver.faults += [_not_by(key) for key in sort if not key.path.is_field]
    if asked == EVERYTHING and mask is base.mask:
        return base, sort, resolver
    return Selection(definition.schema, join((base.filter, asked), either=False), mask), sort, resolver


def check_limit(query: WrittenQuery, definition: Definition, resolver: Resolver) -> None:
    """Notes the fault of a query that wants more records at once than its resource gives."""
    if query.limit is not None and query.limit > definition.max_limit:
        detail = f"limit goes up to {definition.max_limit}."
        resolver.faults.append(Fault("bad_value", detail, parameter="limit"))


def check_told_by_store(selection: Selection) -> None:
    """Raises Malformed where a function decides which records there are, so that the store cannot tell what they
    come to."""
    if is_judged(selection.filter):
        name = selection.schema.name
        raise Malformed(f"A function decides which records of {name} may be seen: they can be counted, no more.")


def _resolver(request: Request, definition: Definition, rulebook: Rulebook) -> Resolver:
    access = ActorAccess(rulebook, request.actor, system=request.is_system)
    return Resolver(definition.schema, rulebook.definitions.catalog, access)


def _scope(request: Request, definition: Definition, rulebook: Rulebook, resolver: Resolver) -> Filter:
    """The condition of the nested path, whose parents have been looked up; where a function decides about one of
    them, that is all that is asked about it."""
    if request.nesting is None:
        return EVERYTHING
    access = resolver.access
    if any(is_judged(access.records(above.definition.schema)) for above in request.nesting.parents):
        return rulebook.resolve(definition.schema, request.nesting.filter)
    return resolver.filter(request.nesting.filter)


def _mask(query: WrittenQuery, mask: Mask, definition: Definition, resolver: Resolver) -> Mask:
    """The mask with what the query includes and without what it leaves out; the key is always in it."""
    if query.include:
        mask = replace(mask, includes=resolver.includes(query.include, most=query.most_included))
    if query.fields is None and query.omit is None:
        return mask
    key = definition.schema.key
    if query.fields is not None:
        wanted = {key, *resolver.names(query.fields, "fields")}
    else:
        left_out = set(resolver.names(query.omit or (), "omit")) - {key}
        wanted = set(definition.schema.fields) - left_out
    shown = (
        *mask.always,
        *({DELETED_AT} & wanted - set(mask.always) if query.fields and definition.schema.is_soft else ()),
    )
    always = tuple(name for name in shown if name in wanted)
    return Mask(always, tuple(pair for pair in mask.sometimes if pair[0] in wanted), mask.includes)


def _not_by(key: SortKey) -> Fault:
    detail = (
        f"{'.'.join(key.path.names)} cannot be sorted by: where a function decides, plain fields of the records can."
    )
    return Fault("bad_sort", detail, parameter="sort")
