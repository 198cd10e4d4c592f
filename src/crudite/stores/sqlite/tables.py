"""A table as it is in the file: its columns, each in the words that define it, and making it anew of others.

SQLite keeps the statement that made a table, and edits its text when another program adds or renames a column.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import apsw

from crudite.query.sql import quote
from crudite.stores.sqlite.connections import rows
from crudite.stores.sqlite.ddl import literal, table_of

_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|[^'"`\[(),/-]+|.""", re.DOTALL
)
_NULL = (None, "NULL", "(NULL)")
# as we write them; what another program has made is left as it is
_NOT_NULL = re.compile(r'("(?:[^"]|"")+" [A-Z]+) NOT NULL(?! PRIMARY KEY)')
_REFERENCES = re.compile(r' REFERENCES "(?:[^"]|"")+" \("(?:[^"]|"")+"\)(?: ON DELETE (?:CASCADE|SET NULL))?$')


class Column(NamedTuple):
    """A column: the words that define it, whether it may be null, whether it is when nothing is given, and whether it
    is computed from others."""

    text: str
    may_be_null: bool
    is_null_by_default: bool
    is_computed: bool

    @property
    def may_be_left_out(self) -> bool:
        """Whether rows can be written without it."""
        return self.may_be_null or not self.is_null_by_default or self.is_computed

    def loosened(self) -> "Column":
        """The same, for nobody to write it any more: it points at nothing, and may be null where it has no default."""
        text, may_be_null = _REFERENCES.sub("", self.text), self.may_be_null
        if not self.may_be_left_out:
            text, count = _NOT_NULL.subn(r"\1", text)
            may_be_null = count == 1
        return self._replace(text=text, may_be_null=may_be_null)


class Table(NamedTuple):
    """A table by its columns, and what else its statement says: constraints of the whole table, and its options."""

    columns: dict[str, Column]
    constraints: list[str]
    options: str


def read_table(connection: apsw.Connection, name: str, statement: str) -> Table:
    """The table that a statement has made."""
    parts, options = _split(statement)
    found = rows(connection, f"PRAGMA table_xinfo({quote(name)})")
    columns = {
        column: Column(text, not required, default in _NULL, hidden != 0)
        for text, (_, column, _, required, default, _, hidden) in zip(parts, found, strict=False)
    }
    return Table(columns, parts[len(found) :], options)


def remake(
    source: str, name: str, columns: Mapping[str, str], options: str, values: Mapping[str, str], after: Iterable[str]
) -> tuple[str, ...]:
    """The statements that make a table anew of columns, each as it is defined, fill it with values out of what it was,
    each by an expression, and let others follow, such as those that make its indexes."""
    fresh = f"_new {name}"
    names = ", ".join(map(quote, values))
    sql = [
        table_of(fresh, columns.values(), options),
        f"INSERT INTO {quote(fresh)} ({names}) SELECT {', '.join(values.values())} FROM {quote(source)}",
    ]
    if any(" AUTOINCREMENT" in text for text in columns.values()):
        new, old = literal(fresh), literal(source)
        sql.append(f"DELETE FROM sqlite_sequence WHERE name = {new}")
        text = f"INSERT INTO sqlite_sequence (name, seq) SELECT {new}, seq FROM sqlite_sequence"
        sql.append(f"{text} WHERE name = {old}")
    return (*sql, f"DROP TABLE {quote(source)}", f"ALTER TABLE {quote(fresh)} RENAME TO {quote(name)}", *after)


def _split(statement: str) -> tuple[list[str], str]:
    """What a CREATE TABLE has between its parentheses, by its commas, and what comes behind them."""
    parts, depth, part = list[str](), 0, ""
    for token in _TOKEN.finditer(statement):
        text = token[0]
        if text == "(":
            depth += 1
            if depth == 1:
                continue
        elif text == ")":
            depth -= 1
            if depth == 0:
                return [*parts, part.strip()], statement[token.end() :].strip()
        elif text == "," and depth == 1:
            parts.append(part.strip())
            part = ""
            continue
        if depth:
            part += text
    return parts, ""
