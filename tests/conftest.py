"""What every test shares: real services, hypothesis profiles, and a loud word about what could not run."""

import os
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.services import MISSING, VERSIONS

pytest_plugins = [
    "tests.services.browser",
    "tests.services.nats",
    "tests.services.node",
    "tests.services.postgresql",
    "tests.services.secrets",
    "tests.services.valkey",
]

# Where the environment wants none written, each process of tests, and each that they start, would compile everything.
sys.dont_write_bytecode = False

# A shared machine makes time limits per example lie; the number of examples is the budget.
settings.register_profile("default", max_examples=60, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("thorough", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(optionalhook=True)  # one process knows no such hook
def pytest_xdist_auto_num_workers() -> int:
    """One process for each core and one more: half of what they do is to wait for servers, browsers and disks. With two
    for each core, all of them together were slower."""
    return min((os.cpu_count() or 1) + 1, 8)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Crudite speaks asyncio only."""
    return "asyncio"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of a parallel run hands over what it has started."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["versions"] = VERSIONS


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Gather what the processes of a parallel run have started."""
    VERSIONS.update(getattr(node, "workeroutput", {}).get("versions", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the very end which servers ran, and which tests did not because this machine lacks something."""
    if VERSIONS:
        versions = (f"{name} {version}" for name, version in sorted(VERSIONS.items()))
        terminalreporter.line(f"Ran with {', '.join(versions)}")
    absent: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if reason.startswith(MISSING):
            absent[reason] = absent.get(reason, 0) + 1
    if absent:
        terminalreporter.section("NOT EVERYTHING WAS TESTED", sep="!", red=True, bold=True)
        for reason, count in sorted(absent.items()):
            terminalreporter.line(f"{count} skipped: {reason}", red=True)
