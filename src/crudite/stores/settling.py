"""Telling whoever awaits a job what came of it."""

import asyncio
from typing import Any, TypeAlias

Outcome: TypeAlias = Any
"""What came of a job: a value, or an exception that is its answer."""


def settle(future: "asyncio.Future[Any]", outcome: Outcome) -> None:
    """Gives an outcome to whoever awaits a future, if he still does."""
    if future.cancelled():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
