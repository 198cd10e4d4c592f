"""The oracle: the tables as plain dictionaries after every commit, and every query once more, written by hand.

Nothing of the framework is used here. What it knows of the semantics is what the documentation promises.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
"""When every story begins."""

Row: TypeAlias = dict[str, Any]
Table: TypeAlias = Mapping[str, Row]

DEFAULTS: dict[str, Row] = {
    "teams": {"name": "", "open": False},
    "members": {"team": None, "user": ""},
    "tasks": {
        "team": None,
        "parent": None,
        "owner": "ann",
        "status": "todo",
        "points": None,
        "title": "",
        "note": "",
        "due": None,
    },
    "notices": {"until": None, "text": ""},
}


def at(minutes: int) -> str:
    """So many minutes after the beginning, in JSON."""
    return f"{NOON + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S.%fZ}"


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who asks: his name, None for nobody in particular, and whether he is of the staff."""

    name: str | None
    is_staff: bool = False

    def __str__(self) -> str:
        return f"{self.name}{' of the staff' if self.is_staff else ''}"


@dataclass(frozen=True)
class State:
    """The tables after one commit, and what time it is. Nothing in it is ever changed."""

    now: str = ""
    teams: Table = field(default_factory=dict)
    members: Table = field(default_factory=dict)
    tasks: Table = field(default_factory=dict)
    notices: Table = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """The records of a resource by their keys."""
        found: Table = getattr(self, name)
        return found

    def put(self, name: str, key: str, values: Row) -> "State":
        """With a record, new or changed."""
        table = self.table(name)
        row = {**(table[key] if key in table else {"id": key, **DEFAULTS[name]}), **values}
        return self._with(name, {**table, key: row})

    def remove(self, name: str, key: str, *, keys_hold: bool = True) -> "State":
        """Without a record: and without a team's members, and its tasks belong to none, nor have the parts of a task a
        parent. Programs that do not keep foreign keys leave those pointing at nothing (`keys_hold`)."""
        state = self._with(name, {k: row for k, row in self.table(name).items() if k != key})
        if name == "teams" and keys_hold:
            members = {k: row for k, row in state.members.items() if row["team"] != key}
            state = replace(state, members=members, tasks=_cleared(state.tasks, "team", key))
        if name == "tasks" and keys_hold:
            state = replace(state, tasks=_cleared(state.tasks, "parent", key))
        return state

    def empty(self, name: str, *, keys_hold: bool = True) -> "State":
        """Without any record of a resource, nor of those that point to it."""
        names = ("teams", "members", "tasks") if keys_hold and name == "teams" else (name,)
        return replace(self, **{name: {} for name in names})

    def _with(self, name: str, table: Table) -> "State":
        changed: dict[str, Any] = {name: table}
        return replace(self, **changed)

    def is_member(self, user: str | None, team: str | None) -> bool:
        """Whether somebody belongs to a team that is there."""
        return team in self.teams and any(m["team"] == team and m["user"] == user for m in self.members.values())


def _cleared(tasks: Table, name: str, key: str) -> Table:
    return {k: {**row, name: None} if row[name] == key else row for k, row in tasks.items()}


def may_read(state: State, name: str, who: Who, row: Row) -> bool:
    """The rules of the resources."""
    if who.is_staff:
        return True
    if name == "teams":
        return bool(row["open"]) or state.is_member(who.name, row["id"])
    if name == "notices":
        return row["until"] is not None and row["until"] > state.now
    if name == "members":
        return row["user"] == who.name or state.is_member(who.name, row["team"])
    parent = state.tasks.get(row["parent"])
    is_part = parent is not None and parent["owner"] == who.name
    return row["owner"] == who.name or is_part or state.is_member(who.name, row["team"])


def may_read_note(who: Who, row: Row) -> bool:
    """The rule of the note."""
    return who.is_staff or row["owner"] == who.name


# Filters

Holds: TypeAlias = Callable[[State, Who, Row], bool | None]
"""Whether a condition holds for a record in a state, asked by somebody: None where it depends on what he may
not read, so that neither it nor its negation holds."""
Condition: TypeAlias = tuple[Any, Holds]
"""A filter in JSON, and when it holds."""


