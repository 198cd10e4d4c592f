"""Real services that the tests start themselves: a database, a browser, a JavaScript engine.

Each process of a parallel run starts its own, so that nobody waits for another's.
"""

from pathlib import Path
from typing import NoReturn

import pytest

MISSING = "missing on this machine: "
BIN = Path(__file__).parents[2] / ".tools" / "bin"
VERSIONS: dict[str, str] = {}
"""What has been started, and its version; the end of the run tells."""


def started(name: str, version: str) -> None:
    """Note that this run has real `name`, in which version."""
    VERSIONS[name] = version


def missing(name: str, remedy: str) -> NoReturn:
    """Skip the asking test because the machine lacks `name`; the end of the run tells it loudly."""
    pytest.skip(f"{MISSING}{name} ({remedy})")
