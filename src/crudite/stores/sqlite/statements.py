"""One write at a time, as SQL inside the writer's transaction: what it checks, does and returns."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import apsw

from crudite.changes import Refused, Stored, Write
from crudite.ids import uuid7
from crudite.query.plan import Mask, Need, Plan, Selection
from crudite.query.sql import condition, quote, record_json, select
from crudite.query.tree import EVERYTHING, Filter
from crudite.schema import FieldType, ResourceSchema
from crudite.stores.along import go_along
from crudite.stores.seen import differing
from crudite.stores.sqlite.connections import Execute
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.stores.sqlite.errors import refusal
from crudite.stores.sqlite.reads import fetch
from crudite.types import Key

_dialect = SqliteDialect()
_CONVERTED = frozenset(("decimal", "bigint", "json"))


_LAST_CHANGE = "SELECT seq, tbl, pk, after FROM _changes ORDER BY seq DESC LIMIT 1"
_CHANGES_SINCE = "SELECT seq, tbl, pk, after FROM _changes WHERE seq > ? ORDER BY seq"


class _Shape(NamedTuple):
    """A compiled INSERT or UPDATE: the text around its condition, and the values that need converting.

    `is_imaged`: what is to be returned is what the log's trigger has just written, and not made again.
    """

    text: str
    returning: str
    converted: tuple[tuple[int, FieldType], ...]
    loud: bool
    is_imaged: bool


class Clock:
    """Versions and timestamps: microseconds since 1970, never standing still and never going back."""

    def __init__(self, floor: int) -> None:
        self.last = floor
        self._second = 0
        self._prefix = ""

    def tick(self) -> tuple[int, str]:
        """The next version of a new record, and the same moment as stored text."""
        now = time.time_ns() // 1000
        if now <= self.last:
            now = self.last + 1
        self.last = now
        second, fraction = divmod(now, 1_000_000)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return now, f"{self._prefix}{fraction:06d}Z"

    def pass_by(self, version: int) -> None:
        """No later tick gives this version or one below it."""
        self.last = max(self.last, version)


class Performer:
    """Performs writes on the writer's connection; the caller holds the transaction."""

    def __init__(self, execute: Execute, clock: Clock) -> None:
        self._execute = execute
        self._clock = clock
        self.head: int | None = None
        """The number of the log's last row, where the last write happened to read it."""
        self._trusted: frozenset[str] = frozenset()
        self._shapes: dict[Any, _Shape] = {}

    def trust_images(self, tables: frozenset[str]) -> None:
        """Takes what is returned from the log where that keeps just what is declared: in these tables, from now on."""
        self._trusted = tables
        self._shapes.clear()

    def perform(self, index: int, write: Write) -> Stored:
        """Makes write number `index` of its unit. Raises Refused, having changed nothing but for `after`."""
        self.head = None
        if write.along is not None:
            return self._along(index, write)
        try:
            if write.needs:
                self._check_needs(index, write)
            if write.seen:
                self._check_seen(index, write)
            match write.action:
                case "create":
                    stored = self._create(write)
                case "update":
                    stored = self._update(index, write)
                case "delete":
                    stored = self._delete(index, write)
        except apsw.ConstraintError as error:
            raise self._explained(refusal(error, index, write), write) from error
        if write.check_after is not None and not self._holds(write.schema, stored.key, write.check_after):
            raise Refused(index, "after")
        if write.returning is not None and write.action != "delete" and not is_plain(write.returning):
            return self._returning(stored, write.returning)
        return stored

    def _along(self, index: int, write: Write) -> Stored:
        """Makes a write that takes other records along."""
        asking = go_along(index, write, _dialect, locks=False)
        answer: Any = None
        try:
            while True:
                asked = asking.send(answer)
                if isinstance(asked, Write):
                    answer = self.perform(index, asked)
                else:
                    answer = self._execute(asked.text, asked.parameters).fetchall()
        except StopIteration as done:
            self.head = None
            stored: Stored = done.value
            return stored
        except apsw.ConstraintError as error:
            raise refusal(error, index, write) from error

    def insert(self, index: int, write: Write) -> Stored | None:
        """Makes a write that is a create of which nothing is left to do but to read what the log has of it, and
        gives its key and version; None for any other, which is not made. Raises Refused, having changed nothing."""
        if write.action != "create" or write.needs or write.check_after is not None:
            return None
        add_key = write.key is not None and write.schema.key not in write.values
        if write.key is None or not (shape := self._shape(write, add_key)).is_imaged:
            return None
        try:
            return self._inserted(write, shape, write.key, add_key)
        except apsw.ConstraintError as error:
            raise self._explained(refusal(error, index, write), write) from error

    def images(self, since: int, units: Sequence[tuple[Write, Stored]]) -> list[tuple[int, Stored]] | None:
        """What the log has of creates in order, with the number of its row, for rows after `since`; None when it
        has other rows too, or none of some."""
        try:
            rows = self._execute(_CHANGES_SINCE, (since,)).fetchall()
        except UnicodeDecodeError:
            return None
        if len(rows) != len(units):
            return None
        found = []
        for (seq, table, key, json), (write, stored) in zip(rows, units, strict=True):
            schema = write.schema
            if table != schema.table or _dialect.load(schema.key_field.type, key) != stored.key or not json:
                return None
            found.append((seq, Stored(stored.key, stored.version, json)))
        return found

    def _create(self, write: Write) -> Stored:
        schema = write.schema
        key = write.values.get(schema.key, write.key)
        if key is None and not schema.is_numbered:
            key = uuid7()
        add_key = key is not None and schema.key not in write.values
        shape = self._shape(write, add_key)
        stored = self._inserted(write, shape, key, add_key)
        return self._imaged(stored, write) if shape.is_imaged else stored

    def _inserted(self, write: Write, shape: _Shape, key: Key | None, add_key: bool) -> Stored:
        version, moment = self._clock.tick()
        bound = self._bind(write.values, shape)
        bound += (version, moment, moment, _stored(write.schema, key)) if add_key else (version, moment, moment)
        # to its end, where SQLite checks the foreign keys: a RETURNING row comes before that
        found = self._execute(shape.text + shape.returning, bound).fetchall()
        return _outcome(write.schema, found[0]) if found or key is None else Stored(key, version)

    def _update(self, index: int, write: Write) -> Stored:
        schema = write.schema
        shape = self._shape(write, False)
        bound = self._bind(write.values, shape)
        if shape.loud:
            bound.append(self._clock.tick()[1])
        text = self._where(write, bound)
        try:
            found = self._execute(shape.text + text + shape.returning, bound).fetchall()
        except UnicodeDecodeError:  # another program put bytes into the record; the update itself is done
            key = _key(write)
            stored = Stored(key, self._version(schema, key))
            return self._returning(stored, write.returning) if write.returning is not None else stored
        if not found:
            raise self._miss(index, write)
        stored = _outcome(schema, found[0])
        return self._imaged(stored, write) if shape.is_imaged else stored

    def _delete(self, index: int, write: Write) -> Stored:
        schema, bound = write.schema, list[Any]()
        table = quote(schema.table)
        text = f"DELETE FROM {table}{self._where(write, bound)}"
        text += f' RETURNING {table}.{quote(schema.key)}, {table}."version", NULL'
        found = self._execute(text, bound).fetchall()
        if not found:
            raise self._miss(index, write)
        self._clock.pass_by(found[0][1])
        return _outcome(schema, found[0])

    def _imaged(self, stored: Stored, write: Write) -> Stored:
        """What is stored, with the JSON that the log has of it, if that is the log's last row."""
        try:
            seq, table, key, json = self._execute(_LAST_CHANGE).fetchall()[0]
            schema = write.schema
            if table == schema.table and _dialect.load(schema.key_field.type, key) == stored.key and json:
                self.head = seq
                return Stored(stored.key, stored.version, json)
        except (UnicodeDecodeError, IndexError):
            pass
        return self._returning(stored, write.returning) if write.returning is not None else stored

    def _bind(self, values: Mapping[str, Any], shape: _Shape) -> list[Any]:
        bound = list(values.values())
        for place, type in shape.converted:
            bound[place] = _dialect.store(type, bound[place])
        return bound

    def _where(self, write: Write, bound: list[Any]) -> str:
        """The WHERE of an update or delete, its parameters appended to `bound`."""
        schema, table = write.schema, quote(write.schema.table)
        bound.append(_stored(schema, _key(write)))
        text = f" WHERE {table}.{quote(schema.key)} = ?{len(bound)}"
        if write.expect is not None:
            bound.append(write.expect)
            text += f' AND {table}."version" = ?{len(bound)}'
        for filter in _conditions(write):
            statement = condition(filter, _dialect, table, len(bound) + 1)
            text += f" AND ({statement.text})"
            bound += statement.parameters
        return text

    def _shape(self, write: Write, add_key: bool) -> _Shape:
        names = tuple(write.values)
        memo = (write.action, write.schema, names, add_key, write.returning)
        shape = self._shapes.get(memo)
        if shape is None:
            if len(self._shapes) > 2000:  # selections are made once by those who ask often; this is for the others
                self._shapes.clear()
            shape = self._shapes[memo] = _compile(write, names, add_key, write.schema.table in self._trusted)
        return shape

    def _check_needs(self, index: int, write: Write) -> None:
        for need in write.needs:
            if not self._is_there(need):
                if write.action != "create" and (miss := self._found_miss(index, write)):
                    raise miss
                raise Refused(index, "need", (need.field,))

    def _check_seen(self, index: int, write: Write) -> None:
        if changed := self._differing(write.schema, _key(write), write.seen):
            raise self._found_miss(index, write) or Refused(index, "version", changed)

    def _is_there(self, need: Need) -> bool:
        schema = need.selection.schema
        is_there = self._holds(schema, need.key, need.selection.filter)
        return is_there and not self._differing(schema, need.key, need.seen)

    def _differing(self, schema: ResourceSchema, key: Key, seen: Mapping[str, Any]) -> tuple[str, ...]:
        """The fields of a record that are not as they were seen."""
        if not seen:
            return ()
        shown = Selection(schema, EVERYTHING, Mask(tuple(seen)))
        return differing(seen, self._returning(Stored(key, 0), shown).json)

    def _holds(self, schema: ResourceSchema, key: Key, filter: Filter) -> bool:
        statement = condition(filter, _dialect, "t", 2)
        text = f"SELECT 1 FROM {quote(schema.table)} AS t WHERE t.{quote(schema.key)} = ?1"
        text += f" AND ({statement.text})"
        found: list[Any] = self._execute(text, (_stored(schema, key), *statement.parameters)).fetchall()
        return found != []

    def _miss(self, index: int, write: Write) -> Refused:
        return self._found_miss(index, write) or Refused(index, "missing")

    def _found_miss(self, index: int, write: Write) -> Refused | None:
        """Which condition does not hold for the stored record; the rule first, so that it hides the rest."""
        schema = write.schema
        key = _key(write)
        if not self._holds(schema, key, EVERYTHING):
            return Refused(index, "missing")
        if write.where is not None and not self._holds(schema, key, write.where):
            return Refused(index, "where")
        for guard in write.guards:
            if not self._holds(schema, key, guard.filter):
                return Refused(index, "guard", guard.fields)
        version = self._version(schema, key)
        return Refused(index, "version", (), f"it is {version}") if write.expect not in (None, version) else None

    def _version(self, schema: ResourceSchema, key: Key) -> int:
        text = f'SELECT "version" FROM {quote(schema.table)} WHERE {quote(schema.key)} = ?'
        version: int = self._execute(text, (_stored(schema, key),)).fetchall()[0][0]
        return version

    def _returning(self, stored: Stored, selection: Selection) -> Stored:
        rows = fetch(self._execute, select(Plan(selection=selection, keys=(stored.key,)), _dialect), 3)
        return Stored(stored.key, stored.version, rows[0][2] if rows else None)

    def _explained(self, refused: Refused, write: Write) -> Refused:
        """The refusal with the fields whose foreign key points at nothing, which SQLite does not tell."""
        if refused.kind != "reference":
            return refused
        fields = []
        for name, value in write.values.items():
            reference = write.schema.fields[name].reference
            if reference is not None and reference.enforced and value is not None:
                text = self._foreign_keys(write.schema).get(name)
                key = _dialect.store(write.schema.fields[name].type, value)
                if text is not None and self._execute(text, (key,)).fetchall() == []:
                    fields.append(name)
        return Refused(refused.index, "reference", tuple(fields))

    def _foreign_keys(self, schema: ResourceSchema) -> dict[str, str]:
        rows = self._execute(f"PRAGMA foreign_key_list({quote(schema.table)})").fetchall()
        return {row[3]: f"SELECT 1 FROM {quote(row[2])} WHERE {quote(row[4])} = ?" for row in rows}


