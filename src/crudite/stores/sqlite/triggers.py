"""The triggers that write the change log and keep the index of words, as SQL text of built-in functions alone.

Theory of operation. A change of one row is one row of `_changes` with its images before and after; no image
before means created, none after means deleted.

- SQLite deletes the rows that an OR REPLACE collides with *without* firing delete triggers. So a BEFORE
  trigger puts every row that collides on any unique key into `_notes`, and the AFTER trigger logs those now
  gone. The note of a row with the same key is the before-image: a replaced row is updated, not created. A
  note may be left over (OR IGNORE, upsert) and does no harm: whatever removes its row afterwards either notes
  it anew or, being a DELETE or a change of key, takes the note away; and new notes of a table take the place
  of its old ones.
- A change of key is deleted and created.
- An update by another program leaves `version` as it is. The `bump` trigger moves it with an update of its
  own, which fires the `update` trigger; that one logs both as one change, with the older image, left as a
  note under another name. With or without `PRAGMA recursive_triggers`, each trigger runs once.
"""

from collections.abc import Sequence

from crudite.query.sql import quote, record_json
from crudite.schema import DELETED_AT, FieldSpec, ResourceSchema
from crudite.stores.sqlite.ddl import NOW, literal, unique_groups, unique_terms
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.stores.sqlite.search import search_triggers

_dialect = SqliteDialect()


def create_triggers(schema: ResourceSchema) -> dict[str, str]:
    """The statements that make a resource's triggers, by trigger name; those of the log only where there is one."""
    search = create_search_triggers(schema)
    if not schema.logged:
        return {_name(schema, "bump"): _bump(schema), **search}
    texts = {
        "collide insert": _before_insert(schema),
        "collide update": _before_update(schema),
        "insert": _insert(schema),
        "update": _update(schema),
        "bump": _bump(schema),
        "move": _move(schema),
        "forget": _before_delete(schema),
        "delete": _delete(schema),
    }
    return {**{_name(schema, event): text for event, text in texts.items() if text}, **search}


def create_search_triggers(schema: ResourceSchema) -> dict[str, str]:
    """The statements that make those of them which keep the index of words, by trigger name."""
    return {
        _name(schema, event): _trigger(schema, f"{event}:{timing}", when, steps)
        for event, (timing, when, steps) in search_triggers(schema).items()
    }


def _name(schema: ResourceSchema, event: str) -> str:
    return f"crudite {schema.table} {event}"


def _image(schema: ResourceSchema, row: str) -> str:
    return record_json(schema, [f.name for f in schema.fields.values() if not f.secret], row, _dialect)


def _trigger(schema: ResourceSchema, event: str, when: str, body: Sequence[str]) -> str:
    name = event.split(":")[0]
    timing = event.split(":")[1]
    condition = f"\nWHEN {when}" if when else ""
    steps = ";\n  ".join(body)
    return (
        f"CREATE TRIGGER {quote(_name(schema, name))} {timing} ON {quote(schema.table)}"
        f"{condition}\nBEGIN\n  {steps};\nEND"
    )


def _collisions(schema: ResourceSchema, *, updating: bool) -> list[str]:
    key = quote(schema.key)
    conditions = []
    for group in unique_groups(schema):
        terms = zip(unique_terms(schema, group, "o."), unique_terms(schema, group, "NEW."), strict=True)
        condition = " AND ".join(f"{_alone(there)} = {_alone(new)}" for there, new in terms)
        if schema.is_soft and group != (schema.key,):
            condition += f" AND o.{quote(DELETED_AT)} IS NULL AND NEW.{quote(DELETED_AT)} IS NULL"
        conditions.append(f"{condition} AND o.{key} <> OLD.{key}" if updating else condition)
    return conditions


def _alone(term: str) -> str:
    """A term that can be compared: what asks for null binds less than the comparison."""
    return f"({term})" if term.endswith(" IS NULL") else term


def _note_collisions(schema: ResourceSchema, collisions: Sequence[str]) -> list[str]:
    tbl, table, key = literal(schema.table), quote(schema.table), quote(schema.key)
    image = _image(schema, "o")
    notes = [
        f"INSERT OR REPLACE INTO _notes (tbl, pk, before) SELECT {tbl}, o.{key}, {image} FROM {table} AS o "
        f"WHERE {condition}"
        for condition in collisions
    ]
    return [f"DELETE FROM _notes WHERE tbl = {tbl}", *notes]


def _any(schema: ResourceSchema, collisions: Sequence[str]) -> str:
    return " OR ".join(
        f"EXISTS (SELECT 1 FROM {quote(schema.table)} AS o WHERE {condition})" for condition in collisions
    )


def _before_insert(schema: ResourceSchema) -> str:
    collisions = _collisions(schema, updating=False)
    return _trigger(
        schema, "collide insert:BEFORE INSERT", _any(schema, collisions), _note_collisions(schema, collisions)
    )


def _before_update(schema: ResourceSchema) -> str:
    collisions = _collisions(schema, updating=True)
    names = [name for group in unique_groups(schema) for name in group]
    columns = ", ".join(dict.fromkeys(map(quote, [*names, DELETED_AT] if schema.is_soft else names)))
    return _trigger(
        schema,
        f"collide update:BEFORE UPDATE OF {columns}",
        _any(schema, collisions),
        _note_collisions(schema, collisions),
    )


