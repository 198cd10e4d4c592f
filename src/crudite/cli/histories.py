"""`crudite db history`: what is kept of audited records beyond the change log, and letting go of it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import typer

from crudite.app import App
from crudite.cli.failures import Failure
from crudite.cli.target import expect_database, find, load
from crudite.stores.base import SupportsHistory

T = TypeVar("T")

_SECONDS_OF_A_DAY = 86_400


def show_histories(named: str | None, store: str | None) -> None:
    """Prints what is kept, a line for each table."""
    found = _with_store(load(find(named), store=store), lambda histories: histories.kept())
    for table, changes, size, oldest in found:
        since = datetime.fromtimestamp(oldest / 1_000_000, UTC)
        typer.echo(f"{table}: {changes:,} changes, {size / 1_000_000:.1f} MB, since {since:%Y-%m-%d %H:%M} UTC")
    if not found:
        typer.echo("Nothing is kept beyond the change log.")


def prune_history(named: str | None, store: str | None, name: str, days: float, yes: bool) -> None:
    """Lets go of what is kept of a resource or a table, after a question. Raises Failure when nothing is."""
    app = load(find(named), store=store)
    definition = app.definitions.by_name.get(name)
    table = name if definition is None else definition.schema.table
    kept = {one.table: one for one in _with_store(app, lambda histories: histories.kept())}
    if table not in kept:
        others = f"there is something of {', '.join(kept)}" if kept else "nothing is kept at all"
        raise Failure(f"nothing is kept of {name}.", f"In {app.store.shown} {others}.")
    which = f"those of {table} that are older than {days:g} days" if days else f"all {kept[table].changes:,} of {table}"
    if not yes:
        typer.confirm(f"Let go of {which}, for ever?", abort=True)
    gone = _with_store(app, lambda histories: histories.prune(table, days * _SECONDS_OF_A_DAY))
    typer.secho(f"Done: {gone:,} change{'s' if gone != 1 else ''} went.", fg="green")


def _with_store(app: App, work: Callable[[SupportsHistory], Awaitable[T]]) -> T:
    expect_database(app.store)
    store = app.store
    if not isinstance(store, SupportsHistory):
        raise Failure(f"{store.shown} keeps no histories.")

    async def run() -> T:
        await app.store.open(app.definitions.catalog, migrate=False)
        try:
            return await work(store)
        finally:
            await app.store.close()

    return asyncio.run(run())
