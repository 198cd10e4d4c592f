"""The index of the words of a resource's searched fields, as SQL text: plain FTS5, kept by triggers.

Theory of operation. Two tables stand beside a resource's: one gives each key a number, the other is the FTS5 index of
the words under that number, with a copy of the texts. So a text can be taken out of the index without knowing what it
was, which nobody does when an OR REPLACE has removed a row without firing triggers. Such a row may leave its words
behind. They find nothing, since no record has their key, and go when one with that key comes.

The index holds no positions: words alone are searched (`query.words` says what a word is).
"""

from crudite.query.sql import quote
from crudite.query.words import most_searched
from crudite.schema import ResourceSchema

_OPTIONS = (
    """tokenize = "unicode61 remove_diacritics 2 categories 'L* M* N* Co'", """  # what `query.words` says of words
    "detail = none, columnsize = 0"
)


def create_search(schema: ResourceSchema) -> dict[str, str]:
    """The statements that make the tables of the index, by name; none where nothing is searched."""
    if not schema.search:
        return {}
    keys, index = _keys(schema), _index(schema)
    return {
        keys: f"CREATE TABLE {quote(keys)} (\n  id INTEGER PRIMARY KEY,\n  key ANY NOT NULL UNIQUE\n) STRICT",
        index: f"CREATE VIRTUAL TABLE {quote(index)} USING fts5({_column(schema)}, {_OPTIONS})",
    }


def is_of_search(table: str) -> bool:
    """Whether a table is one of those that `create_search` makes; the others that FTS5 adds to it go with it."""
    return table.startswith("_search ") and table.endswith((" keys", " words"))


def tables_of_search(table: str) -> tuple[str, str]:
    """The names of the two tables that stand beside a table whose words are searched."""
    return f"_search {table} keys", f"_search {table} words"


def fill_search(schema: ResourceSchema) -> tuple[str, ...]:
    """The statements that make the index anew from the records; none where nothing is searched."""
    if not schema.search:
        return ()
    keys, index = quote(_keys(schema)), quote(_index(schema))
    table, key = quote(schema.table), quote(schema.key)
    return (
        f"DELETE FROM {index}",
        f"DELETE FROM {keys}",
        f"INSERT INTO {keys} (key) SELECT {key} FROM {table}",
        f"INSERT INTO {index} (rowid, {_column(schema)}) SELECT k.id, {_texts(schema, 't')} "
        f"FROM {keys} AS k JOIN {table} AS t ON t.{key} = k.key",
    )


def search_triggers(schema: ResourceSchema) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """What keeps the index, by event: when the trigger runs, on which condition, and its steps."""
    if not schema.search:
        return {}
    key = quote(schema.key)
    columns = [quote(name) for name in dict.fromkeys((schema.key, *schema.search))]
    differs = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
    forget = f"DELETE FROM {quote(_keys(schema))} WHERE key = OLD.{key}"
    moved = f"{forget} AND OLD.{key} IS NOT NEW.{key}"
    return {
        "search insert": ("AFTER INSERT", "", (_clear(schema, "NEW"), *_add(schema))),
        "search update": (
            f"AFTER UPDATE OF {', '.join(columns)}",
            differs,
            (_clear(schema, "OLD"), _clear(schema, "NEW"), moved, *_add(schema)),
        ),
        "search delete": ("AFTER DELETE", "", (_clear(schema, "OLD"), forget)),
    }


def found(schema: ResourceSchema, alias: str, parameter: str) -> str:
    """Whether the row `alias` has all of the words that are bound to a parameter, with a space between."""
    asked = f"""'"' || replace({parameter}, ' ', '" "') || '"*'"""
    rows = f"{quote(_index(schema))}({asked}) AS w JOIN {quote(_keys(schema))} AS k ON k.id = w.rowid"
    return f"{alias}.{quote(schema.key)} IN (SELECT k.key FROM {rows})"


def _clear(schema: ResourceSchema, row: str) -> str:
    number = f"SELECT id FROM {quote(_keys(schema))} WHERE key = {row}.{quote(schema.key)}"
    return f"DELETE FROM {quote(_index(schema))} WHERE rowid = ({number})"


def _add(schema: ResourceSchema) -> tuple[str, ...]:
    key, keys = f"NEW.{quote(schema.key)}", quote(_keys(schema))
    is_new = f"NOT EXISTS (SELECT 1 FROM {keys} WHERE key = {key})"
    texts = f"SELECT id, {_texts(schema, 'NEW')} FROM {keys} WHERE key = {key}"
    return (
        # no OR IGNORE: what the statement that runs the trigger says of conflicts would take its place
        f"INSERT INTO {keys} (key) SELECT {key} WHERE {is_new}",
        f"INSERT INTO {quote(_index(schema))} (rowid, {_column(schema)}) {texts}",
    )


def _texts(schema: ResourceSchema, row: str) -> str:
    most = most_searched(len(schema.search))
    return " || ' ' || ".join(f"coalesce(substr({row}.{quote(name)}, 1, {most}), '')" for name in schema.search)


def _column(schema: ResourceSchema) -> str:
    """The one column, whose name tells what is searched: with other fields it is another statement."""
    return quote(f"of {' '.join(schema.search)}")


def _index(schema: ResourceSchema) -> str:
    return tables_of_search(schema.table)[1]


def _keys(schema: ResourceSchema) -> str:
    return tables_of_search(schema.table)[0]
