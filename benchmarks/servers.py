"""The measuring side's handle on a server process: start it, fill it, look at it, end it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from benchmarks import machine
from benchmarks.peers import Peer
from benchmarks.rows import MEMBERS, ROWS, body, key

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
NODE, PACKAGES = REPOSITORY / ".tools/bin/node", REPOSITORY / ".tools/bench/node_modules"
STARTING_SECONDS = 60
NEXT = re.compile(r'cursor=([^&>]*)[^>]*>; rel="next"')
PART = 100  # records in one create of several


class BenchmarkError(Exception):
    """A measurement that would mean nothing: no answer, an error under load, a wrong body."""


class Unavailable(BenchmarkError):
    """A peer that cannot run on this machine."""


@dataclass
class Server:
    """A running peer: its process, its port, its database, and the keys of the records in it."""

    peer: Peer
    process: subprocess.Popen[bytes]
    port: int
    database: Path
    keys: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    def call(self, method: str, path: str, data: object = None) -> tuple[int, Any]:
        """One request on a connection of its own: status and decoded body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            payload = None if data is None else json.dumps(data)
            connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content and "json" in answer.headers["Content-Type"] else None
        finally:
            connection.close()

    def page(self, path: str, question: object) -> tuple[int, Any, str]:
        """Ask for a page of records: status, decoded body, and the cursor of the page after it or nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, json.dumps(question), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            following = NEXT.search(answer.headers.get("Link", ""))
            return answer.status, json.loads(answer.read()), unquote(following[1]) if following else ""
        finally:
            connection.close()

    def text(self, path: str) -> str:
        """The body of a GET, or nothing where there is no such path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read().decode()
            return content if answer.status == 200 else ""
        finally:
            connection.close()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the process with a signal, and by force when it does not heed it for 20 seconds."""
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        """The end of what the process wrote."""
        return self.log()[-2000:]

    def log(self) -> str:
        """All that it wrote."""
        return self.database.with_suffix(".log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def serving(
    peer: Peer, directory: Path, core: int | None, samples: Path | None = None, *, filled: bool = True
) -> Iterator[Server]:
    """Run a peer on a fresh database in `directory`, with its rows in it; the process ends with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    database = directory / f"{peer.name.replace(' ', '-')}.db"
    server = start(peer, database, free_port(), core, samples)
    try:
        if filled and peer.has_rows:
            server.keys = fill(server) if peer.runner == "crudite" else [str(key(each)) for each in range(ROWS)]
        yield server
    finally:
        server.stop()


def start(
    peer: Peer, database: Path, port: int, core: int | None, samples: Path | None = None, options: Sequence[str] = ()
) -> Server:
    """A process that answers; its words go to a log beside the database. BenchmarkError when it does not start."""
    with database.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [*command(peer, database, port, samples), *options],
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            env={**os.environ, "NODE_PATH": str(PACKAGES), "NODE_ENV": "production"},
            preexec_fn=lambda: machine.pin(core),
        )
    server = Server(peer, process, port, database)
    try:
        await_answer(server)
    except BaseException:
        server.stop(signal.SIGKILL)
        raise
    return server


def command(peer: Peer, database: Path, port: int, samples: Path | None) -> list[str]:
    """How a peer is started. Unavailable when Node or a package of it is missing."""
    file = PEERS / peer.source
    match peer.runner:
        case "crudite" if not samples:
            crudite = str(Path(sys.executable).with_name("crudite"))
            return [crudite, "run", str(file), "--port", str(port), "--store", str(database), *peer.options]
        case "python":
            return [sys.executable, "-m", f"benchmarks.peers.{file.stem}", str(port)]
        case "node":
            missing = missing_on_node(peer)
            if missing:
                raise Unavailable(f"{peer.name} is left out: {missing}")
            return [str(NODE), str(file), str(port), str(database)]
        case runner:
            sampled = ["--samples", str(samples)] if samples else []
            given = [runner, peer.source, str(port), str(database), *sampled, *peer.options]
            return [sys.executable, "-m", "benchmarks.serve", *given]


def missing_on_node(peer: Peer) -> str:
    """What keeps a peer from running on Node, or nothing."""
    if not NODE.exists() or not PACKAGES.exists():
        return "there is no Node with its packages (make bench sets them up)."
    compiled = PACKAGES / "better-sqlite3/build/Release/better_sqlite3.node"
    if peer.has_rows and not compiled.exists():
        return "better-sqlite3 could not be compiled (it needs g++, make and Node's headers)."
    return ""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_answer(server: Server) -> None:
    """Return when the server answers; BenchmarkError after a minute, or when it has ended."""
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            status, _ = server.call("GET", "/")
        except OSError:
            time.sleep(0.02)
            continue
        if status == 404:  # nobody serves anything there
            return
        raise BenchmarkError(f"{server.peer.name} answers with {status}.")
    raise BenchmarkError(f"{server.peer.name} did not start. It said: {server.said()}")


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
    status, page = server.call("GET", server.peer.list_path)
    if isinstance(page, dict):
        page = page.get("data")
    if not isinstance(page, list) or len(page) != 100:
        raise BenchmarkError(f"{server.peer.name}: a list of 100 is not an array of 100.")
    answers += [("list", (status, record), 200) for record in page]
    for case, (got, record), expected in answers:
        check_record(record, f"{server.peer.name}: {case}")
        if got != expected:
            raise BenchmarkError(f"{server.peer.name}: {case} answers {got} with {record}.")
    read = answers[0][1][1]
    if read != {**read, **body(7), "id": server.keys[7]}:
        raise BenchmarkError(f"{server.peer.name}: the record read is not the one written: {read}")


def check_record(record: dict[str, Any], where: str) -> None:
    """BenchmarkError unless it has the ten members with their types."""
    shape = {name: type(value) for name, value in record.items()}
    if shape != MEMBERS:
        raise BenchmarkError(f"{where}: not the record that all have: {record}.")
