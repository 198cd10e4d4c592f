"""Whoever starts while PostgreSQL starts too, as after a machine comes up again, waits for it, and says so."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from crudite.errors import StoreError
from crudite.stores.postgresql import PostgresqlStore
from crudite.testing.samples import LIBRARY
from tests.services.cluster import Cluster, cluster
from tests.services.workers import eventually, started

TODO = """
from crudite import App, Record, allow

class Todo(Record[str], rules=allow.everyone):
    title: str

app = App(Todo)
"""


@pytest.fixture
def recovering() -> Iterator[tuple[Cluster, Path]]:
    """A server that recovers for as long as a file is there."""
    with cluster() as server:
        server.stop()
        gate, data = server.folder / "gate", server.folder / "data"
        gate.touch()
        (data / "recovery.signal").touch()
        account = server.installation.account
        if account is not None:
            shutil.chown(data / "recovery.signal", account)
        held = f"while [ -e {gate} ]; do sleep 0.05; done; false"
        options = f"-c listen_addresses=127.0.0.1 -p {server.port} -k {server.folder} -c hot_standby=off"
        command = f"{options} -c restore_command='{held}'"
        server.installation.run("pg_ctl", "-D", data, "-W", "-l", data / "log", "-o", command, "start")
        try:
            yield server, gate
        finally:
            gate.unlink(missing_ok=True)


async def begun(server: Cluster) -> None:
    """Returns when the server answers that it is not ready yet."""

    async def answers() -> bool:
        try:
            await asyncpg.connect(server.url)
        except asyncpg.CannotConnectNowError:
            return True
        except OSError:
            return False
        raise AssertionError("it is ready already")

    await eventually(answers)


async def test_who_starts_while_the_database_does_waits_for_it_and_says_so_once(
    tmp_path: Path, recovering: tuple[Cluster, Path]
) -> None:
    server, gate = recovering
    await begun(server)
    (tmp_path / "todo.py").write_text(TODO)
    async with started(tmp_path, "todo.py", "--store", f"{server.url}?connect_timeout=60") as parent:
        await parent.until(r"the database system is .*: waiting for it, for at most 60 seconds")
        assert not parent.said("serves")
        gate.unlink()
        await parent.until(r"serves todo\.py at http://127\.0\.0\.1:\d+")
        assert len(parent.said("waiting for it")) == 1


async def test_a_database_that_does_not_get_ready_in_time_is_an_error(
    recovering: tuple[Cluster, Path], caplog: pytest.LogCaptureFixture
) -> None:
    server, _ = recovering
    await begun(server)
    with pytest.raises(StoreError, match="the database system is"):
        await PostgresqlStore(f"{server.url}?connect_timeout=0.3").open(LIBRARY)
    assert caplog.text.count("waiting for it") == 1


async def test_nobody_waits_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StoreError):
        await PostgresqlStore("postgresql://postgres@127.0.0.1:1/none?connect_timeout=600").open(LIBRARY)
    assert "waiting for it" not in caplog.text
