"""Every bus keeps the promises of the port, each on the real thing."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from crudite.buses import open_bus
from crudite.buses.base import Bus
from crudite.testing.buses import BusContract, LonelyBusContract


class TestLocalBus(LonelyBusContract):
    """Within one process."""

    def make_bus(self, place: Path) -> Bus:
        """The bus of an object."""
        return open_bus("local:")


class TestUnixBus(BusContract):
    """Siblings: whoever enters first is the hub."""

    def make_bus(self, place: Path) -> Bus:
        """A sibling, with its socket where the path is short enough for one."""
        return open_bus(f"unix://{self.root / name_of(place)}")

    @pytest.fixture(autouse=True)
    def _root(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        self.root = tmp_path_factory.mktemp("bus")
        return iter([None])


class OnServer(BusContract):
    """On a server, each place a prefix of its own."""

    server: str

    def make_bus(self, place: Path) -> Bus:
        """A bus under the place's prefix."""
        return open_bus(f"{self.server}?prefix={name_of(place)}")


class TestNatsBus(OnServer):
    """On NATS."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls, nats: str) -> None:
        cls.server = nats


class TestRedisBus(OnServer):
    """On Valkey, which speaks as Redis does."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls, valkey: str) -> None:
        cls.server = valkey


class TestPostgresqlBus(OnServer):
    """On PostgreSQL's notifications."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls, postgresql: str) -> None:
        cls.server = postgresql


def name_of(place: Path) -> str:
    """A short name for a directory."""
    return hashlib.blake2b(str(place).encode(), digest_size=8).hexdigest()
