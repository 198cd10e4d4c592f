"""In which order the records of a whole are written: who leaves a value that may occur once, before who takes it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from crudite.schema import ResourceSchema
from crudite.types import PlainRecord


class Move(NamedTuple):
    """One write: `at` which index of the body its entry stands, and the record before (None where there is none) and
    after it."""

    at: int
    before: PlainRecord | None
    after: PlainRecord


def making_room(moves: Sequence[Move], schema: ResourceSchema) -> list[int]:
    """The indexes in their order but for those that have to wait: a value goes from record to record. Of records that
    exchange theirs none can make room for the other: the store refuses them in whichever order."""
    leaving = {one: move.at for move in moves for one in _held(move.before, schema)}
    behind = {
        move.at: [leaving[one] for one in _held(move.after, schema) if leaving.get(one, move.at) != move.at]
        for move in moves
    }
    order: dict[int, None] = {}
    entered: set[int] = set()
    for move in moves:
        waiting = [move.at]
        while waiting:  # not by recursion, since each may wait for the next
            index = waiting[-1]
            further = [one for one in behind[index] if one not in entered] if index not in order else []
            entered.add(index)
            if further:
                waiting.append(further[0])
            else:
                order[waiting.pop()] = None
    return list(order)


def _held(record: PlainRecord | None, schema: ResourceSchema) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """The values of a record that may occur once, each with its fields."""
    groups = [*((field.name,) for field in schema.fields.values() if field.unique), *schema.unique]
    for group in groups if record is not None else ():
        if record is not None and all(name in record for name in group):
            yield group, msgspec.json.encode([record[name] for name in group], order="deterministic")
