"""From the places that classes declare, or do not, to those at which resources stand, with their actions and rules.

Who says nothing stands at its own path, and below each place of its parents. Who says `places=` stands there and
nowhere else. What the rules of all places that offer an action forbid is forbidden everywhere: no other interface lets
anybody do what he can do at no path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from crudite.messages import ACTIONS
from crudite.query.simplify import join
from crudite.query.tree import EVERYTHING, Check, Filter, leaves
from crudite.resources.declaring.definition import Definition, Placement
from crudite.resources.declaring.gather import Gathered, nearest, sentence
from crudite.resources.declaring.places import SEGMENT, Named, Place
from crudite.resources.declaring.rule_reader import RuleReader
from crudite.rules import MOST_CHECKS

SWITCHES = (*ACTIONS, "history", "restore", "subscribe", "read_field", "update_field")
"""What `only=` and `exclude=` name."""

_ALONG = {"subscribe": ("list", "read"), "read_field": ("read",), "update_field": ("update",)}
"""What is there with one of these, without being named."""

_WITH = {"deleted": "restore", "list_deleted": "restore", "purge": "delete"}
"""What has rules, and is offered with something else."""

Steps = tuple[tuple[Definition, str], ...]


class _Declared(NamedTuple):
    """A declared place, read; its rules are what must hold beside those of the resource."""

    place: Place
    actions: frozenset[str]
    rules: Mapping[str, Filter]


class Placing:
    """Finds out where the resources of one application stand; faults go to what was gathered of their classes."""

    def __init__(self, gathered: Mapping[type[Any], Gathered], rules: RuleReader) -> None:
        self._gathered = gathered
        self._declared = {
            cls: [one for place in _places(found) if (one := self._read(found, place, rules)) is not None]
            for cls, found in gathered.items()
            if "places" in found.options
        }

    def narrowed(self, definition: Definition) -> Definition:
        """A resource with what all of its places together ask of every action."""
        declared = self._declared.get(definition.cls, [])
        rules = dict(definition.rules)
        for action, rule in definition.rules.items():
            offered = _WITH.get(action, action)
            asked = [one.rules.get(action, EVERYTHING) for one in declared if offered in one.actions]
            if asked and EVERYTHING not in asked:
                rules[action] = join((rule, join(asked, either=True)), either=False)
        return definition if rules == definition.rules else replace(definition, rules=rules)

    def of_all(self, definitions: Sequence[Definition]) -> dict[Definition, tuple[Placement, ...]]:
        """Where each resource stands, in order."""
        by_name = {definition.name: definition for definition in definitions}
        found = {one: tuple(self._of(one, by_name, ())) for one in definitions}
        for definition, places in found.items():
            self._check(self._gathered[definition.cls], places)
        return found

    def _of(self, definition: Definition, by_name: Mapping[str, Definition], below: tuple[str, ...]) -> list[Placement]:
        found = self._gathered[definition.cls]
        if definition.cls in self._declared:
            every = [self._declared_at(found, one, definition, by_name) for one in self._declared[definition.cls]]
            return [one for one in every if one is not None]
        actions = _actions(found, found.name, found.options, frozenset(SWITCHES))
        own = f"/{definition.path}"
        places = [] if definition.only_nested else [Placement(own, (), definition, actions)]
        for field in definition.parents:
            reference = definition.schema.fields[field].reference
            target = by_name.get(reference.target) if reference is not None else None
            if target is None or target is definition or target.name in below:
                continue
            for above in self._of(target, by_name, (*below, definition.name)):
                if all(one.name != definition.name for one, _ in above.above):
                    steps = (*above.above, (above.definition, field))
                    places.append(Placement(f"{above.pattern.rstrip('/')}/{{key}}{own}", steps, definition, actions))
        return places

    def _read(self, found: Gathered, place: Place, rules: RuleReader) -> _Declared | None:
        where = f"the place {place.path!r}"
        of_class = _actions(found, found.name, found.options, frozenset(SWITCHES))
        given = {"only": place.only, "exclude": place.exclude}
        actions = _actions(found, f"{found.name}: {where}", given, of_class)
        asked = rules.beside(found, where, place.rules)
        if place.parent not in ("filled", "required"):
            found.faults.append(f"{found.name}: {where}: parent is 'filled' or 'required', not {place.parent!r}.")
        if not actions & {*ACTIONS, "history"}:
            found.faults.append(f"{found.name}: {where} cannot be reached: no action is left there.")
        return _Declared(place, actions, asked)

    def _declared_at(
        self, found: Gathered, declared: _Declared, definition: Definition, by_name: Mapping[str, Definition]
    ) -> Placement | None:
        place = declared.place
        steps = _steps(found, place.path, definition, by_name)
        if steps is None:
            return None
        here, rules = definition, dict(definition.rules)
        for action in definition.rules:
            if declared.rules.get(action, EVERYTHING) != EVERYTHING:
                rules[action] = join((definition.rules[action], declared.rules[action]), either=False)
                if sum(isinstance(leaf, Check) for leaf in leaves(rules[action])) > MOST_CHECKS:
                    text = f"{found.name}: the place {place.path!r}: its rules and the resource's"
                    found.faults.append(f"{text} ask more than {MOST_CHECKS} functions together.")
        if rules != definition.rules:
            here = replace(definition, rules=rules)
        if place.parent == "required" and not steps:
            found.faults.append(f"{found.name}: the place {place.path!r} names no parent, so a body need not either.")
        words = [segment for segment in place.path.split("/") if segment]
        pattern = "".join(f"/{'{key}' if word.startswith('{') else word}" for word in words)
        return Placement(pattern or "/", steps, here, declared.actions, place.parent == "required")

    def _check(self, found: Gathered, places: Sequence[Placement]) -> None:
        seen: set[str] = set()
        for place in places:
            if place.pattern in seen and "places" in found.options:
                found.faults.append(f"{found.name}: two of its places are {place.pattern.replace('{key}', '{…}')}.")
            seen.add(place.pattern)
        if "places" in found.options and found.options.get("only_nested"):
            found.faults.append(f"{found.name}: places says where it stands, so only_nested says nothing.")
        if not places and "places" not in found.options and not found.faults and found.options.get("only_nested"):
            text = f"{found.name}: its parents stand nowhere, so it cannot be reached below them"
            found.faults.append(f"{text}; places=() says that this is meant.")


def _places(found: Gathered) -> list[Place]:
    given = found.options["places"]
    if isinstance(given, str | Place):
        found.faults.append(f"{found.name}: places is a list, such as places=[{given!r}].")
        return []
    places = [Place(one) if isinstance(one, str) else one for one in given]
    for one in places:
        if not isinstance(one, Place):
            found.faults.append(f"{found.name}: places holds {one!r}, which is no Place(…).")
    return [one for one in places if isinstance(one, Place)]


def _actions(found: Gathered, where: str, given: Mapping[str, Any], among: frozenset[str]) -> frozenset[str]:
    """What can be done, of what could be at most."""
    only, exclude = _names(found, where, "only", given), _names(found, where, "exclude", given)
    actions = among
    for along, withs in _ALONG.items():
        if along in only and not {*withs} & {*only}:
            with_ = " or ".join(map(repr, withs))
            found.faults.append(f"{where}: only names {along!r}, which goes along with {with_}: name that, too.")
    if given.get("only") is not None and {*only} <= {*SWITCHES}:
        actions = among & {*only, *(along for along, withs in _ALONG.items() if {*withs} & {*only})}
    actions -= {*exclude}
    return actions - {along for along, withs in _ALONG.items() if not {*withs} & actions}


def _names(found: Gathered, where: str, option: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    named: Named | None = given.get(option)
    names = (named,) if isinstance(named, str) else tuple(named or ())
    for name in names:
        if name not in SWITCHES:
            hint = nearest(str(name), SWITCHES) or f"; there are {', '.join(SWITCHES)}"
            fault = sentence(f"{where}: {option} names {name!r}, which is no action{hint}")
            if fault not in found.faults:
                found.faults.append(fault)
    return names


def _steps(found: Gathered, path: str, definition: Definition, by_name: Mapping[str, Definition]) -> Steps | None:
    """The records above a place, outermost first, each with the field that points at it; None for a path that means
    nothing, which is noted."""
    where = f"{found.name}: the place {path!r}"
    if not path.startswith("/"):
        found.faults.append(f"{where} does not begin with a slash.")
        return None
    steps: list[tuple[Definition, str]] = []
    below = definition
    for segment in reversed(path.strip("/").split("/") if path != "/" else []):
        if not segment.startswith("{"):
            if not SEGMENT.fullmatch(segment):
                found.faults.append(f"{where}: {segment!r} is no word of a URL, nor a field in braces.")
                return None
            continue
        name = segment[1:-1] if segment.endswith("}") else segment
        references = dict(below.references)
        if name not in references:
            if name not in found.broken:
                what = "which points at no record" if name in below.schema.fields else f"no field of {below.name}"
                hint = "" if name in below.schema.fields else nearest(name, references)
                found.faults.append(sentence(f"{where} names {name!r}, {what}{hint}"))
            return None
        below = by_name[references[name].target]
        steps.append((below, name))
    return tuple(reversed(steps))
