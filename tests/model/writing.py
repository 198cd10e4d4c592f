"""Writing: from the steps of a story, which any state allows, to what the application and other programs are asked."""

from collections.abc import Collection, Sequence

from tests.model.oracle import State
from tests.model.places import Made
from tests.model.steps import Op

_POINTS = {"members": {"team": "teams"}, "tasks": {"team": "teams", "parent": "tasks"}}
"""Which fields refer to records of which resource."""


class Locked:
    """What transactions hold that are still open: records that they have written, and those that these refer to."""

    def __init__(self) -> None:
        self._made: dict[int, Sequence[Made]] = {}

    def __bool__(self) -> bool:
        return bool(self._made)

    def hold(self, slot: int, made: Sequence[Made]) -> None:
        """An open transaction has written these."""
        self._made[slot] = made

    def release(self, slot: int) -> Sequence[Made] | None:
        """It ends; what it has written."""
        return self._made.pop(slot, None)

    def allows(self, op: Op, state: State) -> bool:
        """Whether somebody else can do that without waiting for the end of one."""
        written = {(one.resource, one.key) for made in self._made.values() for one in made}
        resource, key = op[1], op[2]
        if (resource, key) in written:
            return False
        if op[0] != "remove":
            return True
        return (resource, key) not in self._referred() and not any(
            (other, row["id"]) in written
            for other, points in _POINTS.items()
            for row in state.table(other).values()
            for field, target in points.items()
            if target == resource and row[field] == key
        )

    def _referred(self) -> Collection[tuple[str, str]]:
        return {
            (target, (one.values or {}).get(field))
            for made in self._made.values()
            for one in made
            for field, target in _POINTS.get(one.resource, {}).items()
        }


def resolve(
    ops: Sequence[Op],
    state: State,
    locked: Locked,
    *,
    keys_hold: bool = True,
    repeats: bool = False,
    undoes: bool = False,
) -> tuple[list[Made], State]:
    """What these steps come to in a state, and the state after them. With `repeats` a record may be written several
    times, with `undoes` every second write is taken back."""
    made: list[Made] = []
    for op in ops:
        resource, key = op[1], op[2]
        is_there = key in state.table(resource)
        if not locked.allows(op, state) or (op[0] == "remove" and not is_there):
            continue
        if not repeats and any(key == one.key for one in made):
            continue
        is_undone = undoes and len(made) % 2 == 1
        if op[0] == "remove":
            made.append(Made("delete", resource, key, None, is_undone))
            state = state if is_undone else state.remove(resource, key, keys_hold=keys_hold)
            continue
        values = dict(op[3])
        if values.get("team", "") not in (*state.teams, "", None):
            values["team"] = next(iter(sorted(state.teams)), None)
        if values.get("parent") not in state.tasks:
            values |= {"parent": None} if "parent" in values else {}
        if resource == "members" and values["team"] is None:
            continue
        made.append(Made("update" if is_there else "create", resource, key, values, is_undone))
        state = state if is_undone else state.put(resource, key, values)
    return made, state


def stays_apart(op: Op) -> bool:
    """Whether an open transaction may do that, so that others still find records to refer to."""
    return op[0] == "put" or op[1] in ("members", "notices")


def apply(made: Sequence[Made], state: State) -> State:
    """The state after what a transaction has written, which held its records meanwhile."""
    for one in made:
        if one.action == "delete":
            state = state.remove(one.resource, one.key)
        else:
            state = state.put(one.resource, one.key, one.values or {})
    return state
