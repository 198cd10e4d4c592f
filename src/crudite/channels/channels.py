"""The channels of an application: which there are, what a name means, and what its rules say of somebody."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from crudite.channels.channel import Channel
from crudite.errors import DeclarationError, Forbidden, NotFound, Unauthorized
from crudite.messages import Actor, Answered, Live, Response
from crudite.query.resolve import Resolver
from crudite.query.simplify import join
from crudite.query.tree import EVERYTHING, NOTHING, Check, Filter, Given, leaves
from crudite.resources.access import FoldedRule
from crudite.resources.declaring.definition import Definition, Definitions
from crudite.resources.keys import no_record
from crudite.resources.live_queries import LiveQueries
from crudite.resources.request import Request
from crudite.rules import MOST_CHECKS, holds
from crudite.types import Key

Act: TypeAlias = Literal["join", "publish"]

_ACTS: tuple[Act, ...] = ("join", "publish")
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Address:
    """One channel: its name, in the one way that it is written, and the key of its record, if it has one."""

    name: str
    declared: "Declared"
    key: Key | None = None

    def missing(self) -> NotFound:
        """The problem of somebody for whom it is not there: no other than where nothing is."""
        assert self.declared.definition is not None
        return no_record(self.declared.definition, self.key)


class Declared:
    """Channels of one declaration, whose rules are resolved."""

    def __init__(self, channel: Channel, definition: Definition | None, rules: dict[Act, Filter], tally: Any) -> None:
        self.channel = channel
        self.definition = definition
        self.rules = rules
        self._folded = {act: FoldedRule(r, definition, tally) for act, r in rules.items()} if definition else {}

    def condition(self, act: Act, actor: Actor) -> Filter:
        """What must hold of a record, for an actor. Raises Unauthorized or Forbidden where nothing can."""
        if self.definition is None:
            folded: Filter = EVERYTHING if holds(self.rules[act], actor) else NOTHING
        else:
            folded = self._folded[act](actor)
        if folded != NOTHING:
            return folded
        if self.rules[act] == NOTHING:
            raise Forbidden(f"Nobody may {act} there: {self.channel.pattern} has no rule that lets somebody.")
        if not actor.is_known:
            raise Unauthorized(f"Sign in to {act} there.", headers={"www-authenticate": "Bearer"})
        raise Forbidden(f"You may not {act} there.")


class Channels:
    """All channels of an application. Raises DeclarationError with one sentence for each fault."""

    def __init__(self, channels: Sequence[Channel], definitions: Definitions) -> None:
        self.definitions = definitions
        faults = [fault for channel in channels for fault in channel.faults()]
        if faults:
            raise DeclarationError(faults)
        self._declared: dict[tuple[str, ...], Declared] = {}
        for channel in channels:
            shape = tuple("{}" if segment in channel.parameters else segment for segment in channel.segments)
            if shape in self._declared:
                faults.append(f"Two channels are called {channel.pattern!r}, or alike.")
            self._declared[shape] = self._declare(channel, faults)
        if faults:
            raise DeclarationError(faults)
        # Words go before parameters: `rooms/lobby` is not the room whose key is lobby.
        self._shapes = sorted(self._declared, key=lambda shape: [segment == "{}" for segment in shape])

    def __iter__(self) -> Iterator[Channel]:
        return (declared.channel for declared in self._declared.values())

    def __bool__(self) -> bool:
        return bool(self._declared)

    def __contains__(self, pattern: object) -> bool:
        return any(channel.pattern == pattern for channel in self)

    @property
    def have_presence(self) -> bool:
        """Whether any of them shows who is there."""
        return any(channel.presence for channel in self)

    def find(self, name: Any) -> Address:
        """The channel with a name. Raises NotFound where there can be none."""
        segments = tuple(name.split("/")) if isinstance(name, str) and len(name) <= _LONGEST else ()
        for shape in self._shapes:
            if len(shape) == len(segments) and all(map(_fits, shape, segments)):
                return _address(self._declared[shape], shape, segments)
        raise NotFound(f"There is no channel {str(name)[:100]!r}.")

    def feeds(self, resource: type[Any]) -> list[Address]:
        """The channels that tell of the records of a resource."""
        every = self._declared.values()
        return [Address(d.channel.pattern, d) for d in every if d.channel.is_feed and d.channel.of is resource]

    def judge(self, request: Request, live_queries: LiveQueries) -> Response:
        """Whether the actor of a request may do in a channel what it asks for (`request.args` name the `channel` and
        the `act`): a live query, where that depends on a record, which shows it for as long as he may. Raises
        NotFound, Unauthorized, Forbidden."""
        address = self.find(request.args["channel"])
        condition = address.declared.condition(request.args["act"], request.actor)
        if address.declared.definition is None or address.key is None:
            return Answered(None)
        return Live(live_queries.of_one(address.declared.definition.schema, condition, address.key))

    def _declare(self, channel: Channel, faults: list[str]) -> Declared:
        place = f"The channel {channel.pattern!r}"
        definition = None if channel.of is None else self.definitions.get(channel.of)
        written: dict[Act, Filter] = {act: channel.rules.get(act, NOTHING) for act in _ACTS}
        if channel.of is None:
            for act, rule in written.items():
                if any(not isinstance(leaf, Given) for leaf in leaves(rule)):
                    faults.append(f"{place}: rules[{act!r}] speaks of records, so it needs of=, whose they are.")
            join_rule, publish = written["join"], written["publish"]
            may: Filter = NOTHING if NOTHING in (join_rule, publish) else join_rule & publish
            return Declared(channel, None, {"join": join_rule, "publish": may}, None)
        if definition is None or not definition.schema.logged:
            faults.append(f"{place} is of {channel.of.__name__}, which is no resource of this application with a log.")
            return Declared(channel, None, {}, None)
        if not self.definitions.places[definition]:
            faults.append(
                f"{place} is of {channel.of.__name__}, which no client gets at: it is declared with places=()."
            )
        written["join"] = channel.rules.get("join", EVERYTHING)
        resolved: dict[Act, Filter] = {}
        above = definition.rules["read"]
        for act in _ACTS:
            resolver = Resolver(definition.schema, self.definitions.catalog)
            above = resolved[act] = join((above, resolver.filter(written[act])), either=False)
            faults += [f"{place}: rules[{act!r}]: {fault.detail}" for fault in resolver.faults]
            if sum(isinstance(leaf, Check) for leaf in leaves(above)) > MOST_CHECKS:
                faults.append(f"{place}: rules[{act!r}] and reading ask more than {MOST_CHECKS} functions together.")
        return Declared(channel, definition, resolved, self.definitions.tally)


def _fits(expected: str, given: str) -> bool:
    return expected == given or (expected == "{}" and 0 < len(given) <= 100 and given.isprintable())


def _address(declared: Declared, shape: Sequence[str], segments: Sequence[str]) -> Address:
    if declared.definition is None or "{}" not in shape:
        return Address("/".join(segments), declared)
    at = shape.index("{}")
    try:
        key = declared.definition.schema.key_field.type.parse(segments[at])
    except ValueError:
        raise no_record(declared.definition, segments[at]) from None
    written = [*segments[:at], str(key), *segments[at + 1 :]]
    return Address("/".join(written), declared, key)
