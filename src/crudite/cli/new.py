"""`crudite new`: a small project to start from, copied from the files in `project/`."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import typer

from crudite.cli.failures import Failure

_SUFFIX = ".template"


def make_project(folder: Path) -> None:
    """Makes the project in a folder that is not there yet, or is empty. Raises Failure, having made
    nothing."""
    name = folder.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise Failure(f"{name} is no name for a project.", "Letters, digits, - and _ will do, such as my-board.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Failure(f"{folder} is there already, and not empty.", "Nothing was changed. Take another name.")
    try:
        made = list(_copy(files(__package__) / "project", folder, name))
    except OSError as error:
        raise Failure(f"{folder} cannot be made: {error.strerror}.") from error
    typer.secho(f"Made {folder}", bold=True)
    for path in sorted(made):
        typer.echo(f"  {path.relative_to(folder)}")
    typer.echo(f"\nNext:\n  cd {folder}\n  crudite dev")


def _copy(source: Traversable, target: Path, name: str) -> "list[Path]":
    target.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for entry in source.iterdir():
        if entry.is_dir():
            made += _copy(entry, target / entry.name, name)
        elif entry.name.endswith(_SUFFIX):
            path = target / entry.name.removesuffix(_SUFFIX)
            path.write_text(entry.read_text("utf-8").replace("{{name}}", name), "utf-8")
            made.append(path)
    return made
