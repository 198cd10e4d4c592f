"""Declarations type-check in the editor as they are written in the documentation, and mistakes are found."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "typing"
ROOT = Path(__file__).parents[2]
TOOLS = {"mypy": ["--strict", "--no-error-summary"], "pyright": ["--pythonpath", sys.executable]}


def run(tool: str, file: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} is not installed")
    command = [program, *TOOLS[tool], str(HERE / file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT, check=False)


@pytest.fixture(params=sorted(TOOLS))
def check(request: pytest.FixtureRequest) -> Callable[[str], subprocess.CompletedProcess[str]]:
    return lambda file: run(request.param, file)


def test_the_declarations_of_the_documentation_are_clean(
    check: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    result = check("declarations.py")

    assert result.returncode == 0, result.stdout + result.stderr


def test_every_mistake_is_found_and_nothing_else(
    check: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    result = check("mistakes.py")

    lines = (HERE / "mistakes.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if "# MISTAKE" in line}
    reported = {int(number) for number in re.findall(r"mistakes\.py:(\d+)(?::\d+)?(?: -)?:? error", result.stdout)}
    assert reported == wrong, result.stdout + result.stderr
