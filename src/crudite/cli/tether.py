"""What ties a worker to the process that started it: a pair of sockets, over which each hears that the other lives.

| who | says | which means |
|---|---|---|
| worker | ANSWERS, once | it answers requests |
| worker | LIVES, twice a second from then on | its event loop runs |
| parent | LEAVE | others serve on the socket: go, and take your time |
| parent | end of file | the parent is gone, however it went: end as on SIGTERM |
"""

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

ANSWERS, LIVES, LEAVE = b"a", b".", b"l"
INTERVAL = 0.5
"""Seconds between two signs of life."""
_ALLOWANCE = 5.0


class Tether:
    """A worker's end. A thread listens, which hears also while the application is imported and while something holds
    the event loop. `grace` is how many seconds the worker has to end."""

    def __init__(self, descriptor: int, grace: float) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._patience = grace + _ALLOWANCE
        self._leave: Callable[[], None] | None = None
        threading.Thread(target=self._listen, name="crudite-tether", daemon=True).start()

    def answers(self, leave: Callable[[], None]) -> None:
        """Tells that requests are answered, and from now on that the running loop lives. `leave` is called, on the
        loop, when the parent says so."""
        self._loop = asyncio.get_running_loop()
        self._leave = leave
        self._say(ANSWERS)
        self._beat()

    def _beat(self) -> None:
        self._say(LIVES)
        self._loop.call_later(INTERVAL, self._beat)

    def _say(self, sign: bytes) -> None:
        with contextlib.suppress(OSError):  # a parent that is stopped, or gone: that is for `_listen` to tell
            self._socket.send(sign, socket.MSG_DONTWAIT)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while heard := self._socket.recv(1):
                if heard == LEAVE and self._leave is not None:
                    self._loop.call_soon_threadsafe(self._leave)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._patience)
        os._exit(1)  # what holds the event loop keeps it from hearing the signal
