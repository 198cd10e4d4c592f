"""`crudite user add`: an account for a person, made by whoever runs the application, such as the first one of all."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from crudite.app import App
from crudite.auth import Sessions
from crudite.cli.failures import Failure
from crudite.cli.target import find, load
from crudite.errors import Conflict, Forbidden, Invalid, Malformed


def add(name: str, roles: Sequence[str], further: Sequence[str], named: str | None, store: str | None) -> None:
    """Makes an account and says its key. The password is asked for, or is the first line of standard input; nobody sees
    it among the processes, or in a shell's history. Raises Failure when there can be no such account."""
    app = load(find(named), store=store)
    sessions = _sessions_of(app)
    values = dict(_pair(one) for one in further)
    password = _password()
    key = asyncio.run(_add(app, sessions, name, password, roles, values))
    as_what = f" as {', '.join(roles)}" if roles else ""
    typer.echo(key)
    typer.echo(f"{name} can sign in now{as_what}.", err=True)


def _sessions_of(app: App) -> Sessions:
    for definition in app.definitions:
        if Sessions in definition.memo:
            sessions: Sessions = definition.memo[Sessions]
            return sessions
    raise Failure("the application has no accounts to sign in with.", "Say App(…, auth=Sessions(Account)).")


def _pair(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise Failure(f"--set takes a field and its value, such as name=Ann, and not {text!r}.")
    return field, value


def _password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\r\n")


async def _add(
    app: App, sessions: Sessions, name: str, password: str, roles: Sequence[str], values: Mapping[str, Any]
) -> str:
    async with app:
        try:
            return str(await sessions.add(name, password, roles=roles, values=values))
        except (Invalid, Malformed, Conflict, Forbidden) as problem:
            faults = [f"{(fault.pointer or '').lstrip('/')}: {fault.detail}" for fault in problem.faults]
            raise Failure(" ".join(faults) or problem.detail) from problem
