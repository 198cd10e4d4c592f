"""Telling stories to an application into which a fault was planted, until it is found."""

import asyncio
import logging
from collections.abc import Iterator
from random import Random

import pytest

from tests.model.steps import story
from tests.model.telling import Setting, tell

_STORIES = 200
_LENGTH = 80
_PATIENCE = 10.0


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The faults are planted, and what is logged of them is not of interest."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def tell_stories(setting: Setting, scenes: float = 0.04, first: int = 0) -> None:
    """Stories, from the one with that number on, until one of them breaks a promise."""
    for seed in range(first, first + _STORIES):
        told = story(Random(seed), _LENGTH, setting.processes, scenes)
        asyncio.run(tell(told, seed, setting, _PATIENCE))
