"""The tasks of a project, each with the person who does it: every peer under the same load, in interleaved rounds."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import load, tasks
from benchmarks.http_cases import Sample, sample
from benchmarks.load import Case
from benchmarks.peers import CRUDITE_TASKS, FEATHERS_TASKS, SQLMODEL_TASKS, Peer
from benchmarks.servers import PART, BenchmarkError, Server, Unavailable, serving

NAME = "nested list of 100"
PEERS = (CRUDITE_TASKS, SQLMODEL_TASKS, FEATHERS_TASKS)


def measure(directory: Path, core: int | None, seconds: float, rounds: int) -> Iterator[Sample]:
    """Samples as they are taken, after a second of warming each; a peer that cannot run here is left out."""
    with ExitStack() as running:
        servers = []
        for peer in PEERS:
            try:
                servers.append(running.enter_context(serving(peer, directory / "nested", core, filled=False)))
            except Unavailable as missing:
                print(f"  {missing}", file=sys.stderr)
        for server in servers:
            if server.peer is CRUDITE_TASKS:
                fill(server)
            check(server)
            load.put(server, case(server.peer), min(seconds, 1), directory)
        for number in range(rounds):
            for server in servers:
                yield sample(server, case(server.peer), number, seconds, directory)


def path(peer: Peer, project: int) -> str:
    """Where a peer answers with the tasks of a project and their people."""
    if peer is FEATHERS_TASKS:
        return f"/tasks?project={project}&$limit={tasks.EACH}&$sort[id]=1"
    included = "&include=assignee" if peer is CRUDITE_TASKS else ""
    return f"/projects/{project}/tasks?limit={tasks.EACH}{included}"


def case(peer: Peer) -> Case:
    """Its requests: all projects in turn."""
    return Case(NAME, "GET", [path(peer, key) for key in range(1, tasks.PROJECTS + 1)])


def fill(server: Server) -> None:
    """Give Crudite its records, over HTTP."""
    count = tasks.PROJECTS * tasks.EACH
    for name, make, most in (("people", tasks.person, tasks.PEOPLE), ("projects", tasks.project, tasks.PROJECTS)):
        create(server, name, [dict(make(key)) for key in range(1, most + 1)])
    create(server, "tasks", [dict(tasks.task(key)) for key in range(1, count + 1)])


def create(server: Server, name: str, records: list[dict[str, Any]]) -> None:
    for start in range(0, len(records), PART):
        status, made = server.call("POST", f"/{name}", records[start : start + PART])
        if status != 201:
            raise BenchmarkError(f"{server.peer.name} answers a create with {status}: {made}")


def check(server: Server) -> None:
    """Refuse to measure a server whose answer differs from the others' in what it says."""
    status, page = server.call("GET", path(server.peer, 3))
    rows = page.get("data") if isinstance(page, dict) else page
    if status != 200 or not isinstance(rows, list) or len(rows) != tasks.EACH:
        raise BenchmarkError(f"{server.peer.name}: no list of {tasks.EACH}, but {status} with {page}.")
    first = 2 * tasks.EACH + 1
    for key, row in enumerate(rows, first):
        given = tasks.task(key)
        someone = row["_included"]["assignee"] if "_included" in row else row["assignee"]
        shapes = (
            {name: type(value) for name, value in row.items() if name not in ("assignee", "_included")},
            {name: type(value) for name, value in someone.items()},
        )
        told = (row["id"], row["title"], row["done"], row["project"], someone["id"], someone["name"])
        meant = (key, given["title"], given["done"], 3, given["assignee"], tasks.person(given["assignee"])["name"])
        if shapes != (tasks.TASK, tasks.PERSON) or told != meant:
            raise BenchmarkError(f"{server.peer.name}: not the task that all have: {row}.")
