"""What a DELETE says beside which record: that what stands in the way goes too, and that nothing is kept."""

from collections.abc import Sequence
from typing import NamedTuple

from crudite.errors import Fault, Malformed

_TRUTHS = {"true": True, "false": False}


class Removal(NamedTuple):
    """How a record is deleted: `?force=true` also deletes what points at it with `on_delete="force"`, `?purge=true`
    deletes for good what would be kept."""

    force: bool = False
    purge: bool = False


def removal_in(parameters: Sequence[tuple[str, str]], *, passes_over: bool = False) -> Removal:
    """What the parameters of a DELETE say. Raises Malformed with every fault, unless what cannot be meant is passed
    over."""
    given = {
        name: text for name, text in parameters if name in Removal._fields and (text in _TRUTHS or not passes_over)
    }
    faults = [
        Fault("bad_value", f"{name} takes true or false.", parameter=name)
        for name, text in given.items()
        if text not in _TRUTHS
    ]
    if faults:
        raise Malformed(faults=faults)
    return Removal(**{name: _TRUTHS[text] for name, text in given.items()})
