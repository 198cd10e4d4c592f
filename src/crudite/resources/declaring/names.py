"""How a resource is called in URLs and in the database."""

import re

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def words_of(name: str) -> list[str]:
    """The words of a class's name in lower case: `LineItem` gives `line`, `item`."""
    return [word.lower() for word in _WORD.findall(name)]


def plural(word: str) -> str:
    """The plural by three rules: -y after a consonant becomes -ies; -s, -x, -z, -ch and -sh take -es; else
    -s."""
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


def path_of(name: str) -> str:
    """The path of a class: `LineItem` gives `line-items`."""
    return "-".join(_pluralised(name))


def table_of(name: str) -> str:
    """The table of a class: `LineItem` gives `line_items`."""
    return "_".join(_pluralised(name))


def _pluralised(name: str) -> list[str]:
    *first, last = words_of(name) or [name.lower()]
    return [*first, plural(last)]
