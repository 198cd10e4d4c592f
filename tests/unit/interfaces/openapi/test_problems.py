"""Every code that a client can meet is explained, in the page and in the documentation."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic_core.core_schema import ErrorType

import crudite
from crudite.interfaces.openapi.problems import (
    FAULTS,
    PROBLEMS,
    VALUES,
    as_html,
    as_markdown,
    problem_classes,
)

SOURCE = Path(crudite.__file__).parent
PAGE = Path(__file__).parents[4] / "docs" / "reference" / "problems.md"
MAKERS = {"Fault": 0, "fault": 0, "complain": 0, "_bad": 0, "_fault": 0, "add_fault": 1, "_faults": 1}
"""The functions that are given the code of a fault, and as which argument."""


def test_every_problem_of_the_error_tree_is_explained_and_nothing_else() -> None:
    assert {kind.code for kind in problem_classes()} == set(PROBLEMS)


def test_every_code_of_a_fault_in_the_source_is_explained_and_nothing_else() -> None:
    used = set(fault_codes())
    assert len(used) > 20
    assert used - set(FAULTS) - set(VALUES) == set()
    assert set(FAULTS) - used == set()


def test_every_explained_code_of_a_value_is_one_of_pydantics() -> None:
    assert set(VALUES) - set(get_args(ErrorType)) == set()


def test_the_page_in_the_documentation_says_what_the_application_shows() -> None:
    assert PAGE.read_text("utf-8") == as_markdown()


def test_the_page_has_an_anchor_for_every_code_and_escapes_its_texts() -> None:
    page = as_html()
    for code in (*PROBLEMS, *VALUES, *(code for code in FAULTS if code not in PROBLEMS)):
        assert page.count(f'id="{code}"') == 1, code
    assert 'id="fault-not_unique"' in page
    assert "<code>&quot;12.50&quot;</code>" in page


def fault_codes() -> Iterator[str]:
    """The codes in all calls that make a fault of a request; those of declarations have none."""
    for file in SOURCE.rglob("*.py"):
        parts = set(file.relative_to(SOURCE).parts)
        if not parts & {"cli", "testing", "stores", "openapi", "compile.py", "gather.py"}:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                yield from codes_in(node)
                if "validators" in parts and isinstance(node, ast.AnnAssign) and node.value is not None:
                    yield from literals(node.value) if getattr(node.target, "id", "") == "code" else ()


def codes_in(node: ast.AST) -> Iterator[str]:
    """The literal codes in a call that makes a fault, or in an assignment to `code`."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        place = MAKERS.get(name)
        if place is not None and len(node.args) > place:
            yield from literals(node.args[place])
    elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("code", "BAD_TEXT"):
        yield from literals(node.value)


def literals(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from (*literals(node.body), *literals(node.orelse))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
