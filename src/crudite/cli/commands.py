"""Every command with its options and its help. What a command does is imported when it is called, so that
help and completion come at once. Help keeps its line breaks, so it is wrapped for terminals of 80 columns."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from crudite.cli.arguments import AppArgument, StoreOption
from crudite.cli.commands_of_data import api_key, db, user
from crudite.cli.failures import Failure, told

cli = typer.Typer(
    name="crudite", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
cli.add_typer(db, name="db", rich_help_panel="Data")
cli.add_typer(api_key, name="api-key", rich_help_panel="Data")
cli.add_typer(user, name="user", rich_help_panel="Data")

_SERVE, _LOOK, _DATA = "Serve", "Look", "Data"

HostOption: TypeAlias = Annotated[
    str, typer.Option(envvar="CRUDITE_HOST", help="The address to listen on; 0.0.0.0 is every one.")
]
PortOption: TypeAlias = Annotated[
    int, typer.Option(envvar="CRUDITE_PORT", min=0, max=65535, help="The port; 0 takes a free one.")
]


def main() -> None:
    """The entry point of `crudite`."""
    cli()


def _say_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"crudite {version('crudite')}")
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is."),
    ] = False,
) -> None:
    """Declare a resource once; every client gets it live.

    \b
    [dim]$[/] crudite new board        make a small project
    [dim]$[/] crudite dev todo.py      serve an application while you write it
    [dim]$[/] crudite run todo.py      serve it for real
    """


@cli.command(rich_help_panel=_SERVE)
def new(
    name: Annotated[str, typer.Argument(help="The folder to make; its last part is the project's name.")],
) -> None:
    """Make a small project: an application, a page that shows it live, a test.

    \b
    [dim]$[/] crudite new board
    [dim]$[/] cd board && crudite dev
    """
    with told():
        from crudite.cli.new import make_project

        make_project(Path(name))


@cli.command(rich_help_panel=_SERVE)
def dev(
    app: AppArgument = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    store: StoreOption = None,
    reload: Annotated[bool, typer.Option(help="Restart when a Python file changes.")] = True,
    listening: Annotated[int | None, typer.Option(hidden=True)] = None,
    restarted: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve an application while you write it.

    It restarts when a Python file changes, lets everyone use resources that have
    no rules, brings the database's schema forward where nothing is lost, and
    tells when something holds the event loop for 50 ms or more.

    \b
    [dim]$[/] crudite dev todo.py
    [dim]$[/] crudite dev shop.main:app --port 9000
    """
    with told():
        from crudite.cli import serving

        if listening is not None:
            _serve_child(app, listening, store, restarted)
        else:
            raise typer.Exit(serving.develop(app, host, port, store, reload))


def _serve_child(app: str | None, listening: int, store: str | None, restarted: bool) -> None:
    """Serves for the process that watches the files (see `supervisor`)."""
    import socket

    from crudite.cli import serving
    from crudite.cli.target import find

    try:
        with told(), socket.socket(fileno=listening) as inherited:
            serving.serve_development(find(app), inherited, store, is_restart=restarted)
    except BaseException as error:
        if not isinstance(error, typer.Exit) or error.exit_code:
            typer.secho("Waiting for a change.", dim=True, err=True)
        raise


