"""Where a server's CPU time goes: a sampling profiler inside the process, summed by part of the program.

A timer of CPU time interrupts the main thread 1,000 times a second. Python runs the signal's function
between two instructions, so that time inside a C call belongs to the Python function that made the call.
Each sample weighs the main thread's own CPU time since the one before; what the process used beyond
that is other threads' time. A sample that falls on the first instruction of a function entered directly
from the event loop was due while the loop itself ran (uvloop, reading and polling sockets in the kernel).
"""

import dis
import json
import signal
import sys
import sysconfig
import time
from collections import defaultdict
from operator import itemgetter
from pathlib import Path
from types import FrameType

INTERVAL = 0.001  # seconds of CPU time
RESUME = dis.opmap["RESUME"]
RUNNERS = ("run", "run_until_complete", "asyncio_run")  # functions that call the loop, which is C
LOOP = "uvloop and the kernel's sockets"
THREADS = "other threads of the server"
LIBRARIES = [sysconfig.get_paths()[name] for name in ("purelib", "platlib")]

# The first prefix that fits a module's name says its group.
GROUPS = (
    ("crudite.interfaces", "crudite.interfaces"),
    ("crudite.pipeline", "crudite.pipeline"),
    ("crudite.stores", "crudite.stores and SQLite (apsw)"),
    ("crudite.live", "crudite.live"),
    ("crudite.resources", "crudite.resources"),
    ("crudite.auth", "crudite.auth"),
    ("crudite.query", "crudite.query, rules, schema"),
    ("crudite.rules", "crudite.query, rules, schema"),
    ("crudite.schema", "crudite.query, rules, schema"),
    ("crudite", "crudite, other modules"),
    ("uvicorn", "uvicorn and httptools"),
    ("uvloop", LOOP),
    ("asyncio", "asyncio"),
    ("websockets", "websockets"),
    ("msgspec", "JSON and validation (msgspec, pydantic, json)"),
    ("pydantic", "JSON and validation (msgspec, pydantic, json)"),
    ("json", "JSON and validation (msgspec, pydantic, json)"),
    ("apsw", "SQLite (apsw, sqlite3, aiosqlite)"),
    ("sqlite3", "SQLite (apsw, sqlite3, aiosqlite)"),
    ("aiosqlite", "SQLite (apsw, sqlite3, aiosqlite)"),
    ("sqlalchemy", "SQLAlchemy"),
    ("fastapi", "FastAPI"),
    ("starlette", "Starlette"),
    ("anyio", "asyncio"),
    ("benchmarks.peers", "the peer's own code"),
)


class Sampler:
    """Seconds of the main thread by function, as (module, function)."""

    def __init__(self) -> None:
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.names: dict[str, str] = {}
        self.begin()

    def begin(self) -> None:
        """Forget what was, and count from now."""
        self.seconds.clear()
        self.before, self.process_before = time.thread_time(), time.process_time()

    def take(self, _signal: int, frame: FrameType | None) -> None:
        """Book the CPU time since the last sample on the function that runs."""
        now = time.thread_time()
        spent, self.before = now - self.before, now
        if frame is None or entered_from_loop(frame):
            self.seconds["uvloop", "the loop"] += spent
            return
        code = frame.f_code
        module = self.names.get(code.co_filename)
        if module is None:
            module = self.names[code.co_filename] = module_of(code.co_filename)
        self.seconds[module, code.co_qualname] += spent


def entered_from_loop(frame: FrameType) -> bool:
    """Whether a frame is the loop's runner, or stands at its start (or resumption) right above it."""
    if frame.f_code.co_name in RUNNERS:
        return True
    below = frame.f_back
    from_loop = below is None or below.f_code.co_name in RUNNERS
    return from_loop and frame.f_code.co_code[frame.f_lasti] == RESUME


def module_of(file: str) -> str:
    """A file's dotted name below its library folder, the standard library, or this repository."""
    path = Path(file)
    roots = [*LIBRARIES, str(Path(__file__).parent.parent / "src"), str(Path(__file__).parent.parent)]
    for root in (*roots, sysconfig.get_paths()["stdlib"]):
        if path.is_relative_to(root):
            return ".".join(path.relative_to(root).with_suffix("").parts)
    return path.stem


def listen(file: Path) -> None:
    """Sample from each SIGUSR1 to the next SIGUSR2, then write the result to `file` as JSON.

    By signals, so that start-up and filling stay out of the figures.
    """
    sampler = Sampler()

    def start(*_: object) -> None:
        sampler.begin()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def stop(*_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        used = time.process_time() - sampler.process_before
        functions = [[module, name, seconds] for (module, name), seconds in sampler.seconds.items()]
        file.write_text(json.dumps({"used": used, "functions": functions}), encoding="utf-8")

    signal.signal(signal.SIGPROF, sampler.take)
    signal.signal(signal.SIGUSR1, start)
    signal.signal(signal.SIGUSR2, stop)


def group_of(module: str) -> str:
    """The part of the program that a module belongs to."""
    fits = (name for prefix, name in GROUPS if module == prefix or module.startswith(prefix + "."))
    standard = module.split(".")[0] in sys.stdlib_module_names
    return next(fits, "other (standard library)" if standard else "other")


def by_group(file: Path) -> tuple[float, list[tuple[str, float]], list[tuple[str, float]]]:
    """CPU seconds in all; the groups with their share (0 to 1), largest first; the same for functions."""
    told = json.loads(file.read_text(encoding="utf-8"))
    used = told["used"]
    groups: defaultdict[str, float] = defaultdict(float)
    functions: defaultdict[str, float] = defaultdict(float)
    for module, name, seconds in told["functions"]:
        groups[group_of(module)] += seconds / used
        functions[f"{module}:{name}"] += seconds / used
    groups[THREADS] = max(0.0, 1 - sum(groups.values()))
    return used, largest(groups), largest(functions)[:20]


def largest(shares: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=itemgetter(1), reverse=True)
