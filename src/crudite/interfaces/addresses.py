"""Where resources and their records are found: paths, names and keys, as interfaces are given them."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from crudite.errors import NotFound
from crudite.interfaces.base import Host
from crudite.resources.definition import Definition, Definitions
from crudite.resources.keys import no_record
from crudite.types import Key


def key_in(text: str, definition: Definition) -> Key:
    """The key in a path. Raises NotFound for a text that can be no key of the resource."""
    try:
        key: Key = definition.schema.key_field.type.parse(text)
    except ValueError:
        raise no_record(definition, text) from None
    return key


def find_resource(host: Host, path: Any) -> Definition:
    """The resource with a path. Raises NotFound, with the nearest path."""
    definition = host.definitions.by_path.get(path) if isinstance(path, str) else None
    if definition is None:
        near = get_close_matches(str(path)[:100], list(host.definitions.by_path), 1)
        raise NotFound(f"There is no resource {str(path)[:100]!r}" + (f"; did you mean {near[0]!r}?" if near else "."))
    return definition


def nested_paths(
    definition: Definition, definitions: Definitions, prefix: str = ""
) -> Iterator[tuple[tuple[Definition, ...], str]]:
    """The chains of parents under which a resource is found, and the pattern of its path there."""
    for chain in _chains(definition, definitions):
        yield chain, prefix + "".join(f"/{parent.path}/{{key}}" for parent in chain) + f"/{definition.path}"


def _chains(definition: Definition, definitions: Definitions) -> list[tuple[Definition, ...]]:
    chains: list[tuple[Definition, ...]] = [] if definition.only_nested else [()]
    for name in definition.parents:
        reference = definition.schema.fields[name].reference
        assert reference is not None
        parent = definitions.by_name[reference.target]
        if parent is not definition:
            above = _chains(parent, definitions)
            chains += [(*chain, parent) for chain in above if definition not in chain]
    return chains