@cli.command(rich_help_panel=_SERVE)
def run(
    app: AppArgument = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    store: StoreOption = None,
    host_name: Annotated[
        list[str] | None,
        typer.Option(help="A name that the server answers to, as in example.org or *.example.org; repeat it."),
    ] = None,
    access_log: Annotated[bool, typer.Option(help="Log every request.")] = False,
    grace: Annotated[
        float,
        typer.Option(
            envvar="CRUDITE_GRACE", min=0, metavar="SECONDS", help="How long it may take to end; 0 is at once."
        ),
    ] = 10.0,
    workers: Annotated[
        int, typer.Option(envvar="CRUDITE_WORKERS", min=1, max=512, metavar="N", help="How many processes serve.")
    ] = 1,
    hung_after: Annotated[
        float,
        typer.Option(
            envvar="CRUDITE_HUNG_AFTER",
            min=0,
            metavar="SECONDS",
            help="How long one of several workers may give no sign of life before it is replaced; 0 is for ever.",
        ),
    ] = 30.0,
    listening: Annotated[int | None, typer.Option(hidden=True)] = None,
    tether: Annotated[int | None, typer.Option(hidden=True)] = None,
    shares: Annotated[Path | None, typer.Option(hidden=True)] = None,
    restarted: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve an application for real, until SIGTERM or Ctrl-C.

    It then says that it is not ready, ends streams and sockets in steps, telling
    clients when to come back, and lets requests finish.

    With several workers, one that dies is replaced, and SIGHUP replaces each by a
    new one without a gap. Servers on several machines share a database on
    PostgreSQL, and wake each other over the bus that $CRUDITE_BUS names.

    \b
    [dim]$[/] crudite run todo.py
    [dim]$[/] crudite run shop.main:app --host 0.0.0.0 --host-name shop.example.org
    [dim]$[/] crudite run app.py --workers 4 --store postgresql://shop@localhost/shop
    """
    with told():
        import socket

        from crudite.cli import serving

        terms = serving.Terms(store, host_name or (), access_log, grace, workers)
        if listening is None or tether is None or shares is None:
            raise typer.Exit(serving.run(app, host, port, terms, hung_after))
        with socket.socket(fileno=listening) as inherited:
            serving.run_worker(app, inherited, tether, shares, terms, restarted)


@cli.command(rich_help_panel=_LOOK)
def routes(
    app: AppArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Show what answers which path, and who may use it.

    \b
    [dim]$[/] crudite routes todo.py
    """
    with told():
        from crudite.cli.routes import print_routes
        from crudite.cli.target import find, load

        print_routes(load(find(app)), as_json=as_json)


@cli.command(rich_help_panel=_LOOK)
def openapi(
    app: AppArgument = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there and not to the terminal.")] = None,
) -> None:
    """Print the OpenAPI document, for code generators and tests.

    \b
    [dim]$[/] crudite openapi todo.py --out openapi.json
    """
    with told():
        from crudite.cli.describe import write_openapi
        from crudite.cli.target import find, load

        write_openapi(load(find(app)), out)


@cli.command(rich_help_panel=_LOOK)
def check(
    app: AppArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as dangers.")] = False,
    store: StoreOption = None,
) -> None:
    """Look for what an application should not go live with, and say what to do.

    Run it in the environment that the application will have. The exit code is 1
    where there is a danger.

    \b
    [dim]$[/] crudite check shop.main:app
    [dim]$[/] crudite check todo.py --strict --json
    """
    with told():
        from crudite.cli import checking

        if not checking.check(app, store, as_json=as_json, strict=strict):
            raise typer.Exit(1)


@cli.command("import", rich_help_panel=_DATA)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv, .tsv, .json (an array) or .jsonl file.")],
    to: Annotated[str | None, typer.Option(metavar="RESOURCE", help="The resource that the rows go into.")] = None,
    app: Annotated[
        str | None, typer.Option(metavar="FILE[:APP]", help="The application; see crudite dev --help.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column that holds the key.")] = None,
    map: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=FIELD", help="The field of a column; repeat it.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="A column to leave out; repeat it.")
    ] = None,
    on_conflict: Annotated[
        Literal["fail", "skip", "replace"],
        typer.Option(help="What to do with a row whose key is there already."),
    ] = "fail",
    strict: Annotated[bool, typer.Option("--strict", help="All rows or none, in one transaction.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only read and validate.")] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Show every dirty row, not only the first 50.")] = False,
    new: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A new resource, made from the columns and what is in them."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --new: save the class there and import the rows."),
    ] = None,
    store: StoreOption = None,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="How many rows one transaction has.")] = 500,
    zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Where times without an offset belong, instead of UTC.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="How a CSV file is encoded.")] = "utf-8-sig",
) -> None:
    """Import rows from a file into a resource.

    Validation and hooks run, rules do not. A column goes into the field of its
    name (`Flight No` into flight_no). A row that does not fit is told with its
    line and all its faults; the others go in, and the exit code is 1.

    \b
    [dim]$[/] crudite import flights.csv --to Flight
    [dim]$[/] crudite import airlines.csv --to Airline --key code --on-conflict replace
    [dim]$[/] crudite import people.json --to Person --app crm.py --map mail=email
    [dim]$[/] crudite import flights.csv --new Flight --write flights.py
    """
    with told():
        from crudite.cli.data.command import Options, perform

        if write is not None and new is None:
            raise Failure("--write goes with --new.", "It is the file that the new class is saved in.")
        options = Options(
            file, to, app, key, tuple(map or ()), tuple(ignore or ()), on_conflict, batch, strict, dry_run,
            show_all, new, write, store, zone, encoding,
        )  # fmt: skip
        if not perform(options):
            raise typer.Exit(1)
