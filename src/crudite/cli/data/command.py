"""What `crudite import` does, and what it says of it."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from crudite.cli.data.columns import Columns
from crudite.cli.data.importing import Dirty, Import, OnConflict, Outcome, definition_of
from crudite.cli.data.inference import infer
from crudite.cli.data.source import Source
from crudite.cli.failures import Failure
from crudite.cli.target import Target, find, load
from crudite.errors import StoreError

_MOST_SHOWN = 50


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    file: Path
    to: str | None = None
    app: str | None = None
    key: str | None = None
    renamed: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    on_conflict: OnConflict = "fail"
    batch: int = 500
    is_strict: bool = False
    is_dry: bool = False
    shows_all: bool = False
    new: str | None = None
    written_to: Path | None = None
    store: str | None = None
    zone: str | None = None
    encoding: str = "utf-8-sig"


def perform(options: Options) -> bool:
    """Imports; whether every row went in. Raises Failure."""
    source = Source(options.file, encoding=options.encoding)
    renamed = dict(_pair(text) for text in options.renamed)
    if options.new is not None:
        return _import_new(options, source)
    if options.to is None:
        raise Failure("into which resource?", "Say --to Flight, or --new Flight for one that is made from the data.")
    return _import(options, source, find(options.app), options.to, renamed, options.key)


def _import_new(options: Options, source: Source) -> bool:
    """Writes a class that fits the data; and, into a file, imports the rows too."""
    if options.to is not None:
        raise Failure("--to and --new do not go together.", "--new makes the resource that --to would name.")
    assert options.new is not None
    inferred = infer(source, options.new, key=options.key, ignored=options.ignored)
    file = options.written_to
    if file is None:
        typer.echo(inferred.code, nl=False)
        typer.echo("Nothing was imported. With --write FILE the class is saved and the rows go in.", err=True)
        return True
    if file.exists():
        raise Failure(f"{file} is there already.", "Give another name, or put the class into it yourself.")
    file.write_text(inferred.code, "utf-8")
    typer.echo(f"{file}: {options.new} with {len(inferred.fields)} fields. Serve it: crudite dev {file}")
    return _import(options, source, find(str(file)), options.new, dict(inferred.fields), None)


def _import(
    options: Options, source: Source, target: Target, name: str, renamed: dict[str, str], key: str | None
) -> bool:
    app = load(target, store=options.store)
    definition = definition_of(app, name)
    columns = Columns(
        definition,
        source.columns,
        key=key,
        renamed=renamed,
        ignored=options.ignored,
        zone=_zone(options.zone),
    )
    with _progress(source) as progress:
        work = Import(
            app,
            definition,
            source,
            columns,
            on_conflict=options.on_conflict,
            batch=options.batch,
            progress=progress,
        )
        good = _run(work, options)
    if columns.left_out:
        typer.echo(f"Left out, since only Crudite sets them: {', '.join(columns.left_out)}.")
    _tell(work.outcome, definition.name, source, options, good)
    return not work.outcome.dirty


def _run(work: Import, options: Options) -> int:
    """Does what was asked for; returns how many rows a dry run found good."""
    if options.is_dry:
        return work.check()
    try:
        asyncio.run(work.run_strictly() if options.is_strict else work.run())
    except StoreError as error:
        raise Failure(f"{error}. {work.outcome.created + work.outcome.replaced} rows are in.") from error
    except KeyboardInterrupt:
        raise Failure(f"stopped; {work.outcome.created + work.outcome.replaced} rows are in.") from None
    return 0


def _tell(outcome: Outcome, name: str, source: Source, options: Options, good: int) -> None:
    _tell_dirty(outcome.dirty, shows_all=options.shows_all)
    written = outcome.created + outcome.replaced
    dirty = len(outcome.dirty)
    if options.is_dry:
        fit = f"{_rows(good)} of {source.path.name} would fit {name}, {dirty:,} would not"
        typer.echo(f"{fit}. Nothing was imported.")
        return
    if options.is_strict and dirty:
        typer.echo(f"Nothing was imported into {name}: {_rows(dirty)} of {source.path.name} would not go in.")
        return
    parts = [f"{outcome.replaced:,} of them replaced"] if outcome.replaced else []
    parts += [f"{outcome.skipped:,} skipped, being there already"] if outcome.skipped else []
    parts += [f"{dirty:,} not imported"] if dirty else []
    rate = f"{outcome.rows / outcome.seconds:,.0f} rows/s" if outcome.seconds else ""
    text = f"{_rows(written)} imported into {name} in {outcome.seconds:.1f} s ({rate})"
    typer.secho("; ".join([text, *parts]) + ".", fg="yellow" if dirty else "green")


def _tell_dirty(dirty: Sequence[Dirty], *, shows_all: bool) -> None:
    shown = dirty if shows_all else dirty[:_MOST_SHOWN]
    for one in shown:
        place = f"line {one.line}: " if one.line else ""
        typer.echo(f"{place}{'; '.join(one.faults)}", err=True)
    rest = dirty[len(shown) :]
    if rest:
        typer.echo(f"and {len(rest):,} more rows; --all shows them.", err=True)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _pair(text: str) -> tuple[str, str]:
    column, equals, name = text.rpartition("=")
    if not equals or not column or not name:
        raise Failure(f"--map {text} is no COLUMN=FIELD.", "Such as --map 'Flight No'=number")
    return column, name


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Failure(f"there is no time zone {name}.", "Such as Europe/Berlin or America/New_York.") from error


@contextmanager
def _progress(source: Source) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while a person watches it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bar = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*bar, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(source.path.name, total=source.size)
        yield lambda done: progress.update(task, completed=done)
