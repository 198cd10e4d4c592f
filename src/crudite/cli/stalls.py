"""Tells when something held the event loop: a thread that watches the loop's own clock tick.

The loop notes the time every few milliseconds. When the note is older than the limit, the thread looks at
what the loop's thread is doing at that moment, and when the loop ticks again it tells for how long.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

LIMIT = 0.05
_TICK = 0.01
_LOOPS = ("asyncio", "uvloop", "selectors.py", "uvicorn/server.py")


class StallWatch:
    """Watches one running loop: `StallWatch(tell, folder).start()` from inside it.

    `tell` gets a sentence. Functions in files below `folder` are preferred when it says what held the loop.
    """

    def __init__(self, tell: Callable[[str], None], folder: Path) -> None:
        self._tell = tell
        self._folder = str(folder)
        self._ticked = time.monotonic()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begins to watch the running loop, from its thread."""
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._tick()
        threading.Thread(target=self._watch, name="crudite-stalls", daemon=True).start()

    def stop(self) -> None:
        """Ends the watch."""
        self._ended.set()

    def _tick(self) -> None:
        self._ticked = time.monotonic()
        if not self._ended.is_set():
            self._loop.call_later(_TICK, self._tick)

    def _watch(self) -> None:
        while not self._ended.wait(_TICK):
            ticked = self._ticked
            if time.monotonic() - ticked < LIMIT:
                continue
            culprit = culprit_in(sys._current_frames().get(self._watched), self._folder)  # noqa: SLF001
            while self._ticked == ticked and not self._ended.wait(_TICK):
                pass
            if culprit is not None and self._ticked != ticked:
                self._tell(f"The event loop was held for {(self._ticked - ticked) * 1000:.0f} ms in {culprit}.")


def culprit_in(frame: FrameType | None, folder: str) -> str | None:
    """The function that a thread is in, as `name (file:line)`; None when the loop itself is all there is.

    It is the innermost one whose file lies below the folder, else the innermost one.
    """
    frames: list[FrameType] = []
    while frame is not None and not any(name in frame.f_code.co_filename for name in _LOOPS):
        frames.append(frame)
        frame = frame.f_back
    if not frames:
        return None
    theirs = [one for one in frames if _lies_below(one.f_code.co_filename, folder)]
    chosen = (theirs or frames)[0]
    file = chosen.f_code.co_filename.removeprefix(folder).lstrip("/")
    return f"{chosen.f_code.co_qualname} ({file}:{chosen.f_lineno})"


def _lies_below(file: str, folder: str) -> bool:
    return file.startswith(folder) and "site-packages" not in file
