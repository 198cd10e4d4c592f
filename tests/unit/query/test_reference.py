"""The reference names every operator, code of a fault, and limit that there is."""

import re
from pathlib import Path

import pytest

from crudite.query import comparisons, faults, parse, paths, resolve
from crudite.query.tree import OPERATORS

ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs/reference/queries.md").read_text("utf-8")
SOURCE = "".join(path.read_text("utf-8") for path in sorted((ROOT / "src/crudite/query").glob("*.py")))


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_is_documented(operator: str) -> None:
    assert f"`{operator}`" in REFERENCE


def test_every_fault_is_documented() -> None:
    codes = set(re.findall(r"(?:fault|complain|_bad|Fault)\(\s*(?:self\.faults, )?\"([a-z_]+)\"", SOURCE)) | {
        "bad_text"
    }
    assert len(codes) > 12
    assert {code for code in codes if f"`{code}`" not in REFERENCE} == set()


@pytest.mark.parametrize(
    "limit",
    [resolve.MAX_NODES, comparisons.MAX_LIST, paths.MAX_PATH, paths.MAX_NAME, parse.MAX_DEPTH,
     resolve.MAX_SORT, resolve.MAX_NAMES, parse.MAX_NUMBER, faults.MOST_FAULTS],
)  # fmt: skip
def test_every_limit_is_documented(limit: int) -> None:
    assert f"| {limit} |" in REFERENCE


@pytest.mark.parametrize("name", parse.RESERVED)
def test_every_reserved_name_is_documented(name: str) -> None:
    assert re.search(rf"\(`[a-z ]*\b{name}\b[a-z ]*`\)", REFERENCE)
