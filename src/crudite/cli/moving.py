"""`crudite db copy`: an application's records from one store to another one, and whether they are the same in both."""

import asyncio
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from crudite.cli.failures import Failure
from crudite.cli.target import expect_database, find, load, store_url
from crudite.schema import Catalog
from crudite.stores import open_end, open_store
from crudite.stores.base import Step, Store
from crudite.stores.copying import CopyEnd, Difference, NotEmpty, Progress
from crudite.stores.copying import compare as compare_ends
from crudite.stores.copying import copy as copy_ends
from crudite.stores.copying import count as count_records

_MOST_SHOWN = 50
_Result = TypeVar("_Result")


def copy(named: str | None, source: str, target: str, repeat: bool, size: int) -> None:
    """Copies, and says what came of it. Raises Failure and StoreError; the target's records are then as they were."""
    catalog = load(find(named)).definitions.catalog
    start, end = _connect_source(source, catalog), open_end(store_url(target))
    _prepare(open_store(store_url(target)), end.shown, catalog)
    began = time.perf_counter()
    try:
        with _progress(start, catalog) as progress:
            copied = _run(copy_ends(start, end, catalog, repeat=repeat, size=size, progress=progress), end.shown)
    except NotEmpty as error:
        raise Failure(f"{error}.", "With --repeat they are replaced by those of the source.") from error
    seconds = time.perf_counter() - began
    listed = ", ".join(f"{count:,} of {name}" for name, count in copied.counts.items())
    total = _records(sum(copied.counts.values()))
    typer.secho(f"{total} copied from {start.shown} to {end.shown} in {seconds:.1f} s.", fg="green")
    typer.echo(f"They are {listed}." if listed else "The application declares no resources.")
    histories = ", ".join(f"{count:,} of {name}" for name, count in copied.changes.items() if count)
    if histories:
        typer.echo(f"Their histories are along: changes, {histories}.")
    if copied.source_has_moved:
        typer.secho(f"{start.shown} has been written to meanwhile, and that is not in the copy.", fg="yellow")
        typer.echo("End what writes there, then copy again with --repeat.")


def compare(named: str | None, source: str, target: str, size: int) -> bool:
    """Says what differs, record by record; whether nothing does."""
    catalog = load(find(named)).definitions.catalog
    start, end = _connect_source(source, catalog), _connect_source(target, catalog)
    with _progress(start, catalog) as progress:
        found, more, counts = _run(_differences(start, end, catalog, size, progress), end.shown)
    for one in found:
        typer.echo(_in_words(one, start.shown, end.shown))
    if more:
        typer.echo(f"… and {more:,} more.")
    if not found:
        total = sum(counts.get(schema.name, 0) for schema in catalog.values())
        changes = sum(counts.values()) - total
        histories = f", and {changes:,} change{'s' if changes != 1 else ''} in their histories" if changes else ""
        typer.secho(f"{start.shown} and {end.shown} hold the same: {_records(total)}{histories}.", fg="green")
    return not found


async def _differences(
    source: CopyEnd, target: CopyEnd, catalog: Catalog, size: int, progress: Progress
) -> tuple[Sequence[Difference], int, dict[str, int]]:
    """The first differences, how many more there are, and how many records, and changes in their histories, were
    compared."""
    found: list[Difference] = []
    more, counts = 0, {}

    def note(name: str, done: int) -> None:
        counts[name] = done
        progress(name, done)

    async for one in compare_ends(source, target, catalog, size=size, progress=note):
        if len(found) < _MOST_SHOWN:
            found.append(one)
        else:
            more += 1
    return found, more, counts


def _connect_source(where: str, catalog: Catalog) -> CopyEnd:
    """An end that has the schema of the application already. Raises Failure otherwise."""
    url = store_url(where)
    store, end = open_store(url), open_end(url)
    expect_database(store)
    if any(not step.may_stay for step in asyncio.run(store.plan(catalog))):
        hint = f"`crudite db plan --store {where}` shows what differs, `crudite db migrate` brings it forward."
        raise Failure(f"{end.shown} has not the schema that the application declares.", hint)
    return end


def _prepare(store: Store, shown: str, catalog: Catalog) -> None:
    """Gives the target the schema, as far as nothing is lost."""
    steps: Sequence[Step] = asyncio.run(store.plan(catalog))
    if any((step.loses or step.is_blocked) and not step.may_stay for step in steps):
        hint = "`crudite db plan --store URL` shows what is there. Take an empty one, or bring that one forward."
        raise Failure(f"{shown} has another schema, and would lose something for this one.", hint)
    asyncio.run(store.migrate(catalog))


def _run(work: Coroutine[Any, Any, _Result], shown: str) -> _Result:
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise Failure(f"stopped; what {shown} holds is as it was.") from None


@contextmanager
def _progress(source: CopyEnd, catalog: Catalog) -> Iterator[Progress]:
    """A bar for each resource on standard error, while a person watches."""
    if not sys.stderr.isatty():
        yield lambda name, done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    counts = asyncio.run(count_records(source, catalog))
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {name: bars.add_task(name, total=total) for name, total in counts.items()}
        yield lambda name, done: bars.update(tasks[name], completed=done)


def _in_words(one: Difference, source: str, target: str) -> str:
    if one.history:
        return f"{one.resource} {one.key} differs in its history."
    if one.only_in:
        return f"{one.resource} {one.key} is only in {source if one.only_in == 'source' else target}."
    if one.key is None:
        return f"{one.resource}: {target} would give numbers again that {source} has given."
    return f"{one.resource} {one.key} differs in {', '.join(one.fields)}."


def _records(count: int) -> str:
    return f"{count:,} record{'s' if count != 1 else ''}"
