"""`crudite api-key add`: a key for a program, made by whoever runs the application."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import typer

from crudite.app import App
from crudite.auth import ApiKeys, Issued
from crudite.cli.failures import Failure
from crudite.cli.target import expect_database, find, load
from crudite.errors import Conflict, Invalid, Malformed, NotFound


def add(owner: str, name: str, scopes: Sequence[str], days: int | None, named: str | None, store: str | None) -> None:
    """Makes a key and prints it, alone on standard output. Raises Failure when that cannot be."""
    app = load(find(named), store=store)
    keys = _keys_of(app)
    expect_database(app.store)
    issued = asyncio.run(_issue(app, keys, owner, name, scopes, days))
    typer.echo(issued.key)
    record = issued.record
    ends = "and does not expire" if record.expires_at is None else f"and expires on {record.expires_at:%Y-%m-%d}"
    typer.echo(f"The key {record.name!r} is shown only now {ends}.", err=True)


def _keys_of(app: App) -> ApiKeys:
    for definition in app.definitions:
        if ApiKeys in definition.memo:
            keys: ApiKeys = definition.memo[ApiKeys]
            return keys
    raise Failure("the application knows no API keys.", "Say App(…, auth=[…, ApiKeys(Account)]).")


async def _issue(app: App, keys: ApiKeys, owner: str, name: str, scopes: Sequence[str], days: int | None) -> Issued:
    async with app:
        try:
            whose = owner if keys.account is None else await _account(app, keys.account, owner)
            ends = None if days is None else app.clock() + timedelta(days=days)
            return await keys.issue(whose, name, scopes=scopes or None, expires_at=ends)
        except (Invalid, Conflict) as problem:
            details = [fault.detail for fault in problem.faults] or [problem.detail]
            raise Failure(" ".join(details)) from problem


async def _account(app: App, resource: type[Any], owner: str) -> Any:
    """The key of the account that is meant: by what it alone has of a unique field, or by its key."""
    schema = app.definitions[resource].schema
    for field in schema.fields.values():
        if field.unique and not field.secret and field.type.kind == "text":
            found = await app.records.list(resource.where(**{field.name: owner}))
            if found:
                return found[0].id
    try:
        return (await app.records.read(resource, owner)).id
    except (NotFound, Malformed) as problem:
        raise Failure(f"there is no {resource.__name__} {owner!r}.") from problem
