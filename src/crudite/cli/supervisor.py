"""`crudite dev` restarts the application when a Python file changes.

This process holds the listening socket and never imports the application; a child serves on the socket. While
there is no child (it restarts, or the file has an error) new connections wait in the socket's queue.
"""

import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import typer
from watchfiles import Change, PythonFilter, watch

from crudite.cli.target import Target

_PATIENCE = 5.0
_IGNORED = (*PythonFilter.ignore_dirs, "venv", "env", "build", "dist")


def supervise(target: Target, listening: socket.socket, store: str | None) -> int:
    """Serves the target until SIGINT or SIGTERM; returns the exit code."""
    listening.set_inheritable(True)
    command = _command(target, listening, store)
    signal.signal(signal.SIGTERM, _interrupt)
    logging.getLogger("watchfiles").setLevel(logging.ERROR)
    child = _start(command)
    try:
        # The step is how long a burst of changes may last, the debounce how long we wait for one to end.
        files = PythonFilter(ignore_paths=(), extra_extensions=())
        files.ignore_dirs = _IGNORED
        for changes in watch(target.folder, watch_filter=files, debounce=300, step=30, raise_interrupt=False):
            typer.echo(f"\n{_names(changes, target.folder)} changed.")
            _end(child)
            child = _start([*command, "--restarted"])
    except KeyboardInterrupt:
        pass
    finally:
        _end(child)
    return 0


def _command(target: Target, listening: socket.socket, store: str | None) -> list[str]:
    given = ["--store", store] if store is not None else []
    return [sys.executable, "-m", "crudite.cli", "dev", target.name, "--listening", str(listening.fileno()), *given]


def _start(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, close_fds=False)  # noqa: S603 - it is this program again


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ends the child: gently, and after a while not."""
    child.terminate()
    try:
        child.wait(_PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()


def _names(changes: set[tuple[Change, str]], folder: Path) -> str:
    names = sorted({str(Path(path).relative_to(folder)) for _, path in changes})
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
