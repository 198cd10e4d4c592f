"""The thread of plain functions: one at a time, and none that hangs keeps the process from ending."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class OneThread:
    """Does work in a thread of its own, one piece after the other. Unlike those of an executor, which Python joins at
    its end, the thread is left behind with what it is doing when the process ends."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: Thread | None = None
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    async def do(self, work: Callable[[], T]) -> T:
        """The result of some work. It is not begun when whoever waits for it is cancelled before."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._queue.put((future, work))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Lets the thread end when it has done what it was given."""
        self._queue.put(None)

    def _run(self) -> None:
        while (given := self._queue.get()) is not None:
            future, work = given
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
