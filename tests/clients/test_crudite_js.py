"""The browser client, tested by Node's own test runner against a server that does only what a test says."""

import subprocess
from pathlib import Path

import pytest

SUITES = sorted((Path(__file__).parent / "browser").glob("*.test.mjs"))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.removesuffix(".test.mjs"))
def test_the_browser_client_keeps_its_promises(node: str, suite: Path) -> None:
    finished = subprocess.run(
        [node, "--test", "--test-reporter=spec", str(suite)], capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "ℹ tests 0" not in finished.stdout, "the suite holds no test"


def test_there_are_suites_to_run() -> None:
    assert [suite.name for suite in SUITES] == [
        "channels.test.mjs",
        "connection.test.mjs",
        "live.test.mjs",
        "model.test.mjs",
        "sorting.test.mjs",
        "writes.test.mjs",
    ]
