"""The measuring side's handle on a server process: start it, fill it, look at it, end it."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import Peer
from benchmarks.rows import MEMBERS, ROWS, body, key

REPOSITORY = Path(__file__).resolve().parent.parent
STARTING_SECONDS = 60
PART = 100  # records in one create of several


class BenchmarkError(Exception):
    """A measurement that would mean nothing: no answer, an error under load, a wrong body."""


@dataclass
class Server:
    """A running peer: its process id, its port, and the keys of the records in it."""

    peer: Peer
    pid: int
    port: int
    keys: list[str]

    def call(self, method: str, path: str, data: object = None) -> tuple[int, Any]:
        """One request on a connection of its own: status and decoded body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            payload = None if data is None else json.dumps(data)
            connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None
        finally:
            connection.close()


@contextmanager
def serving(peer: Peer, directory: Path, core: int | None, samples: Path | None = None) -> Iterator[Server]:
    """Run a peer on a fresh database in `directory` with its rows in it; the process ends with the block."""
    database = directory / f"{peer.name.replace(' ', '-')}.db"
    command = [sys.executable, "-m", "benchmarks.serve", peer.module, str(database)]
    command += ["--core", str(core)] if core is not None else []
    command += ["--samples", str(samples)] if samples else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline()
            if not port:
                raise BenchmarkError(f"{peer.name} did not start; its own message is above.")
            server = Server(peer, process.pid, int(port), [str(key(index)) for index in range(ROWS)])
            await_answer(server)
            if not peer.fills_itself:
                server.keys = fill(server)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def await_answer(server: Server) -> None:
    """Return when the server answers a list; BenchmarkError after a minute."""
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline:
        try:
            status, _ = server.call("GET", "/items?limit=1")
        except OSError:
            time.sleep(0.05)
            continue
        if status == 200:
            return
        raise BenchmarkError(f"{server.peer.name} answers a list with {status}.")
    raise BenchmarkError(f"{server.peer.name} did not answer within {STARTING_SECONDS} s.")


def fill(server: Server) -> list[str]:
    """Create the rows over HTTP, many in one request; the keys that the server gave them."""
    keys = []
    for first in range(0, ROWS, PART):
        status, made = server.call("POST", "/items", [body(index) for index in range(first, first + PART)])
        if status != 201:
            raise BenchmarkError(f"{server.peer.name} answers a create with {status}: {made}")
        keys += [record["id"] for record in made]
    return keys


def check_bodies(server: Server) -> None:
    """Refuse to measure a server whose answers differ from the others' in members, types or number."""
    answers = [
        ("read", server.call("GET", f"/items/{server.keys[7]}"), 200),
        ("create", server.call("POST", "/items", body(1)), 201),
    ]
    status, page = server.call("GET", "/items?limit=100")
    if not isinstance(page, list) or len(page) != 100:
        raise BenchmarkError(f"{server.peer.name}: a list of 100 is not an array of 100.")
    answers += [("list", (status, record), 200) for record in page]
    for case, (got, record), expected in answers:
        shape = {name: type(value) for name, value in record.items()}
        if got != expected or shape != MEMBERS:
            raise BenchmarkError(f"{server.peer.name}: {case} answers {got} with {record}.")
    read = answers[0][1][1]
    if read != {**read, **body(7), "id": server.keys[7]}:
        raise BenchmarkError(f"{server.peer.name}: the record read is not the one written: {read}")
