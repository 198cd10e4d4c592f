"""The JSON that live interfaces have in common: the members of a frame, and how a client sorts."""

from collections.abc import Sequence

import msgspec

from crudite.live import Changed, Frame
from crudite.messages import LiveQuery

_encode = msgspec.json.Encoder().encode


def encode(value: object) -> str:
    """The JSON text of plain data."""
    return _encode(value).decode()


def frame_members(frame: Frame) -> str:
    """The members of a frame's JSON object, without its braces; empty ones are left out."""
    if frame.value is not msgspec.UNSET:
        return f'"value":{encode(frame.value)}'
    members = []
    if frame.added:
        members.append(f'"added":[{",".join(frame.added)}]')
    if frame.changed:
        members.append(f'"changed":[{",".join(map(changed_json, frame.changed))}]')
    if frame.removed:
        members.append(f'"removed":{encode(frame.removed)}')
    if frame.order is not None:
        members.append(f'"order":{encode(frame.order)}')
    return ",".join(members)


def changed_json(changed: Changed) -> str:
    """The JSON object of a changed record."""
    absent = f',"absent":{encode(changed.absent)}' if changed.absent else ""
    return f'{{"key":{encode(changed.key)},"fields":{encode(changed.fields)}{absent}}}'


def sort_json(query: LiveQuery) -> str:
    """How a client sorts the records of a query: `[{field, descending, type}]`.

    It is empty when the sort needs something that the records do not show: then frames carry the order.
    """
    plan = query.plan
    shown = plan.selection.mask.always
    if not all(key.path.is_own and key.path.field.name in shown for key in plan.sort):
        return "[]"
    keys: Sequence[object] = [
        {"field": ".".join(key.path.names), "descending": key.descending, "type": key.path.type.kind}
        for key in plan.sort
    ]
    return encode(keys)
