"""Load on one server: wrk where it is installed, else our own generator."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks import generator
from benchmarks.servers import BenchmarkError, Server

CONNECTIONS = 64
SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Case:
    """One kind of request: `paths` are asked in turn, each with the same body or none."""

    name: str
    method: str
    paths: list[str]
    body: bytes = b""


@dataclass(frozen=True)
class Load:
    """What a load achieved: whole requests, wall seconds, latencies in seconds, errors (of any kind)."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int


def tool() -> str:
    """What makes the load on this machine."""
    return "wrk" if shutil.which("wrk") else "own generator (wrk is not on PATH)"


def put(server: Server, case: Case, seconds: float, directory: Path) -> Load:
    """Load a server with a case from 64 connections; BenchmarkError when a single request fails."""
    if wrk := shutil.which("wrk"):
        load = by_wrk(wrk, server, case, seconds, directory)
    else:
        load = Load(*generator.run(server.port, CONNECTIONS, seconds, case.method, case.paths, case.body))
    if load.errors or not load.requests:
        failed = f"{load.errors} errors in {load.requests} requests"
        raise BenchmarkError(f"{server.peer.name}, {case.name}: {failed}.")
    return load


def by_wrk(wrk: str, server: Server, case: Case, seconds: float, directory: Path) -> Load:
    paths, body = directory / "paths", directory / "body"
    paths.write_text("\n".join(case.paths) + "\n", encoding="ascii")
    body.write_bytes(case.body)
    # wrk takes whole seconds only.
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    command += ["-s", str(SCRIPT), f"http://127.0.0.1:{server.port}/", "--"]
    command += [case.method, str(paths), str(body) if case.body else "-"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BenchmarkError(f"wrk failed: {ran.stderr or ran.stdout}")
    return Load(**json.loads(ran.stdout.strip().rsplit("\n", 1)[-1]))
