"""One server process, the same for every peer: uvicorn, uvloop, httptools, one worker, one core."""

import argparse
import importlib
import os
import socket
from pathlib import Path

import uvicorn

from benchmarks import machine, sampling


def main() -> None:
    """Serve one peer on a free port of 127.0.0.1, which is printed, until the process is told to end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("module")
    parser.add_argument("database", type=Path)
    parser.add_argument("--core", type=int)
    parser.add_argument("--samples", type=Path, help="where to write samples, see sampling.listen")
    asked = parser.parse_args()
    machine.pin(asked.core)
    machine.allow_connections()
    os.environ["BENCH_DATABASE"] = str(asked.database)
    peer = importlib.import_module(asked.module)
    if hasattr(peer, "prepare"):
        peer.prepare()
    config = uvicorn.Config(
        peer.app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
        backlog=2048,
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    if asked.samples:
        sampling.listen(asked.samples)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