def _compile(write: Write, names: tuple[str, ...], add_key: bool, imaged: bool) -> _Shape:
    schema, table = write.schema, quote(write.schema.table)
    json = "NULL"
    is_imaged = imaged and write.returning is not None and schema.logged and _shows_image(write.returning)
    if write.returning is not None and not is_imaged and is_plain(write.returning):
        json = record_json(schema, write.returning.mask.always, table, _dialect)
    returning = f' RETURNING {table}.{quote(schema.key)}, {table}."version", {json}'
    if write.action == "create" and (add_key or schema.key in names) and json == "NULL":
        returning = ""
    fields = [schema.fields[name] for name in names]
    converted = tuple((i, f.type) for i, f in enumerate(fields) if f.type.kind in _CONVERTED)
    loud = any(not field.quiet for field in fields)
    if write.action == "create":
        columns = [*names, "version", "created_at", "updated_at", *([schema.key] if add_key else [])]
        marks = ", ".join(f"?{n}" for n in range(1, len(columns) + 1))
        text = f"INSERT INTO {table} ({', '.join(map(quote, columns))}) VALUES ({marks})"
    else:
        sets = [f"{quote(name)} = ?{n}" for n, name in enumerate(names, 1)]
        sets += [f'"updated_at" = ?{len(names) + 1}', '"version" = "version" + 1'] if loud else []
        text = f"UPDATE {table} SET " + ", ".join(sets or ['"version" = "version"'])
    return _Shape(text, returning, converted, loud, is_imaged)


def _conditions(write: Write) -> Sequence[Filter]:
    guards = [guard.filter for guard in write.guards]
    return guards if write.where is None else [write.where, *guards]


def is_plain(selection: Selection) -> bool:
    """Whether RETURNING can give what a selection shows: it holds every record and hides no field of some."""
    plain: bool | None = selection.memo.get("sqlite plain")
    if plain is None:
        plain = selection.filter == EVERYTHING and not selection.mask.sometimes
        selection.memo["sqlite plain"] = plain
    return plain


def _key(write: Write) -> Key:
    if write.key is None:
        raise ValueError(f"a write that does {write.action} needs a key")
    return write.key


def _shows_image(selection: Selection) -> bool:
    """Whether what a selection shows is what the log keeps: all fields but the secret ones, in order."""
    image = tuple(f.name for f in selection.schema.fields.values() if not f.secret)
    return is_plain(selection) and selection.mask.always == image


def _stored(schema: ResourceSchema, key: Key | None) -> Any:
    return _dialect.store(schema.key_field.type, key)


def _outcome(schema: ResourceSchema, row: tuple[Any, ...]) -> Stored:
    key = row[0] if schema.key_field.type.kind != "bigint" else str(row[0])
    return Stored(key, row[1], row[2])
