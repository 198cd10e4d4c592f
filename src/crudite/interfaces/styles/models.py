"""Bodies as the clients of wheelhouse-resource send them: whole models, with attributes that were only shown."""

from collections.abc import Mapping
from typing import Any

import msgspec

from crudite.errors import Fault, Invalid, Malformed
from crudite.interfaces.styles.options import Row
from crudite.interfaces.styles.style import declared
from crudite.resources.answering import plainly
from crudite.resources.declaring.definition import Definition, Definitions
from crudite.resources.request import AnyAction
from crudite.resources.writing.below import RAW
from crudite.resources.writing.incoming import is_many


def model_in(data: Any, definitions: Definitions) -> Row:
    """A body as plain data: JSON, or what a step in front has put in its place; an empty object for none. Raises
    Malformed for what is no JSON, Invalid for what is no object."""
    if isinstance(data, RAW):
        try:
            model = msgspec.json.decode(bytes(data)) if bytes(data) else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"The body is not JSON: {error}.") from error
    else:
        model = {} if data is None else plainly(data, definitions)
    if not isinstance(model, dict):  # several at once as well: a function is asked about one
        raise Invalid(faults=[Fault("not_an_object", "A record is a JSON object.", pointer="")])
    return model


def spread(row: Row, definition: Definition, extra: str | None) -> Row:
    """A record with what its field `extra` holds beside its fields, as if they were some: never in place of a field,
    one that is hidden included."""
    if extra is None or extra not in row:
        return row
    fields = _own(definition, extra)
    kept = {name: value for name, value in row.items() if name != extra}
    return kept | {name: value for name, value in (row[extra] or {}).items() if name not in fields}


def without_unknown(data: Any, definition: Definition, action: AnyAction, extra: str | None = None) -> Any:
    """A body without the attributes that are no fields of the resource, or each of several; these are put into the
    field `extra`, where there is one. What is no object stays as it is, and so does what is no JSON: whoever parses it
    says so."""
    written = definition.bodies["create" if action == "create" else "update"].names
    known = frozenset((*written, *_own(definition, None))) - {extra}
    if not is_many(data):
        return _known(data, known, extra)
    try:
        parts = msgspec.json.decode(bytes(data), type=list[msgspec.Raw]) if isinstance(data, RAW) else data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data
    kept = [_known(part, known, extra) for part in parts]
    return msgspec.json.encode(list(map(msgspec.Raw, kept))) if isinstance(data, RAW) else kept


def links_in(data: Any, definition: Definition) -> frozenset[str]:
    """The links of the resource that a body sets, or any of several records in it."""
    if not definition.settable:
        return frozenset()
    try:
        model = msgspec.json.decode(bytes(data)) if isinstance(data, RAW) else data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # whoever parses it says so
        return frozenset()
    models = model if isinstance(model, list | tuple) else [model]
    return frozenset(name for one in models if isinstance(one, Mapping) for name in definition.settable if name in one)


def _own(definition: Definition, extra: str | None) -> frozenset[str]:
    """What a record has by itself, so that no attribute is called so."""
    return frozenset(declared(definition)) - {extra}


def _known(data: Any, known: frozenset[str], extra: str | None) -> Any:
    if isinstance(data, Mapping):
        return _parted(data, known, extra)
    if not isinstance(data, RAW):
        return data
    try:
        values = msgspec.json.decode(bytes(data), type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data
    if values.keys() <= known:
        return data
    return msgspec.json.encode(_parted(values, known, extra))


def _parted(values: Mapping[str, Any], known: frozenset[str], extra: str | None) -> Row:
    kept = {name: value for name, value in values.items() if name in known}
    others = {name: value for name, value in values.items() if name not in known}
    return kept if extra is None or not others else {**kept, extra: others}
