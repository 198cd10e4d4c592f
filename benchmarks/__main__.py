"""The command: `python -m benchmarks` measures everything, `… profile` shows where one case's time goes."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import fanout, http_cases, load, machine, report, sampling
from benchmarks.peers import CRUDITE, PEERS
from benchmarks.servers import BenchmarkError, serving


def main() -> int:
    """0 when everything was measured, 1 when a server failed or answered wrongly; no figure fails a run."""
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="crudite-bench-", dir=asked.directory) as made:
        directory = Path(made)
        facts = {**machine.facts(directory), "load": load.tool()}
        server_core, load_core = machine.cores()
        pinned = server_core is not None
        facts["cores"] += f"; server on {server_core}, load on {load_core}" if pinned else "; not pinned"
        machine.pin(load_core)
        print(report.head(facts), end="\n\n", flush=True)
        try:
            if asked.command == "profile":
                profile(directory, server_core, asked)
            else:
                measure(directory, server_core, asked, facts)
        except BenchmarkError as error:
            print(f"Stopped: {error}", file=sys.stderr)
            return 1
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: does it run, not how fast")
    parser.add_argument("--only", choices=("http", "fanout"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file too")
    parser.add_argument("--directory", type=Path, help="where the databases lie while it runs")
    every = ",".join(peer.name for peer in http_cases.PEERS)
    parser.add_argument("--peers", default=every, help=f"for HTTP, by commas; usually {every}")
    parser.add_argument("--subscribers", type=int, default=1000)
    commands = parser.add_subparsers(dest="command")
    profiling = commands.add_parser("profile", help="where the server's time goes in one HTTP case")
    profiling.add_argument("case", choices=http_cases.CASES)
    profiling.add_argument("peer", nargs="?", choices=list(PEERS), default=CRUDITE.name)
    profiling.add_argument("--seconds", type=float, default=6)
    return parser.parse_args()


def measure(directory: Path, core: int | None, asked: argparse.Namespace, facts: dict[str, str]) -> None:
    """Run what was asked for and print tables as they become whole."""
    samples: list[http_cases.Sample] = []
    found: list[fanout.Delivery] = []
    if asked.only != "fanout":
        seconds, rounds = (1.0, 1) if asked.quick else (4.0, 3)
        peers = tuple(PEERS[name] for name in asked.peers.split(","))
        for sample in http_cases.measure(directory, core, seconds, rounds, peers):
            samples.append(sample)
            print(f"  {sample.case}, {sample.peer}: {sample.rate:,.0f} requests/s", file=sys.stderr)
        print(report.http(http_cases.figures(samples)), end="\n\n", flush=True)
    if asked.only != "http":
        changes, seconds = (5, 1.0) if asked.quick else (100, 4.0)
        found = list(fanout.measure(directory, core, asked.subscribers, changes, seconds))
        print(report.fanout(found), flush=True)
    if asked.json:
        report.write_json(asked.json, facts, http_cases.figures(samples), samples, found)


def profile(directory: Path, core: int | None, asked: argparse.Namespace) -> None:
    """Load one case while the server samples itself; a third of the rate may be lost to the sampling."""
    file = directory / "samples.json"
    with serving(PEERS[asked.peer], directory, core, file) as server:
        case = http_cases.case(asked.case, server)
        load.put(server, case, 1, directory)
        os.kill(server.pid, signal.SIGUSR1)
        done = load.put(server, case, asked.seconds, directory)
        os.kill(server.pid, signal.SIGUSR2)
    used, groups, functions = sampling.by_group(file)
    rate, each = done.requests / done.seconds, used / done.requests * 1e6
    print(f"{asked.case}, {asked.peer}: {rate:,.0f} requests/s, {each:.1f} µs CPU each\n")
    for title, rows in (("part of the program", groups), ("function (with the C calls it makes)", functions)):
        lines = [["share", title, "µs a request"]]
        lines += [[f"{share:6.1%}", name, f"{share * each:.2f}"] for name, share in rows if share >= 0.005]
        print(report.table(lines), end="\n\n")


if __name__ == "__main__":
    sys.exit(main())