def condition(spec: Any) -> Condition:
    """The filter that a specification stands for: `("status", "todo")`, `("and", one, other)`, …"""
    match spec:
        case ("and", *parts):
            made = [condition(part) for part in parts]
            return {"and": [json for json, _ in made]}, lambda s, w, r: _all(holds(s, w, r) for _, holds in made)
        case ("or", *parts):
            made = [condition(part) for part in parts]
            return {"or": [json for json, _ in made]}, lambda s, w, r: _any(holds(s, w, r) for _, holds in made)
        case ("not", part):
            json, holds = condition(part)
            return {"not": json}, lambda s, w, r: _not(holds(s, w, r))
        case ("overdue",):
            return {}, lambda s, w, r: r["due"] is not None and r["due"] < s.now
        case ("points>", value):
            return {"points": {"gt": value}}, lambda s, w, r: r["points"] is not None and r["points"] > value
        case ("points<=", value):
            return {"points": {"lte": value}}, lambda s, w, r: r["points"] is not None and r["points"] <= value
        case ("title has", text):
            return {"title": {"contains": text}}, lambda s, w, r: text in r["title"]
        case ("note", text):
            return {"note": text}, lambda s, w, r: r["note"] == text if may_read_note(w, r) else None
        case ("team is open", wanted):
            return {"team.open": wanted}, lambda s, w, r: _team_is(s, w, r, wanted)
        case ("parent's", (name, value)):
            return {f"parent.{name}": value}, lambda s, w, r: _parent_is(s, w, r, name, value)
        case ("team has", user):
            return {"team.members.user": user}, lambda s, w, r: _team_has(s, w, r, user)
        case (name, value):
            return {name: value}, lambda s, w, r: r[name] == value
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


def _nowhere(who: Who) -> bool | None:
    """A path that leads nowhere: for whom a rule restricts, that is not told from one that he may not follow."""
    return False if who.is_staff else None


def _team_is(state: State, who: Who, row: Row, is_open: bool) -> bool | None:
    team = state.teams.get(row["team"])
    if team is None:
        return _nowhere(who)
    return team["open"] == is_open if may_read(state, "teams", who, team) else None


def _parent_is(state: State, who: Who, row: Row, name: str, value: Any) -> bool | None:
    parent = state.tasks.get(row["parent"])
    if parent is None:
        return _nowhere(who)
    return parent[name] == value if may_read(state, "tasks", who, parent) else None


def _team_has(state: State, who: Who, row: Row, user: str) -> bool | None:
    team = state.teams.get(row["team"])
    if team is None:
        return _nowhere(who)
    if not may_read(state, "teams", who, team):
        return None
    return any(
        m["team"] == team["id"] and m["user"] == user and may_read(state, "members", who, m)
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
    include: tuple[str, ...] = ()
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
        if self.include:
            query["include"] = list(self.include)
        return {"resource": self.resource, "query": query}

    @property
    def meaning(self) -> "Asked":
        """The query that a handler returns; any other itself."""
        if self.read == "todo-count":
            return replace(self, where=("status", "todo"))
        if self.read == "overdue":
            return replace(self, where=("overdue",))
        if self.read == "top":
            return replace(self, where=("status", "todo"), sort=("-points",), limit=2)
        return self

    @property
    def is_value(self) -> bool:
        """Whether it is a live number."""
        return self.read == "todo-count"

    def is_refused(self, who: Who) -> bool:
        """Whether somebody may not even ask: nobody in particular, where no rule lets him see anything."""
        return who.name is None and self.resource not in ("teams", "notices")

    def answer(self, state: State, who: Who) -> Any:
        """What it is in a state: the number, or the records shown, in order."""
        asked = self.meaning
        holds = condition(asked.where)[1] if asked.where is not None else lambda s, w, r: True
        found = [
            row for row in state.table(asked.resource).values()
            if may_read(state, asked.resource, who, row) and holds(state, who, row) is True
        ]  # fmt: skip
        if asked.is_value:
            return len(found)
        found = _sorted(state, found, asked.sort)
        return [_shown(state, asked, who, row) for row in found[: asked.limit]]


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


def _shown(state: State, asked: Asked, who: Who, row: Row) -> Row:
    shown = {n: v for n, v in row.items() if asked.fields is None or n in asked.fields or n == "id"}
    if "note" in shown and not may_read_note(who, row):
        del shown["note"]
    return shown | _included(state, asked.resource, who, row, asked.include)


def _included(state: State, name: str, who: Who, row: Row, paths: Iterable[str]) -> Row:
    """The member that shows other records: a team, or nothing, or the list of a team's members by their keys."""
    further: dict[str, list[str]] = {}
    for path in paths:
        head, _, rest = path.partition(".")
        further.setdefault(head, []).extend([rest] if rest else [])
    included: Row = {}
    if "team" in further:
        team = state.teams.get(row["team"])
        is_shown = team is not None and may_read(state, "teams", who, team)
        included["team"] = team | _included(state, "teams", who, team, further["team"]) if team and is_shown else None
    if "members" in further:
        members = sorted(state.members.values(), key=lambda member: member["id"])
        mine = [member for member in members if member["team"] == row["id"]]
        included["members"] = [member for member in mine if may_read(state, "members", who, member)]
    return {"_included": included} if included else {}
