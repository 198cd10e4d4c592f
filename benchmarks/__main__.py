"""The command: `python -m benchmarks` measures everything, `… profile` shows where one HTTP case's time goes,
`… soak` runs a mixed load with crashes and judges what is left."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks import (
    distinct,
    fanout,
    http_cases,
    lags,
    load,
    machine,
    nested,
    report,
    resuming,
    sampling,
    soak,
    stores,
)
from benchmarks.http_cases import Sample
from benchmarks.peers import CRUDITE, PEERS
from benchmarks.postgresql import Postgresql
from benchmarks.report import Results
from benchmarks.servers import BenchmarkError, Unavailable, serving

Measured = TypeVar("Measured")
SECTIONS = ("http", "nested", "postgresql", "lag", "log", "workers", "frame", "stream", "matching", "crowd", "resume")


def main() -> int:
    """0 when everything was measured, 1 when a server failed or answered wrongly; no figure fails a run.

    A soak is 0 when all that it asserts holds.
    """
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="crudite-bench-", dir=asked.directory) as made:
        directory = Path(made)
        facts = {**machine.facts(directory), "load": load.tool()}
        server_core, load_core = machine.cores()
        pinned = server_core is not None
        facts["cores"] += f"; server on {server_core}, load on {load_core}" if pinned else "; not pinned"
        machine.pin(load_core)
        machine.allow_connections()
        print(report.head(facts), end="\n\n", flush=True)
        try:
            if asked.command == "profile":
                profile(directory, server_core, asked)
            elif asked.command == "soak":
                return soak.run(
                    directory, server_core, asked.minutes, asked.clients, asked.seed, asked.store, asked.workers
                )
            else:
                measure(directory, server_core, asked, facts)
        except BenchmarkError as error:
            print(f"Stopped: {error}", file=sys.stderr)
            return 1
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: does it run, not how fast")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"some of {','.join(SECTIONS)}, by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file too")
    parser.add_argument("--directory", type=Path, help="where the databases lie while it runs")
    every = ",".join(peer.name for peer in http_cases.PEERS)
    parser.add_argument("--peers", default=every, help=f"for HTTP, by commas; usually {every}")
    parser.add_argument("--clients", type=int, default=10_000, help="for one frame and for resuming")
    commands = parser.add_subparsers(dest="command")
    profiling = commands.add_parser("profile", help="where the server's time goes in one HTTP case")
    profiling.add_argument("case", choices=http_cases.CASES)
    sampled = [name for name in PEERS if PEERS[name].runner in ("crudite", "asgi")]
    profiling.add_argument("peer", nargs="?", choices=sampled, default=CRUDITE.name)
    profiling.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    profiling.add_argument("--seconds", type=float, default=6)
    soaking = commands.add_parser("soak", help="mixed load with crashes, then a verdict")
    soaking.add_argument("--minutes", type=float, default=60)
    soaking.add_argument("--clients", type=int, default=200)
    soaking.add_argument("--seed", type=int, default=1)
    soaking.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    soaking.add_argument("--workers", type=int, default=1, metavar="N", help="how many processes serve")
    asked = parser.parse_args()
    asked.only = asked.only.split(",")
    if unknown := set(asked.only) - set(SECTIONS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(SECTIONS)}")
    if unknown := set(asked.peers.split(",")) - {peer.name for peer in http_cases.PEERS}:
        parser.error(f"--peers: {', '.join(sorted(unknown))} is none of {every}")
    return asked


def measure(directory: Path, core: int | None, asked: argparse.Namespace, facts: dict[str, str]) -> None:
    """Run what was asked for, tell its progress, and print the tables when they are whole."""
    results = Results()
    rounds = 1 if asked.quick else asked.rounds
    clients = machine.connections_allowed(asked.clients)
    if clients < asked.clients:
        facts["clients"] = f"{clients} instead of {asked.clients}: the limit of open files (ulimit -n) allows no more"
        print(f"clients:  {facts['clients']}", flush=True)
    measuring = {
        "http": partial(measure_http, directory, core, asked),
        "nested": partial(measure_stores, asked, partial(nested.measure, directory, core), "nested"),
        "postgresql": partial(measure_stores, asked, partial(stores.beside_peer, directory, core), "postgresql"),
        "lag": partial(measure_lags, directory, core, 20 if asked.quick else 300),
        "log": partial(measure_stores, asked, partial(stores.with_log, directory, core), "logs"),
        "workers": partial(measure_stores, asked, partial(stores.with_workers, directory), "workers"),
        "frame": partial(measure_frames, directory, core, asked.quick, rounds, clients),
        "stream": partial(measure_streams, directory, core, asked.quick, rounds),
        "matching": partial(measure_matching, directory, core, asked.quick),
        "crowd": partial(measure_crowd, directory, core, asked.quick),
        "resume": partial(measure_resume, directory, core, min(clients, 500) if asked.quick else clients),
    }
    for section in SECTIONS:
        if section in asked.only:
            measuring[section](results)
    print("\n\n".join(results.tables()), flush=True)
    if asked.json:
        results.write_json(asked.json, facts)


def measure_http(directory: Path, core: int | None, asked: argparse.Namespace, results: Results) -> None:
    seconds, rounds = (1.0, 1) if asked.quick else (4.0, asked.rounds)
    peers = tuple(PEERS[name] for name in asked.peers.split(","))
    for each in http_cases.measure(directory, core, seconds, rounds, peers):
        results.http.append(each)
        tell(f"{each.case}, {each.peer}: {each.rate:,.0f} requests/s")


def measure_stores(
    asked: argparse.Namespace, compared: Callable[[float, int], Iterator[Sample]], name: str, results: Results
) -> None:
    for each in compared(*((1.0, 1) if asked.quick else (4.0, asked.rounds))):
        getattr(results, name).append(each)
        tell(f"{each.case}, {each.peer}: {each.rate:,.0f} requests/s")


def measure_lags(directory: Path, core: int | None, changes: int, results: Results) -> None:
    for each in whole(lags.lags(directory, core, changes)):
        results.lags.append(each)
        tell(f"sent until at the client, {each.way}: {each.p50_ms:.1f} ms")


def measure_frames(
    directory: Path, core: int | None, is_quick: bool, rounds: int, clients: int, results: Results
) -> None:
    for number in range(rounds):
        for each in whole(fanout.frames(directory, core, clients, 5 if is_quick else 30, number)):
            results.frames.append(each)
            tell(f"a frame to {clients:,}, {each.way}: {each.cpu_us:.1f} µs each, idle {each.idle_kb:.1f} KB")


def measure_streams(directory: Path, core: int | None, is_quick: bool, rounds: int, results: Results) -> None:
    for number in range(rounds):
        for each in whole(fanout.streams(directory, core, 1_000, 1.0 if is_quick else 10.0, number)):
            results.streams.append(each)
            tell(f"creates, {each.way}: {each.rate:,.0f} deliveries/s")


def measure_matching(directory: Path, core: int | None, is_quick: bool, results: Results) -> None:
    queries, changes = (5_000, 100) if is_quick else (100_000, 1_000)
    for each in distinct.matchings(directory, core, queries, changes):
        results.matchings.append(each)
        tell(f"a change beside {each.queries:,} queries: {each.seen_p50_ms:.2f} ms")


def measure_crowd(directory: Path, core: int | None, is_quick: bool, results: Results) -> None:
    connections, seconds = (50, 2.0) if is_quick else (distinct.CONNECTIONS, 30.0)
    each = distinct.crowd(directory, core, connections, distinct.OFFERED, seconds)
    results.crowds.append(each)
    tell(f"crowd: {each.rate:,.0f} changes/s")


def measure_resume(directory: Path, core: int | None, clients: int, results: Results) -> None:
    each = resuming.resume(directory, core, clients)
    results.resumes.append(each)
    tell(f"resume: {each.from_start_s:.1f} s")


def whole(calls: Iterator[Callable[[], Measured]]) -> Iterator[Measured]:
    """What the calls measure, without those whose peer cannot run here, which are told."""
    for call in calls:
        try:
            yield call()
        except Unavailable as missing:
            tell(str(missing))


def tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def profile(directory: Path, core: int | None, asked: argparse.Namespace) -> None:
    """Load one case while the server samples itself; a third of the rate may be lost to the sampling."""
    file = directory / "samples.json"
    with ExitStack() as running:
        peer = PEERS[asked.peer]
        if asked.store == "postgresql":
            database = running.enter_context(Postgresql())
            peer = replace(peer, options=("--store", database.fresh("profiled")))
        server = running.enter_context(serving(peer, directory, core, file))
        case = http_cases.case(asked.case, server)
        load.put(server, case, 1, directory)
        os.kill(server.pid, signal.SIGUSR1)
        done = load.put(server, case, asked.seconds, directory)
        os.kill(server.pid, signal.SIGUSR2)
    used, groups, functions = sampling.by_group(file)
    rate, each = done.requests / done.seconds, used / done.requests * 1e6
    print(f"{asked.case}, {asked.peer}, {asked.store}: {rate:,.0f} requests/s, {each:.1f} µs CPU each\n")
    for title, rows in (("part of the program", groups), ("function (with the C calls it makes)", functions)):
        lines = [["share", title, "µs a request"]]
        lines += [[f"{share:6.1%}", name, f"{share * each:.2f}"] for name, share in rows if share >= 0.005]
        print(report.table(lines), end="\n\n")


if __name__ == "__main__":
    sys.exit(main())
