"""A JavaScript engine for clients and tests written in JavaScript."""

import pytest

from tests.services import BIN, missing


@pytest.fixture(scope="session")
def node() -> str:
    """The path of a Node executable, version 20 or newer; `npm` and `npx` lie beside it."""
    if not (BIN / "node").exists():
        missing("node", "make .tools/bin/node")
    return str(BIN / "node")
