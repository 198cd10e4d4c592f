"""What booster embedded: other records in place of the keys that point at them, or in a list beside them."""

from difflib import get_close_matches
from typing import Any, NamedTuple

from crudite.errors import TooLarge
from crudite.query.paths import MAX_PATH
from crudite.query.plan import INCLUDED, MOST_INCLUDED
from crudite.resources.declaring.collect import SYSTEM_FIELDS
from crudite.resources.declaring.definition import Definition, Definitions

MOST_EMBEDDED = MOST_INCLUDED
"""The most records in one list that is embedded."""


class _End(NamedTuple):
    """Where a reference or a link leads to."""

    target: str
    is_many: bool
    may_include: bool


class Embedding:
    """Puts what records include in place of the keys that point there, as far down as it goes."""

    def __init__(self, definitions: Definitions, *, shows_private: bool) -> None:
        self._definitions = definitions
        self._shows_private = shows_private

    def of(self, shown: Any, definition: Definition) -> Any:
        """A record of a resource, or a list of them, with what is embedded; anything else as it is. Raises TooLarge for
        a list of more than MOST_EMBEDDED records, since a part of it would be taken for the whole."""
        if isinstance(shown, list):
            return [self.of(one, definition) for one in shown]
        if not isinstance(shown, dict):  # the application's own answer
            return shown
        ends = _ends(definition)
        for name, inner in shown.pop(INCLUDED, {}).items():
            if isinstance(inner, list) and len(inner) > MOST_EMBEDDED:
                raise TooLarge(f"{name} is a list of more than {MOST_EMBEDDED} records.")
            if inner is not None:
                shown[name] = self._below(inner, self._definitions.by_name[ends[name].target])
        return shown

    def _below(self, inner: Any, definition: Definition) -> Any:
        hidden = {*SYSTEM_FIELDS, *(() if self._shows_private else definition.field_read)}
        of_each = inner if isinstance(inner, list) else [inner]
        kept = [{name: value for name, value in one.items() if name not in hidden} for one in of_each]
        return self.of(kept if isinstance(inner, list) else kept[0], definition)


def leads(path: str, definition: Definition, definitions: Definitions) -> bool:
    """Whether the names in a path, one after the other, lead to other records."""
    return _way(path, definition, definitions) is not None


def fault_of_path(path: str, definition: Definition, definitions: Definitions) -> str | None:
    """What keeps the records that a path leads to from being embedded, whoever asks; None for nothing."""
    way = _way(path, definition, definitions)
    if way is None:
        near = get_close_matches(path, list(_ends(definition)), 1)
        return "which leads to no other records" + (f"; did you mean {near[0]!r}?" if near else ".")
    if len(way) > MAX_PATH:
        return f"which has {len(way)} names, and a path has at most {MAX_PATH}."
    if kept := [name for name, end in way if not end.may_include]:
        return f"where {kept[0]} says Field(include=False)."
    many = [name for name, end in way if end.is_many]
    if len(many) > 1:
        return f"where {' and '.join(many)} lead to many records each, and a path follows one such link at most."
    return None


def _way(path: str, definition: Definition, definitions: Definitions) -> list[tuple[str, _End]] | None:
    """The names in a path with where they lead to, one after the other; None where one leads nowhere."""
    way = []
    for name in path.split("."):
        end = _ends(definition).get(name)
        if end is None:
            return None
        way.append((name, end))
        definition = definitions.by_name[end.target]
    return way


def _ends(definition: Definition) -> dict[str, _End]:
    """Where references and links of a resource lead to, by their names."""
    references = {
        name: _End(to.target, is_many=False, may_include=to.may_include) for name, to in definition.references
    }
    links = definition.links.items()
    return references | {
        name: _End(link.leads_to, is_many=not link.is_one, may_include=link.may_include) for name, link in links
    }
