"""Where resources and their records are found: paths, names and keys, as interfaces are given them."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote

from crudite.errors import Malformed, NotFound
from crudite.interfaces.base import Host, Scope
from crudite.resources.declaring.definition import Definition, Placement
from crudite.resources.keys import no_record
from crudite.resources.reading import MAX_KEYS
from crudite.resources.request import Nesting
from crudite.types import Key


def key_in(text: str, definition: Definition) -> Key:
    """The key in a path. Raises NotFound for a text that can be no key of the resource."""
    try:
        key: Key = definition.schema.key_field.type.parse(text)
    except ValueError:
        raise no_record(definition, text) from None
    return key


def keys_in(scope: Scope, text: str, definition: Definition) -> tuple[Key, ...]:
    """The keys in a segment of a request's path, of which `text` is what it says, decoded. Raises NotFound as `key_in`
    does."""
    return tuple(dict.fromkeys(key_in(part, definition) for part in split_keys(scope, text)))


def split_keys(scope: Scope, text: str) -> list[str]:
    """The texts of the keys in a segment of a request's path: separated by commas, unless those are written as %2C."""
    if "," not in text:
        return [text]
    raw: bytes | None = scope.get("raw_path")
    if raw is None or b"%2" not in raw:
        return text.split(",")
    segments = raw.partition(b"?")[0].decode("latin-1").split("/")
    own = next((segment for segment in segments if unquote(segment) == text), text)
    return [unquote(part) for part in own.split(",")]


def nesting_in(scope: Scope, place: Placement, texts: Sequence[str]) -> Nesting | None:
    """What the segments of a path say that stand for the records above a place; None where there are none. Raises
    NotFound for one that can be no key, Malformed for too many of them."""
    if not place.above:
        return None
    keys = [keys_in(scope, text, above) for (above, _), text in zip(place.above, texts, strict=True)]
    if any(len(own) > MAX_KEYS for own in keys):
        raise Malformed(f"A path names at most {MAX_KEYS} records of one resource.")
    return Nesting.below(place, keys)


def find_resource(host: Host, path: Any) -> Definition:
    """The resource with a path. Raises NotFound, with the nearest path, where there is none that clients get at."""
    definition = host.definitions.by_path.get(path) if isinstance(path, str) else None
    if definition is None or not host.definitions.places[definition]:
        known = [one.path for one in host.definitions if host.definitions.places[one]]
        near = get_close_matches(str(path)[:100], known, 1)
        raise NotFound(f"There is no resource {str(path)[:100]!r}" + (f"; did you mean {near[0]!r}?" if near else "."))
    return definition


def is_done(host: Host, definition: Definition, action: str) -> bool:
    """Whether an action can be done at one of the places of a resource at least."""
    return any(action in place.actions for place in host.definitions.places[definition])
