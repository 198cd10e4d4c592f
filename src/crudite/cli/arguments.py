"""The arguments and options that several commands have in common."""

from typing import Annotated, TypeAlias

import typer

AppArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE[:APP]]", show_default=False,
        help="A file, or a module such as shop.main, with the name of the App in it where there are several. "
        "Without it: $CRUDITE_APP, app.py, or the only file here that makes an App.",
    ),
]  # fmt: skip
StoreOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL", show_default=False,
        help="The database: a URL, such as postgresql://me@host/name, or the path of a SQLite file. Without it what "
        "App(store=…) says, $CRUDITE_STORE, or the file's name with .db.",
    ),
]  # fmt: skip
VerboseOption: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Show the SQL of every step.")]
