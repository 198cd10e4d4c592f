"""The oracle: the tables as plain dictionaries after every commit, and every query once more, written by hand.

Nothing of the framework is used here. What it knows of the semantics is what the documentation promises.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Table: TypeAlias = Mapping[str, Row]

DEFAULTS: dict[str, Row] = {
    "teams": {"name": "", "open": False},
    "members": {"team": None, "user": ""},
    "tasks": {"team": None, "owner": "ann", "status": "todo", "points": None, "title": "", "note": ""},
}


@dataclass(frozen=True)
class State:
    """The tables after one commit. Nothing in it is ever changed."""

    teams: Table = field(default_factory=dict)
    members: Table = field(default_factory=dict)
    tasks: Table = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """The records of a resource by their keys."""
        found: Table = getattr(self, name)
        return found

    def put(self, name: str, key: str, values: Row) -> "State":
        """With a record, new or changed."""
        table = self.table(name)
        row = {**(table[key] if key in table else {"id": key, **DEFAULTS[name]}), **values}
        return replace(self, **{name: {**table, key: row}})

    def remove(self, name: str, key: str, *, keys_hold: bool = True) -> "State":
        """Without a record: and without a team's members, and its tasks belong to none. Programs that do not keep
        foreign keys leave those pointing at nothing (`keys_hold`)."""
        state = replace(self, **{name: {k: row for k, row in self.table(name).items() if k != key}})
        if name == "teams" and keys_hold:
            members = {k: row for k, row in self.members.items() if row["team"] != key}
            tasks = {k: {**row, "team": None} if row["team"] == key else row for k, row in self.tasks.items()}
            state = replace(state, members=members, tasks=tasks)
        return state

    def is_member(self, user: str, team: str | None) -> bool:
        """Whether somebody belongs to a team that is there."""
        return team in self.teams and any(m["team"] == team and m["user"] == user for m in self.members.values())


def may_read(state: State, name: str, actor: str, row: Row) -> bool:
    """The rules of the resources."""
    if actor == "staff":
        return True
    if name == "teams":
        return bool(row["open"]) or state.is_member(actor, row["id"])
    if name == "members":
        return row["user"] == actor or state.is_member(actor, row["team"])
    return row["owner"] == actor or state.is_member(actor, row["team"])


def may_read_note(actor: str, row: Row) -> bool:
    """The rule of the note."""
    return actor in ("staff", row["owner"])


# Filters

Holds: TypeAlias = Callable[[State, str, Row], bool | None]
"""Whether a condition holds for a record in a state, asked by an actor: None where it depends on what the actor may
not read, so that neither it nor its negation holds."""
Condition: TypeAlias = tuple[Any, Holds]
"""A filter in JSON, and when it holds."""


def condition(spec: Any) -> Condition:
    """The filter that a specification stands for: `("status", "todo")`, `("and", one, other)`, …"""
    match spec:
        case ("and", *parts):
            made = [condition(part) for part in parts]
            return {"and": [json for json, _ in made]}, lambda s, a, r: _all(holds(s, a, r) for _, holds in made)
        case ("or", *parts):
            made = [condition(part) for part in parts]
            return {"or": [json for json, _ in made]}, lambda s, a, r: _any(holds(s, a, r) for _, holds in made)
        case ("not", part):
            json, holds = condition(part)
            return {"not": json}, lambda s, a, r: _not(holds(s, a, r))
        case ("points>", value):
            return {"points": {"gt": value}}, lambda s, a, r: r["points"] is not None and r["points"] > value
        case ("points<=", value):
            return {"points": {"lte": value}}, lambda s, a, r: r["points"] is not None and r["points"] <= value
        case ("title has", text):
            return {"title": {"contains": text}}, lambda s, a, r: text in r["title"]
        case ("note", text):
            return {"note": text}, lambda s, a, r: r["note"] == text if may_read_note(a, r) else None
        case ("team is open", wanted):
            return {"team.open": wanted}, lambda s, a, r: _team_is(s, a, r, wanted)
        case ("team has", user):
            return {"team.members.user": user}, lambda s, a, r: _team_has(s, a, r, user)
        case (name, value):
            return {name: value}, lambda s, a, r: r[name] == value
    raise ValueError(spec)


def _not(held: bool | None) -> bool | None:
    return None if held is None else not held


def _all(held: Iterable[bool | None]) -> bool | None:
    """False outweighs what is not known, as a conjunction of negated parts shows."""
    found = list(held)
    return False if False in found else None if None in found else True


def _any(held: Iterable[bool | None]) -> bool | None:
    found = list(held)
    return True if True in found else None if None in found else False


def _nowhere(actor: str) -> bool | None:
    """A path that leads nowhere: for whom a rule restricts, that is not told from one that he may not follow."""
    return False if actor == "staff" else None


def _team_is(state: State, actor: str, row: Row, is_open: bool) -> bool | None:
    team = state.teams.get(row["team"])
    if team is None:
        return _nowhere(actor)
    return team["open"] == is_open if may_read(state, "teams", actor, team) else None


def _team_has(state: State, actor: str, row: Row, user: str) -> bool | None:
    team = state.teams.get(row["team"])
    if team is None:
        return _nowhere(actor)
    if not may_read(state, "teams", actor, team):
        return None
    return any(
        m["team"] == team["id"] and m["user"] == user and may_read(state, "members", actor, m)
        for m in state.members.values()
    )


# Queries


@dataclass(frozen=True)
class Asked:
    """A live query as data: of a resource, or of a handler (`read`)."""

    resource: str
    where: Any = None
    sort: tuple[str, ...] = ()
    limit: int | None = None
    fields: tuple[str, ...] | None = None
    read: str | None = None

    @property
    def json(self) -> Row:
        """What a client sends."""
        if self.read is not None:
            return {"read": self.read}
        query: Row = {}
        if self.where is not None:
            query["where"] = condition(self.where)[0]
        if self.sort:
            query["sort"] = list(self.sort)
        if self.limit is not None:
            query["limit"] = self.limit
        if self.fields is not None:
            query["fields"] = list(self.fields)
        return {"resource": self.resource, "query": query}

    @property
    def meaning(self) -> "Asked":
        """The query that a handler returns; any other itself."""
        if self.read == "todo-count":
            return replace(self, where=("status", "todo"))
        if self.read == "top":
            return replace(self, where=("status", "todo"), sort=("-points",), limit=2)
        return self

    @property
    def is_value(self) -> bool:
        """Whether it is a live number."""
        return self.read == "todo-count"

    def answer(self, state: State, actor: str) -> Any:
        """What it is in a state: the number, or the records shown, in order."""
        asked = self.meaning
        holds = condition(asked.where)[1] if asked.where is not None else lambda s, a, r: True
        found = [
            row for row in state.table(asked.resource).values()
            if may_read(state, asked.resource, actor, row) and holds(state, actor, row) is True
        ]  # fmt: skip
        if asked.is_value:
            return len(found)
        found = _sorted(state, found, asked.sort)
        return [_shown(asked, actor, row) for row in found[: asked.limit]]


def _sorted(state: State, rows: list[Row], sort: tuple[str, ...]) -> list[Row]:
    """Null is the lowest value; the key decides last, in the direction of the last one that was named."""
    last = sort[-1].startswith("-") if sort else False
    for name in reversed((*sort, "-id" if last else "id")):
        field = name.removeprefix("-")

        def value(row: Row, field: str = field) -> Any:
            found = state.teams.get(row["team"], {}).get("name") if field == "team.name" else row[field]
            return (found is not None, found if found is not None else 0)

        rows = sorted(rows, key=value, reverse=name.startswith("-"))
    return rows


def _shown(asked: Asked, actor: str, row: Row) -> Row:
    shown = {n: v for n, v in row.items() if asked.fields is None or n in asked.fields or n == "id"}
    if "note" in shown and not may_read_note(actor, row):
        del shown["note"]
    return shown
