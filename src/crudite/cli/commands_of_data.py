"""The commands about what is in the database: its schema, and who has accounts and keys."""

from typing import Annotated

import typer

from crudite.cli.arguments import AppArgument, StoreOption, VerboseOption
from crudite.cli.failures import Failure, told

db = typer.Typer(no_args_is_help=True, help="Bring the database's schema forward, and check the data.")
api_key = typer.Typer(no_args_is_help=True, help="Make keys with which programs act for accounts.")
user = typer.Typer(no_args_is_help=True, help="Make accounts that people sign in with.")


@db.command("plan")
def db_plan(app: AppArgument = None, store: StoreOption = None, verbose: VerboseOption = False) -> None:
    """Show the steps from the database's schema to the application's, and what each would lose.

    \b
    [dim]$[/] crudite db plan todo.py --verbose
    """
    with told():
        from crudite.cli.database import show_plan

        show_plan(app, store, verbose)


@db.command("migrate")
def db_migrate(
    app: AppArgument = None,
    store: StoreOption = None,
    lose: Annotated[bool, typer.Option("--lose", help="Also take steps that lose something.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    verbose: VerboseOption = False,
) -> None:
    """Take those steps, in one transaction.

    \b
    [dim]$[/] crudite db migrate todo.py
    [dim]$[/] crudite db migrate todo.py --lose
    """
    with told():
        from crudite.cli.database import migrate

        migrate(app, store, lose, yes, verbose)


@db.command("check")
def db_check(app: AppArgument = None, store: StoreOption = None) -> None:
    """Look for damage, and for references that point at nothing. The exit code is 1 when there is any.

    \b
    [dim]$[/] crudite db check todo.py
    """
    with told():
        from crudite.cli.database import check

        if not check(app, store):
            raise typer.Exit(1)


@db.command("history")
def db_history(
    app: AppArgument = None,
    store: StoreOption = None,
    prune: Annotated[
        str | None, typer.Option(metavar="NAME", help="Let go of what is kept of a resource, or of a table.")
    ] = None,
    older_than: Annotated[float, typer.Option(metavar="DAYS", min=0, help="Only of what is older.")] = 0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Show what is kept of audited records beyond the change log, or let go of it.

    \b
    [dim]$[/] crudite db history todo.py
    [dim]$[/] crudite db history todo.py --prune Todo --older-than 365
    """
    with told():
        from crudite.cli.histories import prune_history, show_histories

        if prune is None:
            show_histories(app, store)
        else:
            prune_history(app, store, prune, older_than, yes)


@db.command("copy")
def db_copy(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The store to read: a URL, or a SQLite file.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The store to fill: a URL, or a SQLite file.")],
    app: Annotated[
        str | None, typer.Option(metavar="FILE[:APP]", help="The application; see crudite dev --help.")
    ] = None,
    repeat: Annotated[
        bool, typer.Option("--repeat", help="Replace the records that the target holds already.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Copy nothing: compare the two, record by record.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="How many records are read at a time.")] = 1000,
) -> None:
    """Move an application: copy all its records, secret fields too, from one store to another one.

    All of it is there at the end, or nothing. With --check the exit code is 1
    when anything differs.

    \b
    [dim]$[/] crudite db copy app.db postgresql://localhost/app
    [dim]$[/] crudite db copy app.db postgresql://localhost/app --check
    """
    with told():
        from crudite.cli import moving

        if check and repeat:
            raise Failure("--check and --repeat do not go together.", "--check compares, and copies nothing.")
        if check:
            if not moving.compare(app, source, target, batch):
                raise typer.Exit(1)
        else:
            moving.copy(app, source, target, repeat, batch)


@api_key.command("add")
def api_key_add(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The account: its name, address or key.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    app: AppArgument = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="What it may do, such as tasks:read; repeat it. Without it: everything."),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="How long it lasts.")] = None,
    store: StoreOption = None,
) -> None:
    """Make an API key and print it, once.

    \b
    [dim]$[/] crudite api-key add ann@example.org "nightly report" --scope tasks:read
    """
    with told():
        from crudite.cli.api_keys import add

        add(owner, name, scope or (), days, app, store)


@user.command("add")
def user_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the person signs in with, such as an address.")],
    app: AppArgument = None,
    role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE", help="A role of the account, such as admin; repeat it.")
    ] = None,
    set: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="Another field of the account; repeat it.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Make an account and print its key. The password is asked for, or read
    from standard input.

    \b
    [dim]$[/] crudite user add ann@example.org --role admin --set name=Ann
    """
    with told():
        from crudite.cli.users import add

        add(name, role or (), set or (), app, store)
