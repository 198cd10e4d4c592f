"""The judges of the figures on other stores judge, and the CPU of a server is that of all its processes."""

import subprocess
import sys

import pytest

from benchmarks.expected import http, lags, logs, workers
from benchmarks.http_cases import Sample, figures
from benchmarks.lags import NO_BUS, Lag
from benchmarks.machine import process_seconds, tree, tree_seconds


def sample(case: str, peer: str, rate: float, cpu: float = 20.0) -> Sample:
    return Sample(case, peer, 0, rate, 1.0, 2.0, cpu_us=cpu, database_us=10.0, load_us=10.0, foreign=0.0)


def test_a_lead_over_the_peer_on_postgresql_is_judged_in_its_own_case() -> None:
    case, peer = "read by key, PostgreSQL", "fastapi+sqlalchemy+asyncpg"
    (row,) = http(figures([sample(case, "crudite", 1_100), sample(case, peer, 100)]))
    assert (row.what, row.measured, row.holds) == (f"{case}, requests/s", "11.0 x (CPU 1.00 x)", True)
    (row,) = http(figures([sample(case, "crudite", 900), sample(case, peer, 100)]))
    assert row.holds is False


@pytest.mark.parametrize(("rate", "holds"), [(71, True), (69, False)])
def test_what_the_log_costs_is_judged(rate: float, holds: bool) -> None:
    found = [sample("create, SQLite", "crudite", rate), sample("create, SQLite", "crudite without the log", 100)]
    assert [row.holds for row in logs(figures(found))] == [holds]


def test_two_workers_are_judged_by_the_cores_that_are_in_use() -> None:
    found = [sample("read", "crudite", 30_000), sample("read", "crudite, 2 workers", 46_000)]
    (row,) = workers(figures(found))
    assert (row.measured, row.holds) == ("1.84 (requests/s 1.53 x one's)", True)
    found = [sample("read", "crudite", 30_000), sample("read", "crudite, 2 workers", 40_000)]
    assert [row.holds for row in workers(figures(found))] == [False]


def test_what_is_heard_without_a_bus_is_shown_and_not_judged() -> None:
    found = [
        Lag("one process", 10, 4.0, 9.0, 0.0),
        Lag(NO_BUS, 10, 15.0, 26.0, 0.0),
        Lag("over NATS", 10, 11.0, 30.0, 0.0),
    ]
    assert [row.holds for row in lags(found)] == [True, False]


def test_the_cpu_of_a_process_that_has_ended_counts_for_its_parent() -> None:
    burn = "sum(range(5_000_000))"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{burn}']); print(1, flush=True); input()"
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert tree(process.pid) == [process.pid]
            assert tree_seconds(process.pid) > process_seconds(process.pid) + 0.03
        finally:
            process.kill()
