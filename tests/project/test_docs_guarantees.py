"""Every promise of the guarantees names tests that are there."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "what-we-guarantee.md"


def test_every_docs_promise_links_to_a_test_that_exists() -> None:
    text = PAGE.read_text()
    links = re.findall(r"\[(test_\w+)\]\(([^)]+)\)", text)
    assert len(links) > 30
    for name, place in links:
        assert f"def {name}(" in (PAGE.parent / place).read_text(), name


def test_every_docs_promise_has_a_proof() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "promise" not in line]
    assert rows
    assert all("](../../tests/" in row for row in rows)
