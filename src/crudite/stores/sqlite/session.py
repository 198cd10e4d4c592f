"""Everything that is open for one file, until it is closed or another file takes its place."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from crudite.errors import StoreError, StoreLocked
from crudite.schema import Catalog
from crudite.stores.base import Step
from crudite.stores.sqlite import install, migration
from crudite.stores.sqlite.connections import (
    File,
    Synchronous,
    checkpoint,
    connect,
    connect_reader,
    identity,
    make_writer,
    pragma,
    rows,
)
from crudite.stores.sqlite.errors import translated
from crudite.stores.sqlite.follow import Follower
from crudite.stores.sqlite.reads import InlineReader, ReaderThreads
from crudite.stores.sqlite.statements import Clock
from crudite.stores.sqlite.writer import Writer
from crudite.stores.steps import refuse

logger = logging.getLogger("crudite.store")

_PAGES_TO_COPY = 2000
_PAGES_TO_WARN_OF = 32_000
_SECONDS_BETWEEN_WARNINGS = 60.0


def prepare(
    path: str,
    file: File | None,
    synchronous: Synchronous,
    catalog: Catalog,
    *,
    migrate: bool,
    replaced: bool = False,
) -> apsw.Connection:
    """The writing connection of a file whose schema, log and triggers are those of the catalog; it is made
    without `file`. A file that was put in the place of another one begins a new log.

    Raises StoreOutdated when that takes steps that may not be taken, and every other StoreError.
    """
    with translated(path):
        connection = connect(path, create=file is None, file=file)
        try:
            install.check_owner(connection, path)
            if not migrate:
                refuse(migration.plan(connection, catalog, removing=False))
            make_writer(connection, synchronous)
            migration.migrate(connection, catalog, lose=False)
            if replaced:
                connection.execute("BEGIN IMMEDIATE")
                install.end_log(connection, "epoch")
                connection.execute("COMMIT")
        except BaseException:
            connection.close(True)
            raise
        return connection


class Session:
    """One file's connections: the writer, the event loop's, the reader threads', and one that watches."""

    def __init__(
        self,
        path: str,
        file: File,
        connection: apsw.Connection,
        catalog: Catalog,
        threads: int,
        committed: Callable[[], None],
    ) -> None:
        self.path = path
        self.catalog = catalog
        self._committed = committed
        self.verified = pragma(connection, "schema_version")
        self._file = file
        self.secret: bytes = rows(connection, "SELECT value FROM _secret")[0][0]
        last = rows(connection, "SELECT coalesce(max(ts), 0) FROM (SELECT ts FROM _changes ORDER BY seq DESC LIMIT 1)")
        self.writer = Writer(connection, path, file, Clock(last[0][0] * 1_000_000), self._verify, self._has_committed)
        self.inline = InlineReader(path, file)
        self.threads = ReaderThreads(path, file, threads)
        self._watching = connect_reader(path, file)
        self._copier = connect(path, file=file)
        pragma(self._copier, "schema_version")  # opens the write-ahead log, while it is this file's
        self._beside = {f"{path}{side}": identity(f"{path}{side}") for side in ("-wal", "-shm")}
        self._data_version = pragma(self._watching, "data_version")
        self._copying: asyncio.Future[None] | None = None
        self._pages_to_copy_at = _PAGES_TO_COPY
        self._warned = 0.0
        self._is_closing = False
        self.writer.trust_images(install.imaged(connection, catalog))
        self.writer.start()

    def has_changed(self) -> bool:
        """Whether anybody has committed since it was asked last."""
        version = pragma(self._watching, "data_version")
        changed: bool = version != self._data_version
        self._data_version = version
        return changed

    def is_replaced(self) -> bool:
        """Whether another file lies at the path, or none."""
        return self._file != identity(self.path)

    def follower(self, most: int) -> Follower:
        """A new follower of the log, that looks at so many changes of a resource in one batch."""
        return Follower(
            self.path,
            self._file,
            lambda: self.catalog,
            self.threads,
            self.inline.is_cheap,
            lambda: self.verified,
            lambda: self.writer.run(self._verify_alone),
            most,
        )

    async def migrate(self, catalog: Catalog, lose: bool) -> list[Step]:
        """Takes the steps to another catalog, and goes on with that."""

        def work(connection: apsw.Connection) -> list[Step]:
            steps = migration.migrate(connection, catalog, lose=lose)
            self.catalog = catalog
            self._note_schema(connection)
            return steps

        return await self.writer.run(work)

    async def close(self) -> None:
        """Finishes what has been accepted, then lets go of the file."""
        replaced = self.is_replaced()
        if replaced:
            self.writer.is_cut_off = True
            self._clear_place()
        self._is_closing = True
        if self._copying is not None:
            await asyncio.wait([self._copying])
        if replaced:
            await self._copy_all()
        await self.writer.close()
        await asyncio.to_thread(self.threads.close)
        self.inline.close()
        self._watching.close(True)
        self._copier.close(True)

    def _clear_place(self) -> None:
        """Removes our write-ahead log from the path, since SQLite would replay it onto the file there.
        One that this file brought with it stays: as long as ours is open, no other has its inode."""
        for side, file in self._beside.items():
            if file is not None and file == identity(side):
                Path(side).unlink(missing_ok=True)

    async def _copy_all(self) -> None:
        """Makes the file that was moved away whole: its write-ahead log has no name any more."""
        try:
            await self.writer.run(lambda connection: checkpoint(connection, whole=True))
        except StoreError as error:
            logger.error("%s: the file that was there lacks what was written last: %s", self.path, error)

    def _verify(self, connection: apsw.Connection) -> None:
        """Puts our triggers back when somebody has changed them; what he did meanwhile is in no log. Those of another
        version of the application stay, since two versions would take them from each other for ever."""
        if not migration.is_of(connection, self.catalog):
            logger.warning("%s: another version of the application has changed the schema", self.path)
        elif not install.triggers_agree(connection, self.catalog):
            logger.warning("%s: the change log's triggers were changed by another program; they are back", self.path)
            unwatched = install.unwatched(connection, self.catalog)
            install.install_triggers(connection, self.catalog)
            install.fill(connection, unwatched)
            install.end_log(connection, "schema")
        self._note_schema(connection)

    def _note_schema(self, connection: apsw.Connection) -> None:
        self.verified = pragma(connection, "schema_version")
        self.writer.trust_images(install.imaged(connection, self.catalog))

    def _verify_alone(self, connection: apsw.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        self._verify(connection)
        connection.execute("COMMIT")

    def _has_committed(self) -> None:
        self._committed()
        pages = self.writer.wal_pages
        if self._copying is None and pages > self._pages_to_copy_at and not self._is_closing:
            self._copying = asyncio.ensure_future(self._copy())
        elif pages < _PAGES_TO_COPY:
            self._pages_to_copy_at = _PAGES_TO_COPY

    async def _copy(self) -> None:
        """Copies the write-ahead log into the file, beside the writer; warns when it has grown large."""
        try:
            await self.threads.elsewhere(_copy_pages, self._copier, self.path)
            # beside a busy writer that never gets to the log's end; the writer itself copies what is left, so
            # that it can begin the log again at its start
            pages, _ = await self.writer.run(checkpoint)
            self._pages_to_copy_at = pages + _PAGES_TO_COPY
            if pages > _PAGES_TO_WARN_OF and time.monotonic() > self._warned + _SECONDS_BETWEEN_WARNINGS:
                self._warned = time.monotonic()
                logger.warning("%s: the write-ahead log has %d pages; a reader may hold it", self.path, pages)
        except StoreLocked:  # another process copies it
            self._pages_to_copy_at = self.writer.wal_pages + _PAGES_TO_COPY
        except StoreError as error:
            logger.warning("%s: the write-ahead log could not be copied: %s", self.path, error)
        finally:
            self._copying = None


def _copy_pages(connection: apsw.Connection, path: str) -> tuple[int, int]:
    with translated(path):
        return checkpoint(connection)
