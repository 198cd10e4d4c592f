"""The rules that a resource declares, resolved: one filter for every action, and for fields that have one."""

from collections.abc import Mapping, Set
from typing import Any, Literal

from crudite.messages import ACTIONS, ActionName
from crudite.query.resolve import Resolver
from crudite.query.simplify import join
from crudite.query.tree import EVERYTHING, NOTHING, Check, Condition, Filter, leaves
from crudite.resources.declaring.fields import FieldOptions
from crudite.resources.declaring.gather import Gathered, nearest, sentence
from crudite.rules import MOST_CHECKS
from crudite.schema import Catalog, ResourceSchema

_FALLBACKS: dict[ActionName, tuple[str, ...]] = {
    "list": ("list", "read"),
    "read": ("read",),
    "create": ("create", "write"),
    "replace": ("replace", "update", "write"),
    "update": ("update", "write"),
    "delete": ("delete", "write"),
    "restore": ("restore", "delete", "write"),
    "purge": ("purge",),
}
_RULE_KEYS = (*ACTIONS, "write", "history", "restore", "purge")
_WHOLE = "allow.check decides about whole records, not about fields"
_TOO_MANY = f"a rule combines at most {MOST_CHECKS} functions; write one that calls the others"


class RuleReader:
    """Resolves rules; faults go to what was gathered of their class. `broken` are the names of fields that
    are wrong themselves: what a rule that names one of them lacks is not said again."""

    def __init__(self, schemas: Mapping[type[Any], ResourceSchema], catalog: Catalog, broken: Set[str]) -> None:
        self._schemas = schemas
        self._catalog = catalog
        self._broken = broken

    def of_actions(self, found: Gathered, *, open: bool) -> dict[ActionName, Filter]:
        """The resolved rule for every action; without any rule everyone may when `open`, else nobody. One for the
        history is there only when it is declared; nobody may `purge` unless it is said."""
        written = found.options.get("rules", EVERYTHING if open else NOTHING)
        if isinstance(written, Filter):
            rule = self._rule(found, "rules", written)
            return {**dict.fromkeys(ACTIONS, rule), "restore": rule, "purge": NOTHING}
        if isinstance(written, list | tuple):
            written = dict.fromkeys(written, EVERYTHING)
        if not isinstance(written, Mapping):
            found.faults.append(
                f"{found.name}: rules are one rule, such as allow.everyone, one for each action, or "
                "the actions that everyone may."
            )
            return dict.fromkeys(_FALLBACKS, NOTHING)
        resolved = self._keyed(found, written)
        rules = {
            action: next((resolved[key] for key in keys if key in resolved), NOTHING)
            for action, keys in _FALLBACKS.items()
        }
        return {**rules, "history": resolved["history"]} if "history" in resolved else rules

    def beside(self, found: Gathered, where: str, written: Any) -> dict[str, Filter]:
        """What the rules of a place ask beside those of the resource: nothing of an action that they do not name."""
        if written is None:
            return {}
        if isinstance(written, Filter):
            return dict.fromkeys(
                (*_RULE_KEYS, "deleted", "list_deleted"), self._rule(found, f"{where}: rules", written)
            )
        if not isinstance(written, Mapping):
            found.faults.append(f"{found.name}: {where}: rules are one rule, or one for each action.")
            return {}
        resolved = self._keyed(found, written, f"{where}: ")
        fallbacks: dict[ActionName, tuple[str, ...]] = {**_FALLBACKS, "history": ("history",)}
        rules: dict[str, Filter] = {
            action: next((resolved[key] for key in keys if key in resolved), EVERYTHING)
            for action, keys in fallbacks.items()
        }
        deleted = join((rules["read"], rules["restore"]), either=False)
        return {**rules, "deleted": deleted, "list_deleted": join((rules["list"], deleted), either=False)}

    def of_fields(self, found: Gathered, what: Literal["read", "write"]) -> dict[str, Filter]:
        """The resolved rules of those fields that have one; a private field is read by nobody."""
        rules = {}
        for name in self._schemas[found.cls].fields:
            options = found.fields.get(name, FieldOptions())
            rule = options.read if what == "read" else options.write
            if rule is not None:
                rules[name] = self._rule(found, f"{name}, {what}", rule, most_checks=0)
            elif what == "read" and options.visible == "private":
                rules[name] = NOTHING
        return rules

    def _keyed(self, found: Gathered, written: Mapping[str, Any], where: str = "") -> dict[str, Filter]:
        """The rules of a mapping, resolved."""
        for key in written:
            if key not in _RULE_KEYS:
                hint = nearest(str(key), _RULE_KEYS) or f"; there are {', '.join(_RULE_KEYS)}"
                found.faults.append(sentence(f"{found.name}: {where}rules have no {key!r}{hint}"))
        return {key: self._rule(found, f"{where}rules[{key!r}]", written[key]) for key in _RULE_KEYS if key in written}

    def _rule(self, found: Gathered, place: str, written: Any, most_checks: int = MOST_CHECKS) -> Filter:
        """A rule, resolved; what is wrong with it only because a field is wrong is not said twice."""
        if not isinstance(written, Filter):
            found.faults.append(f"{found.name}: {place} is no rule: use allow.everyone, allow.where(…) and the like.")
            return NOTHING
        resolver = Resolver(self._schemas[found.cls], self._catalog)
        resolved = resolver.filter(written)
        if resolver.faults and not self._broken & _names_in(written):
            found.faults += [f"{found.name}: {place}: {fault.detail}" for fault in resolver.faults]
        checks = {id(leaf.test) for leaf in leaves(resolved) if isinstance(leaf, Check)}
        if len(checks) > most_checks:
            found.faults.append(f"{found.name}: {place}: {_TOO_MANY if most_checks else _WHOLE}.")
        return resolved


def _names_in(written: Filter) -> set[str]:
    return {name for leaf in leaves(written) if isinstance(leaf, Condition) for name in leaf.path}
