"""One worker as its parent sees it: a process that is started, answers, lives, is told to go, and is gone."""

import asyncio
import contextlib
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

from crudite.cli.tether import ANSWERS, INTERVAL, LEAVE

_LAST_WORDS = 1.0
"""Seconds that a hung process has to write down where it stands."""


class WorkerProcess:
    """A process that serves. Awaiting `run` to its end is the starter's."""

    def __init__(self, number: int, process: Process, tether: socket.socket) -> None:
        self.number = number
        self.silence = 0.0
        """Seconds without a sign of life, as far as the parent itself was awake to hear one."""
        self._process = process
        self._tether = tether
        self._answered = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()

    @classmethod
    async def started(
        cls, number: int, command: Sequence[str], listening: int, environment: Mapping[str, str]
    ) -> "WorkerProcess":
        """Starts the command, which is told of its end of the tether, with the listening socket."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            # A group of its own: what is typed at a terminal (Ctrl-C) is for the parent, which tells the workers.
            process = await asyncio.create_subprocess_exec(
                *command, "--tether", str(theirs.fileno()), stdin=DEVNULL, env=environment, process_group=0,
                pass_fds=(listening, theirs.fileno()),
            )  # fmt: skip
        return cls(number, process, ours)

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self._process.pid})"

    @property
    def code(self) -> int:
        """The exit code once it is gone, as a shell gives it: 128 and the number for a signal."""
        code = self._process.returncode
        assert code is not None
        return code if code >= 0 else 128 - code

    @property
    def has_answered(self) -> bool:
        """Whether it has begun to answer requests."""
        return self._answered.done() and bool(self._answered.result())

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._gone.is_set()

    @property
    def how_it_ended(self) -> str:
        """How it ended, for a log."""
        code = self._process.returncode
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name}"

    async def run(self) -> None:
        """Hears what it says until it is gone."""
        hearing = asyncio.create_task(self._hear())
        try:
            await self._process.wait()
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])
            self._tether.close()
            if not self._answered.done():
                self._answered.set_result(False)
            self._gone.set()

    async def answers(self) -> bool:
        """Waits until it answers requests: True; or is gone without having done so: False."""
        return bool(await asyncio.shield(self._answered))

    async def gone(self) -> None:
        """Waits until it is gone."""
        await self._gone.wait()

    def tick(self) -> float:
        """Notes that a while has passed; the silence."""
        self.silence = self.silence + INTERVAL if self.has_answered and not self._is_held() else 0.0
        return self.silence

    def leave(self) -> None:
        """Tells it to take its leave: others serve on the socket."""
        if not self.has_answered:
            self.signal(signal.SIGTERM)
        elif not self.is_gone:
            with contextlib.suppress(OSError):  # it goes at this moment
                self._tether.send(LEAVE)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it is still there."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def abort(self) -> None:
        """Has a hung one write on standard error where it stands, and kills it."""
        self.signal(signal.SIGABRT)  # faulthandler's, which needs nothing of the interpreter
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await self.gone()
        except TimeoutError:
            self.signal(signal.SIGKILL)

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # it is gone, which `run` sees
            while heard := await loop.sock_recv(self._tether, 64):
                self.silence = 0.0
                if ANSWERS in heard and not self._answered.done():
                    self._answered.set_result(True)

    def _is_held(self) -> bool:
        """Whether it is stopped, or a debugger holds it (proc_pid_status(5)); elsewhere than on Linux it never is."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text("utf-8", "replace")
        except OSError:
            return False
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return lines.get("State", "").split()[:1] in (["T"], ["t"]) or lines.get("TracerPid", "0").strip() != "0"
