"""The steps from the database's schema to a catalog's, and taking them.

PostgreSQL changes its schema inside transactions. A table that differs from what was made last time loses its
checks, defaults and outdated indexes, gets its columns renamed, removed, converted and added, and then has
what differs given back: one way for every change. References come last, when every table is there. The function that
indexes of words rest on is made before all tables and removed behind them. What a step would lose is counted in the
data.

What the catalog does not declare stays where it is, and is watched by the log's triggers as before, so that servers
which still declare it go on beside this one. Only what would be in the way of new records is let go, which takes a
moment and loses nothing: that a column must be given, a reference, a unique index.

One process migrates at a time; another one waits, and then finds nothing to do. All tables that are touched are
locked before anything is done, each lock waited for only so long that whoever queues up behind it meets no deadline of
his own; then everything is let go, the others have as much time as they were held up, and it is tried again.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg
import msgspec

from crudite.errors import StoreLocked, StoreOutdated
from crudite.query.sql import quote
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import Step
from crudite.stores.postgresql import history, indexing, install
from crudite.stores.postgresql.alteration import Alteration, MadeTable
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.ddl import FORMAT, create_indexes, create_references, create_table, too_long
from crudite.stores.postgresql.locks import take_locks, with_holds
from crudite.stores.postgresql.search import FUNCTION, create_function
from crudite.stores.steps import columns_of, count_records, refuse, tell_audited, tell_left

logger = logging.getLogger("crudite.store")

_MOST_MILLISECONDS = 2000
"""How long a lock on a table is waited for at most: requests that queue up behind have four seconds."""
_TRIES = 15
_SECONDS_UNTIL_TOLD = 1.0
_TURNS = 20
"""How often one waits for another process that migrates, each time as long as the connection's `lock_timeout` says: 30
seconds."""

_TURN = "pg_advisory_xact_lock(hashtext('crudite migration'))"
_TRY_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('crudite migration'))"
# milliseconds; pg_settings would put all settings together to find one
_PATIENCE = "SELECT (extract(epoch FROM current_setting('lock_timeout')::interval) * 1000)::int"
# who has a lock on one of our tables, the oldest transaction first
_HOLDERS = """SELECT DISTINCT a.pid, a.application_name, a.state, a.xact_start FROM pg_locks AS l
JOIN pg_class AS c ON c.oid = l.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.granted AND n.nspname = current_schema() AND c.relname = ANY($1::text[]) AND a.pid <> pg_backend_pid()
ORDER BY a.xact_start LIMIT 3"""
_SAVED = 'SELECT description FROM "_schema"'
_SAVE = """INSERT INTO "_schema" (id, format, description) VALUES (1, $1, $2)
ON CONFLICT (id) DO UPDATE SET format = excluded.format, description = excluded.description"""


class Steps(NamedTuple):
    """The steps from what is there to a catalog: references are let go first and held last, then come histories. `made`
    is what the tables are made from when they are taken. What is done `after` needs no transaction around it."""

    let_go: list[Step]
    tables: list[Step]
    hold: list[Step]
    made: dict[str, MadeTable]
    histories: Sequence[Step] = ()
    after: Sequence[Step] = ()

    @property
    def all(self) -> list[Step]:
        """All of them, in order."""
        return [*self.let_go, *self.tables, *self.hold, *self.histories, *self.after]

    @property
    def changes(self) -> bool:
        """Whether anything is done to the tables of resources."""
        return bool(self.let_go or self.tables or self.hold)

    @property
    def alters(self) -> bool:
        """Whether records change, or their images, without the log telling of it."""
        return any(not text.startswith("CREATE") for step in self.tables for text in step.sql)


async def plan(connection: Connection, catalog: Catalog, *, removing: bool = True) -> Steps:
    """The steps from what is there to the catalog; none when they agree. Only reads. Without `removing`, what nobody
    declares is left where it is, and not counted."""
    present = await install.tables(connection)
    saved = await connection.fetchval(_SAVED) if "_schema" in present else None
    old = msgspec.json.decode(saved, type=dict[str, MadeTable]) if saved else {}
    old = {table: was for table, was in old.items() if table in present}
    names = [name for schema in catalog.values() for name in too_long(schema)]
    if names:
        return Steps([], [Step(f"{name}: PostgreSQL takes names of at most 63 bytes", ()) for name in names], [], {})
    sources = {schema.table: _source(schema, old, catalog) for schema in catalog.values()}
    left = {table: was for table, was in old.items() if table not in sources.values()}
    made = {table: msgspec.structs.replace(was, is_left=True, references={}) for table, was in left.items()}
    steps = [await _drop(connection, table, was) for table, was in left.items()] if removing else []
    if removing:
        made = {}
    for schema in catalog.values():
        source, references = sources[schema.table], create_references(schema, dict(catalog))
        if source is not None:
            alteration = Alteration(connection, schema, source, old[source])
            steps += await alteration.steps(removing=removing)
            made[schema.table] = alteration.made(references, {} if removing else alteration.left)
            continue
        if schema.table in present and schema.table not in old:
            steps.append(Step(f"{schema.table}: a table of this name is there that Crudite did not make", ()))
        else:
            sql = (create_table(schema), *create_indexes(schema).values())
            steps.append(Step(f"{schema.table}: make the table", sql))
        made[schema.table] = MadeTable(
            schema.name, columns_of(schema, None, {}), statement=create_table(schema),
            indexes=create_indexes(schema), references=references, soft=schema.is_soft,
        )  # fmt: skip
    is_searched, searches = any(schema.search for schema in catalog.values()), await install.searches(connection)
    if is_searched and not searches:
        steps.insert(0, Step("make the function that finds the words of a text", (create_function(),)))
    elif searches and not is_searched and (removing or not left):  # an index of what is left may rest on it
        sql = (f"DROP FUNCTION {quote(FUNCTION)}",)
        steps.append(Step("remove the function that finds words", sql, may_stay=bool(left)))
    let_go = await _let_go(connection, catalog, old, sources)
    named = {table: source for table, source in sources.items() if source is not None}
    hold = _hold(catalog, old, sources)
    steps, hold = await with_holds(connection, steps, named), await with_holds(connection, hold, named)
    histories = await history.plan(connection, catalog, sources, removing=removing)
    return Steps(let_go, steps, hold, made, histories, await indexing.plan(connection, catalog))


def _source(schema: ResourceSchema, old: Mapping[str, MadeTable], catalog: Catalog) -> str | None:
    """The table that becomes the schema's: of the same name, or of the resource that was renamed."""
    if schema.table in old:
        return schema.table
    for table, was in old.items():
        if table not in catalog.by_table and was.resource in (schema.name, schema.renamed_from):
            return table
    return None


