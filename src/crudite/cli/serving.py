"""`crudite run` and `crudite dev`: load the application, listen, say so, serve."""

import asyncio
import faulthandler
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import typer

from crudite.app import App
from crudite.cli import logs
from crudite.cli.accepting import Shares
from crudite.cli.banner import dev_banner, run_banner
from crudite.cli.failures import Failure
from crudite.cli.server import Ending, Place, address, listen, serve
from crudite.cli.stalls import StallWatch
from crudite.cli.supervisor import supervise
from crudite.cli.target import Target, find, load
from crudite.cli.tether import Tether
from crudite.cli.workers import Upkeep, keep_workers
from crudite.interfaces.base import Worker
from crudite.stores.base import Step

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_DEV_PATIENCE = 2.0
"""Seconds that requests have to finish when the server ends."""

_log = logging.getLogger("crudite.dev")


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms an application is served in production: its store, if not the one that it says itself; the names
    that it answers to beside its own; whether every request is logged; how many seconds it has to end; by how many
    workers."""

    store: str | None
    host_names: Sequence[str]
    access_log: bool
    grace: float
    workers: int


def run(named: str | None, host: str, port: int, terms: Terms, hung_after: float) -> int:
    """Serves an application in production until SIGTERM or SIGINT, which is followed within the grace: in this
    process, or in several workers, which are replaced after so many seconds without a sign of life (0 is never).
    Returns the exit code. Raises Failure."""
    target = find(named)
    if terms.workers == 1:
        app = _loaded(target, terms)
        with listen(host, port) as listening:
            _serve(app, target, listening, terms)
        return 0
    logs.configure()
    with listen(host, port) as listening:
        command = _worker_command(target, listening, terms)
        return keep_workers(command, listening, Upkeep(terms.workers, terms.grace, hung_after))


def run_worker(
    named: str | None, listening: socket.socket, tether: int, shares: Path, terms: Terms, is_restart: bool
) -> None:
    """Serves as one of several workers, on a socket that listens already, tied to the parent by a descriptor and to the
    others by a file. Raises Failure."""
    faulthandler.enable()  # a worker that hangs is ended by SIGABRT, and then says where it stood
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent's affair
    listening.set_inheritable(False)
    place = Place(int(os.environ["CRUDITE_WORKER"]), Tether(tether, terms.grace), Shares(shares))
    target = find(named)
    app = _loaded(target, terms)
    app.worker = Worker(place.number, shares.parent)
    if not app.store.is_shared:
        raise Failure(
            "a database in memory lives in one process.",
            "Give a file by --store (or to Mirrored: mirror=), or run one worker.",
        )
    _serve(app, target, listening, terms, place, says_so=not is_restart)


def _loaded(target: Target, terms: Terms) -> App:
    app = load(target, mode="run", store=terms.store)
    logs.configure()
    if terms.host_names:
        app.hosts = (*(app.hosts or _LOCAL_NAMES), *terms.host_names)
    return app


def _serve(
    app: App, target: Target, listening: socket.socket, terms: Terms, place: Place | None = None, *,
    says_so: bool = True,
) -> None:  # fmt: skip
    def announce() -> None:
        if says_so:
            run_banner(app, target.shown, address(listening), version("crudite"), terms.workers)

    ending = Ending.within(terms.grace)
    serve(app, listening, announce, access_log=terms.access_log, ending=ending, place=place)


def _worker_command(target: Target, listening: socket.socket, terms: Terms) -> list[str]:
    """What starts a worker; it is told of its tether in addition."""
    return [
        sys.executable, "-m", "crudite.cli", "run", target.name, "--listening", str(listening.fileno()),
        "--workers", str(terms.workers), "--grace", str(terms.grace),
        *(["--store", terms.store] if terms.store is not None else []),
        *(part for name in terms.host_names for part in ("--host-name", name)),
        *(["--access-log"] if terms.access_log else []),
    ]  # fmt: skip


def develop(named: str | None, host: str, port: int, store: str | None, reload: bool) -> int:
    """Serves an application for development; with `reload`, from a process of its own that is started again
    when a file changes. Returns the exit code. Raises Failure."""
    target = find(named)
    with listen(host, port) as listening:
        if reload:
            return supervise(target, listening, store)
        serve_development(target, listening, store)
    return 0


def serve_development(target: Target, listening: socket.socket, store: str | None, *, is_restart: bool = False) -> None:
    """Serves an application for development on a socket that listens already."""
    began = time.monotonic()
    app = load(target, mode="dev", store=store)
    logs.configure(debug=True)
    _tell_migration(app)
    watch = StallWatch(_log.warning, target.folder)

    def announce() -> None:
        watch.start()
        if is_restart:
            typer.echo(f"Restarted in {time.monotonic() - began:.1f} s.")
        else:
            dev_banner(app, target.shown, address(listening), version("crudite"))

    try:
        serve(app, listening, announce, access_log=True, ending=Ending.at_once(_DEV_PATIENCE))
    finally:
        watch.stop()


def _tell_migration(app: App) -> None:
    """Says which steps will be taken on a database that is there; those that lose something will be
    refused."""
    steps = asyncio.run(_steps(app))
    if not any(step.loses or step.is_blocked for step in steps):
        for step in steps:
            typer.echo(f"Schema: {step.description}")


async def _steps(app: App) -> Sequence[Step]:
    steps = await app.store.plan(app.definitions.catalog) if await app.store.exists() else ()
    return [step for step in steps if not step.may_stay]
