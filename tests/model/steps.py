"""Random stories: steps as plain data, each of which makes sense whatever came before, so that any can be left out."""

from random import Random
from typing import Any, TypeAlias

from tests.model.clients import FLEETING, REFUSED
from tests.model.oracle import Asked, at

Step: TypeAlias = tuple[Any, ...]
Op: TypeAlias = tuple[Any, ...]

TOKENS = ("ann", "bob", "staff", "ann" + FLEETING)
CLIENTS = 6
_TEAMS = ("t1", "t2", "t3")
_TASKS = tuple(f"k{n:02}" for n in range(1, 31))  # more than a window keeps in mind
_PARENTS = _TASKS[:3]
_MEMBERS = tuple(f"m{n}" for n in range(1, 7))
_FIELDS = ("team", "parent", "owner", "status", "points", "title", "note", "due")
_USERS = ("ann", "bob", "cid")


def story(random: Random, length: int) -> list[Step]:
    """Clients that open connections, and then so many random steps."""
    opening: list[Step] = [("write", "batch", [_op(random) for _ in range(10)]) for _ in range(8)]
    opening += [("open", client, *_connection(random)) for client in range(CLIENTS)]
    return [*opening, *(_step(random) for _ in range(length)), ("settle",)]


def _step(random: Random) -> Step:
    client = random.randrange(CLIENTS)
    kind = random.choices(
        ("write", "turns", "settle", "open", "subscribe", "unsubscribe", "cut", "resume", "hold", "release", "restart",
         "trim", "fault", "auth", "roles", "advance"),
        (60, 12, 3, 3, 6, 3, 6, 8, 2, 4, 0.5, 0.7, 0.3, 6, 1, 2),
    )[0]  # fmt: skip
    match kind:
        case "write":
            return _write(random)
        case "turns":
            return "turns", random.randrange(1, 30)
        case "open":
            return "open", client, *_connection(random)
        case "subscribe":
            return "subscribe", client, _asked(random)
        case "unsubscribe":
            return "unsubscribe", client, random.randrange(4)
        case "cut":
            return "cut", client, random.choice(("now", "messages", "events", "bytes")), random.randrange(1, 400)
        case "advance":
            return "advance", random.choice((1, 5, 20, 60))
        case "auth":
            return "auth", client, random.choice((*TOKENS, "staff", None, REFUSED))
        case "roles":
            return "roles", random.choice(("ann", "bob")), *_write(random)[1:]
        case "fault":
            return "fault", random.choice(("before read", "after batch", "before fetch"))
        case "resume" | "hold" | "release":
            return kind, client
    return (kind,)


def _write(random: Random) -> Step:
    if random.random() < 0.1:  # windows run out of what they keep in mind
        return "write", "batch", [("remove", "tasks", key) for key in random.sample(_TASKS, 12)]
    via = random.choices(("rest", "batch", "socket", "foreign"), (4, 4, 2, 3))[0]
    count = 1 if via in ("rest", "socket") else random.choice((1, 2, 3, 8))
    return "write", via, [_op(random) for _ in range(count)]


def _op(random: Random) -> Op:
    resource = random.choices(("tasks", "teams", "members"), (6, 2, 2))[0]
    if resource == "tasks":
        key = random.choice(_PARENTS if random.random() < 0.3 else _TASKS)
        if random.random() < 0.1:
            return "remove", resource, key
        names = random.sample(_FIELDS, random.choice((1, 1, 2, len(_FIELDS))))
        return "put", resource, key, {name: _value(random, name) for name in names}
    if resource == "teams":
        key = random.choice(_TEAMS)
        if random.random() < 0.15:
            return "remove", resource, key
        names = random.sample(("open", "name"), random.choice((1, 2)))
        return "put", resource, key, {name: _value(random, name) for name in names}
    key = random.choice(_MEMBERS)
    if random.random() < 0.4:
        return "remove", resource, key
    return "put", resource, key, {"team": random.choice(_TEAMS), "user": random.choice(_USERS)}


def _value(random: Random, name: str) -> Any:
    match name:
        case "team":
            return random.choice((*_TEAMS, None))
        case "due":
            return random.choice((None, at(random.randrange(0, 300))))
        case "parent":
            return random.choice((*_PARENTS, None))
        case "owner":
            return random.choice(_USERS)
        case "status":
            return random.choice(("todo", "done"))
        case "points":
            return random.choice((None, 1, 2, 3, 4, 5))
        case "open":
            return random.random() < 0.5
    return random.choice(("", "a", "b", "ab"))


def _connection(random: Random) -> tuple[str, list[Asked]]:
    return random.choice(TOKENS), [_asked(random) for _ in range(random.choice((1, 2, 3)))]


def _asked(random: Random) -> Asked:
    kind = random.choices(("tasks", "window", "teams", "members", "handler"), (6, 4, 1, 1, 2))[0]
    match kind:
        case "handler":
            return Asked("tasks", read=random.choice(("todo-count", "top", "overdue")))
        case "teams":
            is_open = ("open", True) if random.random() < 0.3 else None
            return Asked("teams", is_open, include=_rarely(random, ("members",)))
        case "members":
            user = ("user", random.choice(_USERS)) if random.random() < 0.3 else None
            return Asked("members", user, include=_rarely(random, ("team",)))
    where = _condition(random, 2) if random.random() < 0.8 else None
    sort = tuple(random.sample(("points", "-points", "title", "-title", "status", "owner"), random.choice((0, 1, 2))))
    limit = random.choice((1, 2, 3)) if kind == "window" else None
    fields = None if random.random() < 0.6 else tuple(random.sample(("team", "status", "points", "title"), 2))
    include = _rarely(random, random.choice((("team",), ("team.members",))), 0.1)
    return Asked("tasks", where, _sorted_once(sort), limit, fields, include)


def _rarely(random: Random, include: tuple[str, ...], chance: float = 0.3) -> tuple[str, ...]:
    return include if random.random() < chance else ()


def _sorted_once(sort: tuple[str, ...]) -> tuple[str, ...]:
    kept = {name.removeprefix("-"): name for name in reversed(sort)}
    return tuple(reversed(kept.values()))


def _condition(random: Random, depth: int) -> Any:
    if depth and random.random() < 0.4:
        kind = random.choice(("and", "or", "not"))
        count = 1 if kind == "not" else 2
        return kind, *(_condition(random, depth - 1) for _ in range(count))
    kind = random.choice(
        ("status", "status", "owner", "team", "points>", "points<=", "points", "title has", "note", "team is open",
         "team has", "parent's")
    )  # fmt: skip
    match kind:
        case "points":
            return kind, None
        case "points>" | "points<=":
            return kind, random.randrange(1, 5)
        case "team is open":
            return kind, random.random() < 0.5
        case "team has":
            return kind, random.choice(_USERS)
        case "parent's":
            name = random.choice(("owner", "status"))
            return kind, (name, _value(random, name))
        case "title has" | "note":
            return kind, random.choice(("a", "b"))
        case "team":
            return kind, random.choice(_TEAMS)
    return kind, _value(random, kind)
