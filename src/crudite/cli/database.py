"""`crudite db`: the steps from the database's schema to the application's, taking them, and checking the
data."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import typer

from crudite.app import App
from crudite.cli.failures import Failure
from crudite.cli.target import expect_database, find, load
from crudite.stores.base import Step
from crudite.stores.mirrored import Mirrored


@runtime_checkable
class SupportsCheck(Protocol):
    """A store that can look for faults in its database."""

    async def damage(self) -> Sequence[str]:
        """What is wrong with the file."""
        ...

    async def dangling(self) -> Sequence[Any]:
        """References that point at nothing."""
        ...


def show_plan(named: str | None, store: str | None, verbose: bool) -> None:
    """Prints what a migration would do."""
    app = load(find(named), store=store)
    steps = _plan(app)
    _print(steps, app.store.shown, verbose)
    if any(step.is_blocked for step in steps):
        typer.echo("Mend what the steps say that cannot be done, then plan again.")
    elif any(step.loses for step in steps):
        typer.echo("`crudite db migrate --lose` takes steps that lose something.")
        if all(step.may_stay for step in steps if step.loses):
            typer.echo("What they take away is not declared, and may stay.")


def migrate(named: str | None, store: str | None, lose: bool, yes: bool, verbose: bool) -> None:
    """Takes the steps, after a question when something is lost. Raises Failure when they cannot be taken."""
    app = load(find(named), store=store)
    steps = _plan(app)
    _print(steps, app.store.shown, verbose)
    if any(step.is_blocked for step in steps):
        raise Failure("some steps cannot be done.", "Mend what they say, such as a missing default, then try again.")
    wanted = steps if lose else [step for step in steps if not step.may_stay]
    if any(step.loses for step in wanted):
        if not lose:
            raise Failure("this would lose data.", "With --lose it is done, after a question. Make a copy first.")
        if not yes:
            typer.confirm("Lose that, for ever?", abort=True)
    if len(wanted) < len(steps):
        typer.echo("What is not declared stays, in nobody's way; --lose takes it away.")
    if not wanted:
        return
    taken = asyncio.run(app.store.migrate(app.definitions.catalog, lose=lose))
    typer.secho(f"Done: {len(taken)} step{'s' if len(taken) != 1 else ''}.", fg="green")


def check(named: str | None, store: str | None) -> bool:
    """Says what is damaged and which references point at nothing; whether all is well."""
    app = load(find(named), store=store)
    checked = app.store
    if not isinstance(checked, SupportsCheck):
        why = (
            "the records are in a database of your own, into which its own tools look."
            if isinstance(checked, Mirrored)
            else "the server itself keeps its tables whole, and lets no reference point at nothing."
        )
        raise Failure(f"there is nothing to check in {app.store.shown}: {why}")
    if any(not step.may_stay for step in _plan(app)):
        raise Failure("the database's schema is not the application's.", "`crudite db plan` shows what differs.")
    damage, dangling = asyncio.run(_find_faults(checked, app))
    for text in damage:
        typer.echo(f"Damage: {text}")
    for one in dangling:
        target = f"{one.target} {one.target_key}"
        typer.echo(f"{one.resource} {one.key}: {one.field} points at {target}, which is not there.")
    if not damage and not dangling:
        typer.echo(f"{app.store.shown} is whole, and every reference points at a record.")
    return not damage and not dangling


async def _find_faults(store: "SupportsCheck", app: App) -> tuple[Sequence[str], Sequence[Any]]:
    damage = await store.damage()
    if damage:
        return damage, ()
    async with app:
        return (), await store.dangling()


def _plan(app: App) -> Sequence[Step]:
    expect_database(app.store)
    return asyncio.run(app.store.plan(app.definitions.catalog))


def _print(steps: Sequence[Step], name: str, verbose: bool) -> None:
    if not steps:
        typer.echo(f"{name} has the schema that the application declares.")
    for step in steps:
        typer.echo(f"- {step.description}")
        if step.is_blocked:
            typer.secho("  cannot be done as it is", fg="red")
        if step.loses:
            typer.secho(f"  loses {step.loses}", fg="yellow")
        for line in step.holds_up:
            typer.secho(f"  {line}", fg="yellow")
        if verbose:
            for text in step.sql:
                typer.secho("".join(f"    {line}\n" for line in text.strip().splitlines()).rstrip(), dim=True)
