"""Every feature that an older system promised is shown by a test here, or has a row in docs/coming-from that says what
to use instead."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCUMENTS = TESTS.parents[1] / "docs" / "coming-from"
HOW_MANY = {"B": 133, "W": 50}

_MARKER = re.compile(r"@pytest\.mark\.promises\(([^)]*)\)")
_ROW = re.compile(r"^\|([^|]+)\|.*\|.*\|\s*$", re.MULTILINE)
_ID = re.compile(r"\b[A-Z]\d+\b")


def shown() -> set[str]:
    """The numbers that tests in this directory name."""
    texts = (file.read_text() for file in sorted(TESTS.glob("test_*.py")))
    return {one for text in texts for marker in _MARKER.findall(text) for one in _ID.findall(marker)}


def written() -> set[str]:
    """The numbers in the first column of the tables of docs/coming-from; `B3–B5` stands for three."""
    found: set[str] = set()
    for document in sorted(DOCUMENTS.glob("*.md")):
        for cell in _ROW.findall(document.read_text()):
            for kind, first, last in re.findall(r"\b([A-Z])(\d+)[–-][A-Z]?(\d+)\b", cell):
                found |= {f"{kind}{number}" for number in range(int(first), int(last) + 1)}
            found |= set(_ID.findall(cell))
    return found


@pytest.mark.parametrize("system", HOW_MANY)
def test_every_number_is_shown_by_a_test_or_has_a_row_that_says_what_to_use_instead(system: str) -> None:
    every = {f"{system}{number}" for number in range(1, HOW_MANY[system] + 1)}
    missing = every - shown() - written()
    assert sorted(missing, key=lambda one: int(one[1:])) == []


def test_no_test_and_no_row_speaks_of_a_number_that_is_not_there() -> None:
    every = {f"{system}{number}" for system, count in HOW_MANY.items() for number in range(1, count + 1)}
    assert {one for one in shown() | written() if one[0] in HOW_MANY} - every == set()
