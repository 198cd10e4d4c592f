"""A JavaScript engine for clients and tests written in JavaScript."""

import subprocess

import pytest

from tests.services import BIN, missing, started


@pytest.fixture(scope="session")
def node() -> str:
    """The path of a Node executable, version 20 or newer; `npm` and `npx` lie beside it."""
    if not (BIN / "node").exists():
        missing("node", "make .tools/bin/node")
    version = subprocess.run([BIN / "node", "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    started("Node", version.strip().removeprefix("v"))
    return str(BIN / "node")
