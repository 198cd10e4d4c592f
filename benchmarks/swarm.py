"""Thousands of connections in one thread: it waits for any of them and hands on what came.

It spends 2 to 4 µs on a message, less than any server spends on sending one, so that it is not what is measured.
"""

import selectors
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from benchmarks.servers import BenchmarkError

AT_ONCE = 200  # connections that may be on their way to being ready at the same time
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # no TIME_WAIT, so that ports do not run out


class Client(ABC):
    """One connection. `is_ready` when what it opened with has been answered; `closed` when the server ended it."""

    socket: socket.socket
    receive_buffer = 0
    """Bytes that its socket may hold, or 0 for what the system chooses."""

    def __init__(self) -> None:
        self.waiting = b""
        self.is_ready = False
        self.closed = False

    @abstractmethod
    def opened(self) -> None:
        """The connection stands: say what there is to say first."""

    @abstractmethod
    def take(self, data: bytes) -> int:
        """Take in what is whole of the bytes held and say how many of them that was."""

    def lost(self) -> None:
        """The server ended the connection."""
        raise BenchmarkError(f"the server closed a connection of {type(self).__name__}")

    def send(self, data: bytes) -> None:
        """Send a small message; what a client says always fits the socket's buffer.

        Where the server has ended the connection nothing is sent, and `lost` will be called.
        """
        with suppress(ConnectionError):
            if self.socket.send(data) != len(data):
                raise BenchmarkError("a client's message did not fit its socket's buffer")


class Swarm:
    """Connections to one port of this machine, and the loop that serves them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.clients: set[Client] = set()
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> "Swarm":
        return self

    def __exit__(self, *_: object) -> None:
        for client in list(self.clients):
            self.close(client)
        self._selector.close()

    def connect(self, client: Client) -> None:
        """Connect and let the client say its first words."""
        client.socket = socket.socket()
        if client.receive_buffer:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, client.receive_buffer)
        client.socket.settimeout(30)
        client.socket.connect(("127.0.0.1", self.port))
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        client.socket.setblocking(False)
        client.closed, client.waiting = False, b""
        self.clients.add(client)
        self._selector.register(client.socket, selectors.EVENT_READ, client)
        client.opened()

    def close(self, client: Client) -> None:
        """Cut a connection."""
        self.clients.discard(client)
        if client.socket in self._selector.get_map():
            self._selector.unregister(client.socket)
        client.socket.close()

    def pause(self, client: Client) -> None:
        """Read nothing of a connection for now."""
        self._selector.unregister(client.socket)

    def go_on(self, client: Client) -> None:
        """Read a paused connection again."""
        self._selector.register(client.socket, selectors.EVENT_READ, client)

    def open(self, clients: Iterable[Client], seconds: float = 120) -> None:
        """Connect all, some at a time, and return when all are ready. BenchmarkError when that takes too long."""
        to_come, joining = deque(clients), set[Client]()
        deadline = time.perf_counter() + seconds

        def all_are_ready() -> bool:
            joining.difference_update([each for each in joining if each.is_ready])
            while to_come and len(joining) < AT_ONCE:
                client = to_come.popleft()
                self.connect(client)
                joining.add(client)
            return not to_come and not joining

        while not all_are_ready():
            if time.perf_counter() > deadline:
                raise BenchmarkError(f"{len(to_come) + len(joining)} clients were not ready in time.")
            self.turn(0.1)

    def until(self, is_so: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
        """Serve the connections until it is so; BenchmarkError saying `what` when that takes too long."""
        deadline = time.perf_counter() + seconds
        while not is_so():
            if time.perf_counter() > deadline:
                raise BenchmarkError(f"after {seconds:.0f} s: {what()}")
            self.turn(0.1)

    def rest(self, seconds: float) -> None:
        """Serve the connections for a while."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            self.turn(0.05)

    def turn(self, patience: float) -> None:
        """Wait for something to arrive and hand it on."""
        for key, _ in self._selector.select(patience):
            self._read(key.data)

    def _read(self, client: Client) -> None:
        try:
            data = client.socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            client.closed = True
            self.close(client)
            client.lost()
            return
        held = client.waiting + data if client.waiting else data
        client.waiting = held[client.take(held) :]
