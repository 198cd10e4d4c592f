"""`crudite run` and `crudite dev`: load the application, listen, say so, serve."""

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import typer

from crudite.app import App
from crudite.cli import logs
from crudite.cli.banner import dev_banner, run_banner
from crudite.cli.server import Farewell, address, listen, serve
from crudite.cli.stalls import StallWatch
from crudite.cli.supervisor import supervise
from crudite.cli.target import Target, find, load

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_DEV_PATIENCE = 2.0
"""Seconds that requests have to finish when the server ends."""

_log = logging.getLogger("crudite.dev")


def run(
    named: str | None, host: str, port: int, store: str | None, host_names: Sequence[str], access_log: bool,
    grace: float,
) -> None:  # fmt: skip
    """Serves an application in production: one process, until SIGTERM or SIGINT, which it follows within `grace`
    seconds. Raises Failure."""
    target = find(named)
    app = load(target, mode="run", store=store)
    logs.configure()
    if host_names:
        app.hosts = (*(app.hosts or _LOCAL_NAMES), *host_names)
    with listen(host, port) as listening:
        url = address(listening)
        serve(
            app, listening, lambda: run_banner(app, target.shown, url, version("crudite")),
            access_log=access_log, farewell=Farewell.within(grace),
        )  # fmt: skip


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
        serve(app, listening, announce, access_log=True, farewell=Farewell.at_once(_DEV_PATIENCE))
    finally:
        watch.stop()


def _tell_migration(app: App) -> None:
    """Says which steps will be taken on a database that is there; those that lose something will be
    refused."""
    path = getattr(app.store, "path", None)
    if path is None or not Path(path).exists():
        return
    steps = asyncio.run(app.store.plan(app.definitions.catalog))
    if not any(step.loses or step.is_blocked for step in steps):
        for step in steps:
            typer.echo(f"Schema: {step.description}")