async def _drop(connection: Connection, table: str, was: MadeTable) -> Step:
    count = await connection.fetchval(f"SELECT count(*) FROM {quote(table)}")
    loses = count_records(was.resource, count)
    return Step(f"{table}: remove the table", (f"DROP TABLE {quote(table)}",), loses, may_stay=True)


async def _let_go(
    connection: Connection,
    catalog: Catalog,
    old: Mapping[str, MadeTable],
    sources: Mapping[str, str | None],
) -> list[Step]:
    """The step that takes references away that the catalog has otherwise or not at all."""
    wanted = {source: create_references(catalog.by_table[table], dict(catalog))
              for table, source in sources.items() if source is not None}  # fmt: skip
    sql = []
    for table, was in old.items():
        outdated = [name for name, text in was.references.items() if wanted.get(table, {}).get(name) != text]
        there = await install.constraints(connection, table) if outdated else set()
        sql += [f"ALTER TABLE {quote(table)} DROP CONSTRAINT {quote(name)}" for name in outdated if name in there]
    return [Step(f"let {len(sql)} references go", tuple(sql))] if sql else []


def _hold(catalog: Catalog, old: Mapping[str, MadeTable], sources: Mapping[str, str | None]) -> list[Step]:
    """The step that makes the references which are new or were let go."""
    sql: list[str] = []
    for schema in catalog.values():
        source = sources[schema.table]
        present = old[source].references if source is not None else {}
        references = create_references(schema, dict(catalog))
        sql += [text for name, text in references.items() if present.get(name) != text]
    return [Step(f"hold {len(sql)} references", tuple(sql))] if sql else []


async def migrate(connection: Connection, catalog: Catalog, *, lose: bool, schema: str | None) -> list[Step]:
    """Takes the steps in one transaction and returns them; the connection must be in none.

    Raises StoreOutdated, having changed nothing, when a step would lose something without `lose`, or cannot
    be taken at all; and StoreLocked when others do not let go of a table, or another migration does not end.
    """
    waited = tried = 0
    turn = _Turn(connection)
    while True:
        patience: int = await connection.fetchval(_PATIENCE) or _MOST_MILLISECONDS
        try:
            async with connection.transaction():
                await turn.take()
                await connection.execute(f"SET LOCAL lock_timeout = {min(patience, _MOST_MILLISECONDS)}")
                steps = await _migrate(connection, catalog, lose, schema)
            await indexing.make(connection, catalog)
            return steps
        except _Busy as busy:
            waited += 1
            if waited == _TURNS:
                seconds = waited * patience / 1000
                raise StoreLocked(f"another process has been migrating the database for {seconds:g} seconds") from busy
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            tried += 1
            holders = await _holders(connection)
            if tried == _TRIES:
                raise StoreLocked(
                    f"the migration came to no lock, {tried} times: {holders} (nothing changed)"
                ) from error
            if tried == 1:
                logger.warning("the migration waits for a lock, and tries again: %s", holders)
            await asyncio.sleep(min(patience, _MOST_MILLISECONDS) / 1000)


