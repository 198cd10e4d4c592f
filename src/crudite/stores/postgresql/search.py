"""The index of the words of a resource's searched fields: a function that takes a text apart, and a GIN index over it.

The function finds the words that `query.words` does, by its tables, whatever the server's locale; no extension and no
text search configuration is asked. In a text of ASCII alone, which is most of them, there is little to do. Words are
kept as lexemes without positions. Its name counts its versions: an index rests on what it did when the index was made.
"""

from crudite.query.sql import quote
from crudite.query.words import FOLDS, MOST_ASKED, MOST_SEARCHED, SEPARATORS, code_points
from crudite.schema import ResourceSchema

FUNCTION = "crudite words 1"

_COMMON = "".join(map(chr, (0x20, *range(0x61, 0x7B), *range(0x430, 0x450), *range(0x3B1, 0x3CA))))
"""What stands first among the letters, since each letter of a text is looked up from the first one on."""


def create_function() -> str:
    """The statement that makes the function; its settings do not depend on the session's."""
    folds = {**dict(zip(_COMMON, _COMMON, strict=True)), **{chr(code): folded for code, folded in FOLDS.items()}}
    kept = {letter: folded for letter, folded in folds.items() if folded}
    marks = "".join(letter for letter in folds if letter not in kept)
    ranges = "".join(f"{_escaped(first)}-{_escaped(last)}" for first, last in code_points(SEPARATORS))
    return f"""CREATE FUNCTION {quote(FUNCTION)}(given text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $crudite$
DECLARE
  folded text;
BEGIN
  IF octet_length(given) = length(given) THEN
    folded := regexp_replace(lower(given COLLATE "C"), '[^a-z0-9]+', ' ', 'g');
  ELSE
    folded := translate(given, '{"".join(kept)}{marks}', '{"".join(kept.values())}');
    folded := regexp_replace(folded, E'[{ranges}]+', ' ', 'g');
  END IF;
  RETURN (SELECT array_to_tsvector(coalesce(array_agg(DISTINCT left(word, {MOST_ASKED + 1})), ARRAY[]::text[]))
    FROM string_to_table(folded, ' ') AS word WHERE word <> '');
END
$crudite$"""


def create_index(schema: ResourceSchema, name: str) -> str:
    """The statement that makes the index of a resource's words."""
    return f"CREATE INDEX {quote(name)} ON {quote(schema.table)} USING gin ({_words(schema, '')})"


def found(schema: ResourceSchema, alias: str, parameter: str) -> str:
    """Whether the row `alias` has all of the words that are bound to a parameter, with a space between."""
    asked = f"('''' || replace({parameter}, ' ', ''' & ''') || ''':*')::tsquery"
    return f"{_words(schema, f'{alias}.')} @@ {asked}"


def _words(schema: ResourceSchema, row: str) -> str:
    most = MOST_SEARCHED // len(schema.search)
    texts = " || ' ' || ".join(f"coalesce(left({row}{quote(name)}, {most}), '')" for name in schema.search)
    return f"{quote(FUNCTION)}({texts})"


def _escaped(code: int) -> str:
    return f"\\\\U{code:08X}"
