"""No secret is ever in a log: what is logged in all tests is looked through for passwords and tokens that they use."""

import logging
import re
from collections.abc import Iterator

import pytest

PLANTED = re.compile(r"correct horse|\bcr[ds]_[A-Za-z0-9_-]{30,}|\$argon2id\$")
"""The password of the stories, tokens of sessions and keys of the API, and hashes of passwords."""


class _Scan(logging.Handler):
    """Keeps what holds a secret."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Looks through one record, and the traceback that is logged with it."""
        text = self.format(record)
        if PLANTED.search(text):
            self.found.append(f"{record.name}: {text}")


_scan = _Scan()


@pytest.fixture(autouse=True)
def no_secret_is_logged() -> Iterator[None]:
    """Fails a test in which a secret was logged."""
    logging.getLogger().addHandler(_scan)
    _scan.found.clear()
    yield
    logging.getLogger().removeHandler(_scan)
    assert _scan.found == []