class _Busy(Exception):
    """Another process is migrating."""


class _Turn:
    """The turn of one process among those that migrate."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._since: float | None = None
        self._is_told = False

    async def take(self) -> None:
        """Waits until no other process migrates, and says so when that takes long; inside a transaction, until its end.
        Raises _Busy."""
        if await self._connection.fetchval(_TRY_TURN):
            return
        loop = asyncio.get_running_loop()
        self._since = self._since or loop.time()
        telling = loop.call_at(self._since + _SECONDS_UNTIL_TOLD, self._tell)
        try:
            await self._connection.execute(f"SELECT {_TURN}")
        except asyncpg.LockNotAvailableError as error:
            raise _Busy from error
        finally:
            telling.cancel()

    def _tell(self) -> None:
        if not self._is_told:
            self._is_told = True
            logger.warning("another process migrates the database; waiting for it")


async def _holders(connection: Connection) -> str:
    """Who has our tables, in words."""
    tables = sorted(await install.tables(connection))
    found = await connection.fetch(_HOLDERS, tables)
    told = [f"process {pid} ({name or 'unnamed'}, {state}) since {since:%H:%M:%S}" for pid, name, state, since in found]
    return "held by " + ", ".join(told) if told else "whoever held it has let go"


async def _migrate(connection: Connection, catalog: Catalog, lose: bool, schema: str | None) -> list[Step]:
    if schema is not None and await connection.fetchval("SELECT to_regnamespace($1) IS NULL", quote(schema)):
        await connection.execute(f"CREATE SCHEMA {quote(schema)}")
    await install.create_system_tables(connection)
    planned = await plan(connection, catalog, removing=lose)
    steps = planned.all
    refuse([step for step in steps if step.is_blocked or (step.loses and not lose)])
    before = await install.made_tables(connection)
    described = msgspec.json.encode(planned.made).decode()
    saved = await connection.fetchval(_SAVED)
    if planned.changes or saved != described or not await install.triggers_agree(connection, catalog):
        await _take(connection, catalog, planned, described)
        tell_left(before, planned.made)
    for text in (text for step in planned.histories for text in step.sql):
        await connection.execute(text)
    await indexing.make_at_once(connection, catalog)
    if not lose:
        sources = {table: table for table in catalog.by_table}
        tell_audited(await history.plan(connection, catalog, sources, removing=True), catalog)
    return steps


async def _take(connection: Connection, catalog: Catalog, planned: Steps, described: str) -> None:
    """Takes the steps, renews the triggers, remembers what the tables are made from; inside a transaction."""
    tables = await install.tables(connection)
    await connection.execute(_SAVE, FORMAT, described)
    before = await install.installed_triggers(connection)
    wanted = {t.name: (t.table, t.body, t.mode) for t in await install.wanted_triggers(connection, catalog)}
    changed = {name for name in {*before, *wanted} if before.get(name) != wanted.get(name)}
    also = {trigger[0] for name in changed for trigger in (before.get(name), wanted.get(name)) if trigger is not None}
    # before anything is done: no lock is waited for while there is work that would be lost, and nobody is in the middle
    # of writing what the new triggers would log otherwise
    await take_locks(connection, planned.all, also, tables)
    try:
        for step in (*planned.let_go, *planned.tables, *planned.hold):
            for line in step.holds_up:
                logger.warning("migrating, %s: %s", step.description, line)
            if step.sql:
                await connection.execute(";\n".join(step.sql))
    except asyncpg.ForeignKeyViolationError as error:
        raise StoreOutdated(f"references would point at nothing: {error}") from error
    await install.install_triggers(connection, catalog)
    after = await install.installed_triggers(connection)
    on_old_tables = {name: trigger for name, trigger in after.items() if trigger[0] in tables}
    if planned.alters or before != on_old_tables:
        await install.end_log(connection, "schema")  # the images, or what no log tells of, have changed
