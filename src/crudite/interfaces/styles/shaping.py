"""What `pick`, `omit`, `whereKey` and `whereValue` in a URL make of records, as wheelhouse-resource had them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crudite.interfaces.styles.options import Row


@dataclass(frozen=True, slots=True)
class Shape:
    """What a URL asks for: only the attributes `pick`, none of `omit`; of a list only the records in which `where`'s
    attribute has its value."""

    pick: frozenset[str] | None = None
    omit: frozenset[str] = frozenset()
    where: tuple[str, str] | None = None

    @classmethod
    def of(cls, parameters: Sequence[tuple[str, str]]) -> "Shape":
        """The shape in some parameters. A value to look for goes with its key only."""
        given = dict(parameters)
        key, value = given.get("whereKey"), given.get("whereValue")
        return cls(
            pick=_names(given["pick"]) if given.get("pick") else None,
            omit=_names(given.get("omit", "")),
            where=(key, value) if key and value is not None else None,
        )

    def one(self, row: Row) -> Row:
        """A record with the attributes that are asked for."""
        picked = self.pick
        return {name: v for name, v in row.items() if (picked is None or name in picked) and name not in self.omit}

    def looks_for(self, shown: Row) -> bool:
        """Whether a record of a list is one of those that are asked for, by what is shown of it."""
        if self.where is None:
            return True
        name, text = self.where
        return name in shown and is_meant(shown[name], text)


def typed(text: str) -> Any:
    """The value that a text in a URL stands for: `true` and `false` themselves, a text where there is a letter in it, a
    float where there is a point, else an integer. What is no number then is a text."""
    if text in ("true", "false"):
        return text == "true"
    if any(one.isalpha() for one in text):
        return text
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def is_meant(value: Any, text: str) -> bool:
    """Whether a value of a record is what a text in a URL stands for; a decimal or a large integer, which are texts in
    JSON, by its text."""
    if isinstance(value, str):
        return value == text
    meant = typed(text)
    return isinstance(value, bool) is isinstance(meant, bool) and bool(value == meant)


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, (name.strip() for name in text.split(","))))
