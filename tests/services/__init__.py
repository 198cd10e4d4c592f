"""Real services that the tests start themselves: a database, a browser, a JavaScript engine."""

from pathlib import Path
from typing import NoReturn

import pytest

MISSING = "missing on this machine: "
BIN = Path(__file__).parents[2] / ".tools" / "bin"


def missing(name: str, remedy: str) -> NoReturn:
    """Skip the asking test because the machine lacks `name`; the end of the run tells it loudly."""
    pytest.skip(f"{MISSING}{name} ({remedy})")
