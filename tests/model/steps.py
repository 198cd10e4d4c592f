"""Random stories: steps as plain data, each of which makes sense whatever came before, so that any can be left out."""

from random import Random
from typing import Any, TypeAlias

from tests.model.oracle import Asked, at
from tests.model.roles import FLEETING, REFUSED

Step: TypeAlias = tuple[Any, ...]
Op: TypeAlias = tuple[Any, ...]

TOKENS = ("ann", "bob", "staff", "ann" + FLEETING)
CLIENTS = 6
SOCKETS = tuple(number for number in range(CLIENTS) if number % 3 < 2)
"""Which of them speak over a WebSocket; the others read a stream."""
SLOTS = 2
"""How many transactions of other programs may be open at a time."""
_TEAMS = ("t1", "t2", "t3")
_TASKS = tuple(f"k{n:02}" for n in range(1, 31))  # more than a window keeps in mind
_PARENTS = _TASKS[:3]
_MEMBERS = tuple(f"m{n}" for n in range(1, 7))
_NOTICES = tuple(f"n{n}" for n in range(1, 5))
_FIELDS = ("team", "parent", "owner", "status", "points", "title", "note", "due")
_USERS = ("ann", "bob", "cid")
_NEVER = 1 << 30  # seconds, or bytes


def story(random: Random, length: int, processes: int = 1, scenes: float = 0.04) -> list[Step]:
    """Clients that open connections, and then so many random steps; how likely each begins a scene."""
    opening: list[Step] = [("write", "batch", [_op(random) for _ in range(10)], 0) for _ in range(8)]
    opening += [("open", client, random.randrange(processes), *_connection(random)) for client in range(CLIENTS)]
    steps: list[Step] = []
    while len(steps) < length:
        steps += _scene(random, processes) if random.random() < scenes else [_step(random, processes)]
    return [*opening, *steps, ("settle",)]


def _scene(random: Random, processes: int) -> list[Step]:
    """What chance alone would seldom bring together."""
    client, slot = random.randrange(CLIENTS), random.randrange(SLOTS)
    socket, before = random.choice(SOCKETS), random.choice(TOKENS)
    where, other = random.randrange(processes), random.randrange(processes)
    token = random.choice(("ann", "bob", "ann" + FLEETING))
    right = random.choice((("account", token.removesuffix(FLEETING)), ("session", token)))
    user, counted = random.choice(_USERS), Asked("tasks", read="todo-count")
    pause: Step = "turns", random.randrange(1, 40)
    replaced: list[Step] = [("restart", other)] if random.random() < 0.3 else []
    scenes: tuple[list[Step], ...] = (
        # somebody is away while what was running is committed
        [_begin(random, slot), (*_write(random), where), ("rest",), ("cut", client, "now", 1), ("end", slot, True),
         *replaced, ("resume", client, other)],
        # and then the log is cut
        [_begin(random, slot), ("trim", 0, _NEVER, where), (*_write(random), where), ("rest",),
         ("cut", client, "now", 1), ("end", slot, True), ("trim", 0.1, _NEVER, other), ("resume", client, other)],
        # rights change while somebody comes
        [("open", client, where, token, _queries(random)), pause, ("revoke", *right, other)],
        # or shows another token, of which somebody has said who that is, and is not heard yet
        [("open", socket, where, before, _queries(random)), ("rest",), ("dawdle", random.choice((100, 1000))),
         ("auth", socket, token), pause, random.choice((("revoke", *right, other), ("sign out", token, other))),
         ("settle",)],
        # rights change twice
        [("open", client, where, token, _queries(random)), ("rest",), ("revoke", *right, where), pause,
         ("revoke", *right, where)],
        # rights change while somebody takes nothing of all that there is for him
        [("open", client, where, token, _queries(random)), ("rest",), ("hold", client),
         *((*_many(random), other) for _ in range(8)), ("revoke", *right, where), ("revoked",)],
        # somebody asks a second time, and knows of what was written at another place just now
        [("open", socket, where, token, [counted]), ("rest",),
         *(("write", "rest", [_taken_up(random, key)], other) for key in random.sample(_TASKS, 3)),
         ("subscribe", socket, counted, True)],
        # others write, and nobody asks for anything
        [("open", client, where, "staff", [Asked("tasks")]),
         *(("show", [_taken_up(random, key)], other, True) for key in random.sample(_TASKS, 2))],
        # nothing is written, and it gets later
        [("open", client, where, token, [Asked("tasks", read="overdue"), Asked("notices")]), ("rest",),
         ("advance", random.choice((20, 60)))],
        # others write what decides on his records while that is read for the first time
        [("open", client, where, token, [Asked("tasks", ("team has", user)), *_queries(random)]),
         ("turns", random.randrange(12)), *(("write", "batch", [_joins(random, user)], other) for _ in range(4)),
         ("rest",), ("write", "batch", [("remove", "members", key) for key in _MEMBERS], other)],
        # or he is sent away
        [("open", socket, where, token, _queries(random)), ("rest",), ("hold", socket),
         *((*_many(random), other) for _ in range(3)), ("sign out", token, where), ("revoked",), ("release", socket)],
    )  # fmt: skip
    return random.choice(scenes)


def _many(random: Random) -> Step:
    return "write", "batch", [_op(random) for _ in range(8)]


def _begin(random: Random, slot: int) -> Step:
    return "begin", slot, [_op(random) for _ in range(random.choice((1, 2, 4)))], random.random() < 0.4