def _gone(schema: ResourceSchema) -> str:
    return f"NOT EXISTS (SELECT 1 FROM {quote(schema.table)} AS o WHERE o.{quote(schema.key)} = _notes.pk)"


def _log_gone(schema: ResourceSchema) -> str:
    return (
        "INSERT INTO _changes (tbl, pk, before) SELECT tbl, pk, before FROM _notes "
        f"WHERE tbl = {literal(schema.table)} AND {_gone(schema)}"
    )


def _log(schema: ResourceSchema, row: str, before: str, after: str) -> str:
    values = f"{literal(schema.table)}, {row}.{quote(schema.key)}, {before}, {after}"
    return f"INSERT INTO _changes (tbl, pk, before, after) VALUES ({values})"


def _note(schema: ResourceSchema, row: str, name: str = "") -> str:
    tbl = literal(name or schema.table)
    return f"(SELECT before FROM _notes WHERE tbl = {tbl} AND pk = {row}.{quote(schema.key)})"


def _forget(schema: ResourceSchema, row: str) -> str:
    # No alias for _notes: SQLite 3.40 refuses one in a DELETE of a trigger, and with it the whole schema.
    handled = f"pk = {row}.{quote(schema.key)} OR {_gone(schema)}"
    return f"DELETE FROM _notes WHERE tbl = {literal(schema.table)} AND ({handled})"


def _forget_one(schema: ResourceSchema, row: str) -> str:
    return f"DELETE FROM _notes WHERE tbl = {literal(schema.table)} AND pk = {row}.{quote(schema.key)}"


def _replaces_others(schema: ResourceSchema) -> bool:
    """Whether a row can be replaced by one with another key; where only the key is unique, it cannot."""
    return len(unique_groups(schema)) > 1


def _insert(schema: ResourceSchema) -> str:
    log = _log(schema, "NEW", _note(schema, "NEW"), _image(schema, "NEW"))
    body = [log, _forget_one(schema, "NEW")]
    if _replaces_others(schema):
        body = [_log_gone(schema), log, _forget(schema, "NEW")]
    return _trigger(schema, "insert:AFTER INSERT", "", body)


def _update(schema: ResourceSchema) -> str:
    same_key = f"OLD.{quote(schema.key)} IS NEW.{quote(schema.key)}"
    quiet = _differs(schema.beside_version)
    when = f'{same_key} AND (OLD."version" IS NOT NEW."version"'
    when += f" OR ({quiet}) AND NOT ({_differs(_loud(schema))}))" if quiet else ")"
    before = f"coalesce({_note(schema, 'OLD', _outer(schema))}, {_image(schema, 'OLD')})"
    body = [_log(schema, "NEW", before, _image(schema, "NEW"))]
    if _replaces_others(schema):
        body = [_log_gone(schema), *body, _forget(schema, "NEW")]
    return _trigger(schema, "update:AFTER UPDATE", when, body)


def _outer(schema: ResourceSchema) -> str:
    return f"{schema.table} bump"


def _bump(schema: ResourceSchema) -> str:
    key, outer = quote(schema.key), literal(_outer(schema))
    when = f'OLD.{key} IS NEW.{key} AND OLD."version" IS NEW."version" AND ({_differs(_loud(schema))})'
    moment = f'CASE WHEN OLD."updated_at" IS NEW."updated_at" THEN {NOW} ELSE NEW."updated_at" END'
    bump = (
        f'UPDATE {quote(schema.table)} SET "version" = "version" + 1, "updated_at" = {moment} WHERE {key} = NEW.{key}'
    )
    if not schema.logged:
        return _trigger(schema, "bump:AFTER UPDATE", when, [bump])
    body = [
        f"INSERT INTO _notes (tbl, pk, before) VALUES ({outer}, OLD.{key}, {_image(schema, 'OLD')})",
        bump,
        f"DELETE FROM _notes WHERE tbl = {outer}",
    ]
    return _trigger(schema, "bump:AFTER UPDATE", when, body)


def _loud(schema: ResourceSchema) -> list[FieldSpec]:
    return [f for f in schema.fields.values() if not f.quiet and f.name not in (schema.key, "version")]


def _differs(fields: Sequence[FieldSpec]) -> str:
    return " OR ".join(f"OLD.{quote(f.name)} IS NOT NEW.{quote(f.name)}" for f in fields)


def _move(schema: ResourceSchema) -> str:
    when = f"OLD.{quote(schema.key)} IS NOT NEW.{quote(schema.key)}"
    body = [
        _forget_one(schema, "OLD"),
        _log_gone(schema),
        _log(schema, "OLD", _image(schema, "OLD"), "NULL"),
        _log(schema, "NEW", _note(schema, "NEW"), _image(schema, "NEW")),
        _forget(schema, "NEW"),
    ]
    return _trigger(schema, "move:AFTER UPDATE", when, body)


def _before_delete(schema: ResourceSchema) -> str:
    # before: foreign keys act between the two, and their updates would find the row gone and its note there
    return _trigger(schema, "forget:BEFORE DELETE", "", [_forget_one(schema, "OLD")])


def _delete(schema: ResourceSchema) -> str:
    return _trigger(schema, "delete:AFTER DELETE", "", [_log(schema, "OLD", _image(schema, "OLD"), "NULL")])
