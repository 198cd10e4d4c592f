"""One server process in Python: an ASGI peer under uvicorn, uvloop, httptools; or our command line, sampled."""

import argparse
import importlib
import os
import sys
from pathlib import Path

import uvicorn

from benchmarks import sampling

HERE = Path(__file__).parent


def main() -> None:
    """Serve one file of `peers/` on a port of 127.0.0.1 until the process is told to end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("runner", choices=("asgi", "crudite"))
    parser.add_argument("source")
    parser.add_argument("port", type=int)
    parser.add_argument("database", type=Path)
    parser.add_argument("--store", help="the URL of the database, instead of the path")
    parser.add_argument("--samples", type=Path, help="where to write samples, see sampling.listen")
    asked = parser.parse_args()
    if asked.samples:
        sampling.listen(asked.samples)
    if asked.runner == "crudite":
        serve_crudite(asked)
    else:
        serve_asgi(asked)


def serve_crudite(asked: argparse.Namespace) -> None:
    """What `crudite run` does, in this process."""
    from crudite.cli import main as command

    sys.argv = ["crudite", "run", str(HERE / "peers" / asked.source), "--port", str(asked.port)]
    sys.argv += ["--store", asked.store or str(asked.database)]
    command()


def serve_asgi(asked: argparse.Namespace) -> None:
    os.environ["BENCH_DATABASE"] = asked.store or str(asked.database)
    peer = importlib.import_module(f"benchmarks.peers.{asked.source.removesuffix('.py')}")
    if hasattr(peer, "prepare"):
        peer.prepare()
    uvicorn.run(
        peer.app,
        host="127.0.0.1",
        port=asked.port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
        backlog=2048,
    )


if __name__ == "__main__":
    main()
