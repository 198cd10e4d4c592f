"""Creating one record without waiting: what a create by anybody means, compiled once for each resource.

It decides what `resources.preparing` decides, where that asks for nothing but the given values: no hook, no password,
no validator of the application, no rule that looks at a clock or at a record that is pointed at, or that is a function.
"""

from crudite.changes import Unit, Write
from crudite.ids import uuid7
from crudite.messages import ANONYMOUS
from crudite.query.plan import Selection
from crudite.query.tree import EVERYTHING, NOTHING, Filter, is_judged
from crudite.resources.access import Rulebook, clocks_of
from crudite.resources.declaring.definition import Definition
from crudite.resources.writing.demands import condition_of, refuse_unreachable
from crudite.rules import clocks_in


class PlainCreate:
    """Makes the units of one resource. `rule` must hold for what is stored, `shown` is what the asker may see of it."""

    def __init__(self, definition: Definition, rulebook: Rulebook, rule: Filter, shown: Selection) -> None:
        self._definition = definition
        self._clock = rulebook.clock
        self._schema = definition.schema
        self._key = definition.schema.key
        self._parse = definition.bodies["create"].parse_json
        self._restricted = rulebook.of(definition.schema).restricted_writes | definition.settable.keys()
        self._makes_key = definition.schema.key_field.type.kind == "uuid"
        self._check = condition_of(rule)
        self._shown = None if shown.filter == NOTHING else shown

    def unit(self, body: bytes, request: str) -> Unit | None:
        """What a body in JSON wants stored, on behalf of a request with an id; None for one that is not plain: several
        records, a field with a rule of its own. Raises Malformed, or Invalid with every fault."""
        if body[:1] != b"{":
            return None
        given = self._parse(body)
        if not self._restricted.isdisjoint(given):
            return None
        if self._key in given:
            refuse_unreachable(given, self._definition)
        definition = self._definition
        if definition.defaults:
            values = {**definition.make_defaults(ANONYMOUS, self._clock(), given), **given}
        else:
            values = {**definition.static_defaults, **given}
        if self._makes_key and self._key not in values:
            values[self._key] = uuid7()
        write = Write(
            action="create", schema=self._schema, key=values.get(self._key), values=values, check_after=self._check,
            returning=self._shown,
        )  # fmt: skip
        return Unit(writes=(write,), request=request, interface="rest")


def plain_create(definition: Definition, rulebook: Rulebook) -> PlainCreate | None:
    """How anybody creates records of a resource, None where that is not as plain."""
    rules = rulebook.of(definition.schema)
    rule, shown = rules.action("create", ANONYMOUS), rules.selection(ANONYMOUS)
    has_hooks = any(action == "create" for _, action in definition.hooks) or bool(definition.validators)
    if rule == NOTHING or has_hooks or definition.passwords or clocks_in(rule) or clocks_of(shown):
        return None
    if is_judged(rule) or is_judged(shown.filter):
        return None
    for _, reference in definition.references:
        if reference.enforced:
            target = rulebook.definitions.catalog[reference.target]
            if rulebook.of(target).selection(ANONYMOUS).filter != EVERYTHING:
                return None
    return PlainCreate(definition, rulebook, rule, shown)
