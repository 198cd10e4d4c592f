"""`crudite openapi`: the description of an application's REST interface, as a file."""

import json
from pathlib import Path

import typer

from crudite.app import App
from crudite.cli.failures import Failure
from crudite.interfaces.openapi import OpenApi


def write_openapi(app: App, out: Path | None) -> None:
    """Writes the OpenAPI document of an application to a file, or to standard output."""
    described = next((one for one in app.interfaces if isinstance(one, OpenApi)), None) or OpenApi()
    text = json.dumps(described.document(app), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        raise Failure(f"{out} cannot be written: {error.strerror}.") from error
    typer.echo(f"Wrote {out}.")
