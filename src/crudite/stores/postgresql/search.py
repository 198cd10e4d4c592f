"""The index of the words of a resource's searched fields: a function that takes a text apart, and a GIN index over it.

The function finds the words that `query.words` does, by its tables, whatever the server's locale; no extension and no
text search configuration is asked. In a text of ASCII alone, which is most of them, there is little to do. Words are
kept as lexemes without positions. Its name counts its versions: an index rests on what it did when the index was made.
"""

from crudite.query.sql import quote
from crudite.query.words import FOLDS, MOST_ASKED, SEPARATORS, code_points, most_searched
from crudite.schema import ResourceSchema

FUNCTION = "crudite words 1"

_COMMON = "".join(map(chr, (*range(0x61, 0x7B), *range(0x430, 0x450), *range(0x3B1, 0x3CA))))
"""What stands first among the letters, since each letter of a word is looked up from the first one on."""

_FOLDED = "B5-556 10A0-10CD 1E00-1FFC 2126-2183 2C00-2CF2 A640-A7AA FF21-FF3A 10400-10427"
"""Where all letters lie that are folded, but for those of ASCII: words without any are not looked at by letter."""


def create_function() -> str:
    """The statement that makes the function; what it does depends on no setting of a session."""
    folds = {**dict(zip(_COMMON, _COMMON, strict=True)), **{chr(code): folded for code, folded in FOLDS.items()}}
    kept = {letter: folded for letter, folded in folds.items() if folded}
    marks = "".join(letter for letter in folds if letter not in kept)
    return f"""CREATE FUNCTION {quote(FUNCTION)}(given text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $crudite$
DECLARE
  words text := lower(given COLLATE "C");
BEGIN
  IF octet_length(given) = length(given) THEN
    words := regexp_replace(words, '[^a-z0-9]+', ' ', 'g');
  ELSE
    words := regexp_replace(words, E'{_class(SEPARATORS)}+', ' ', 'g');
  END IF;
  RETURN (
    SELECT array_to_tsvector(coalesce(array_agg(DISTINCT left(folded, {MOST_ASKED + 1})), ARRAY[]::text[]))
    FROM string_to_table(words, ' ') AS word, LATERAL (
      SELECT CASE WHEN word ~ E'{_class(_FOLDED)}'
        THEN translate(word, '{"".join(kept)}{marks}', '{"".join(kept.values())}') ELSE word END
    ) AS f (folded)
    WHERE folded <> ''
  );
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
    most = most_searched(len(schema.search))
    texts = " || ' ' || ".join(f"coalesce(left({row}{quote(name)}, {most}), '')" for name in schema.search)
    return f"{quote(FUNCTION)}({texts})"


def _class(ranges: str) -> str:
    """The bracket expression of code points, inside an SQL literal with escapes."""
    return "[" + "".join(f"\\\\U{first:08X}-\\\\U{last:08X}" for first, last in code_points(ranges)) + "]"
