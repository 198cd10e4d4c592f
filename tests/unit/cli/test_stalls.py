"""What holds the event loop is named."""

import asyncio
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from crudite.cli import stalls
from crudite.cli.stalls import StallWatch, culprit_in

HERE = Path(__file__).parent


async def hold_until(noticed: threading.Event) -> None:
    """Holds the loop, like a slow function."""
    assert noticed.wait(10)


async def test_who_holds_the_loop_is_told_with_function_and_line(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    heard, noticed = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def tell(text: str) -> None:
        told.append(text)
        loop.call_soon_threadsafe(heard.set)

    def notice(frame: FrameType | None, folder: str) -> str | None:
        found = culprit_in(frame, folder)
        noticed.set()
        return found

    watch = StallWatch(tell, HERE)
    watch.start()
    monkeypatch.setattr(stalls, "culprit_in", notice)
    try:
        await hold_until(noticed)
        async with asyncio.timeout(10):
            await heard.wait()
    finally:
        watch.stop()
    assert any("hold_until (test_stalls.py:" in text for text in told)


def test_the_innermost_function_of_the_own_folder_is_the_culprit() -> None:
    first = sys._getframe().f_lineno
    found = culprit_in(sys._getframe(), str(HERE))
    assert found == f"test_the_innermost_function_of_the_own_folder_is_the_culprit (test_stalls.py:{first + 1})"


def test_a_loop_that_only_waits_has_no_culprit() -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert thread.ident is not None
    end = time.monotonic() + 10
    try:
        while culprit_in(sys._current_frames().get(thread.ident), str(HERE)) is not None:
            assert time.monotonic() < end
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
