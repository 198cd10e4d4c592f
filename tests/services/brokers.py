"""What carries messages between processes, as real servers on free ports that can be killed and started again."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

Command: TypeAlias = Callable[[int, Path], Sequence[str | Path]]
"""How a server is started that listens on a port of the loopback interface and keeps its files in a folder."""


class Broker:
    """A server in a process of its own, always on the same port. `url` is where it is, or will be."""

    def __init__(self, scheme: str, command: Command, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._command = command(self.port, folder)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers; what it says is shown when it does not."""
        with (self._folder / "output").open("wb+") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output, cwd=self._folder)
            for _ in range(1000):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                        return
                if self._process.poll() is not None:
                    break
                time.sleep(0.01)
            output.seek(0)
            raise RuntimeError(f"{self._command[0]} does not answer:\n{output.read().decode(errors='replace')}")

    def kill(self) -> None:
        """Ends it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None


@contextmanager
def broker(scheme: str, command: Command) -> Iterator[Broker]:
    """A running server for the time of a block."""
    with tempfile.TemporaryDirectory(prefix=f"{scheme}-") as name:
        server = Broker(scheme, command, Path(name))
        try:
            server.start()
            yield server
        finally:
            server.kill()