_KINDS = {
    "write": 44.0, "foreign": 16.0, "turns": 12.0, "settle": 3.0, "open": 3.0, "subscribe": 6.0, "unsubscribe": 3.0,
    "cut": 6.0, "resume": 8.0, "hold": 2.0, "release": 4.0, "restart": 0.5, "trim": 2.0, "fault": 0.3, "auth": 6.0,
    "roles": 1.0, "revoke": 2.0, "revoked": 1.0, "sign out": 0.5, "advance": 2.0, "begin": 4.0, "end": 4.0,
    "empty": 0.3, "show": 1.0, "nothing": 0.3,
}  # fmt: skip


def _step(random: Random, processes: int) -> Step:
    client, where = random.randrange(CLIENTS), random.randrange(processes)
    kind = random.choices(list(_KINDS), list(_KINDS.values()))[0]
    match kind:
        case "write":
            return *_write(random), where
        case "foreign":
            how = random.choice(("plain", "plain", "copy", "rollback"))
            return kind, how, [_op(random) for _ in range(random.choice((1, 2, 3, 8)))], random.random() < 0.3
        case "empty":
            return kind, random.choice(("members", "tasks", "tasks", "notices", "teams"))
        case "begin":
            return _begin(random, random.randrange(SLOTS))
        case "end":
            return kind, random.randrange(SLOTS), random.random() < 0.8
        case "turns":
            return kind, random.randrange(1, 30)
        case "open":
            return kind, client, where, *_connection(random)
        case "subscribe":
            return kind, client, _asked(random), random.random() < 0.5
        case "unsubscribe":
            return kind, client, random.randrange(4)
        case "cut":
            return kind, client, random.choice(("now", "messages", "events", "bytes")), random.randrange(1, 400)
        case "advance":
            return kind, random.choice((1, 5, 20, 60))
        case "auth":
            return kind, client, random.choice((*TOKENS, "staff", None, REFUSED))
        case "roles":
            return kind, *_right(random), *_write(random)[1:], where
        case "revoke":
            return kind, *_right(random), where
        case "sign out":
            return kind, random.choice(TOKENS), where
        case "show":
            return kind, [_op(random) for _ in range(3)], where, random.random() < 0.5
        case "fault":
            return kind, random.choice(("before read", "after batch", "before fetch")), where
        case "trim":
            bounds = ((0, _NEVER), (0.1, _NEVER), (0.5, _NEVER), (_NEVER, 0), (_NEVER, 40_000))
            return kind, *random.choice(bounds), where
        case "resume":
            return kind, client, where
        case "hold" | "release":
            return kind, client
        case "restart" | "nothing":
            return kind, where
    return (kind,)


def _right(random: Random) -> tuple[str, str]:
    """What may change: all sessions of an account, or one."""
    return random.choice((("account", "ann"), ("account", "bob"), ("session", "ann"), ("session", "ann" + FLEETING)))


def _write(random: Random) -> Step:
    if random.random() < 0.1:  # windows run out of what they keep in mind
        return "write", "batch", [("remove", "tasks", key) for key in random.sample(_TASKS, 12)]
    via = random.choices(("rest", "batch", "socket"), (4, 4, 2))[0]
    count = random.choice((1, 2, 3, 8)) if via == "batch" else 1
    return "write", via, [_op(random) for _ in range(count)]


def _op(random: Random) -> Op:
    resource = random.choices(("tasks", "teams", "members", "notices"), (12, 4, 4, 1))[0]
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
    if resource == "notices":
        key = random.choice(_NOTICES)
        if random.random() < 0.2:
            return "remove", resource, key
        names = random.sample(("until", "text"), random.choice((1, 2)))
        return "put", resource, key, {name: _value(random, name) for name in names}
    if random.random() < 0.4:
        return "remove", resource, random.choice(_MEMBERS)
    return _joins(random, random.choice(_USERS))


def _taken_up(random: Random, key: str) -> Op:
    """Somebody owns a task, and has done it or not."""
    return "put", "tasks", key, {name: _value(random, name) for name in ("owner", "status")}


def _joins(random: Random, user: str) -> Op:
    """Somebody becomes a member."""
    return "put", "members", random.choice(_MEMBERS), {"team": random.choice(_TEAMS), "user": user}


def _value(random: Random, name: str) -> Any:
    match name:
        case "team":
            return random.choice((*_TEAMS, None))
        case "due" | "until":
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
    return random.choice(TOKENS), _queries(random)


def _queries(random: Random) -> list[Asked]:
    return [_asked(random) for _ in range(random.choice((1, 2, 3)))]


def _asked(random: Random) -> Asked:
    kind = random.choices(("tasks", "window", "teams", "members", "notices", "handler"), (6, 6, 1, 1, 1, 2))[0]
    match kind:
        case "handler":
            return Asked("tasks", read=random.choice(("todo-count", "top", "overdue")))
        case "notices":
            return Asked("notices", limit=random.choice((None, None, 2)), sort=random.choice(((), ("text",))))
        case "teams":
            is_open = ("open", True) if random.random() < 0.3 else None
            return Asked("teams", is_open, include=_rarely(random, ("members",)))
        case "members":
            user = ("user", random.choice(_USERS)) if random.random() < 0.3 else None
            return Asked("members", user, include=_rarely(random, ("team",)))
    where = _condition(random, 2) if random.random() < (0.4 if kind == "window" else 0.8) else None
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
