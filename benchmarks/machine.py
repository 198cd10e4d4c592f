"""Where the measuring happens: facts about the machine, cores to pin to, and CPU time of processes."""

import importlib.metadata
import math
import os
import platform
import resource
import statistics
import sys
import time
from pathlib import Path

PACKAGES = (
    *("crudite", "uvicorn", "uvloop", "httptools", "websockets", "apsw", "msgspec", "pydantic"),
    *("fastapi", "starlette", "sqlalchemy", "aiosqlite", "python-socketio"),
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


def connections_allowed(wanted: int) -> int:
    """How many of `wanted` connections this process and a server may hold, with the limit of open files raised."""
    allow_connections()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, soft - 500)


def process_seconds(pid: int) -> float:
    """CPU seconds that a process has used with all its threads; nan where the system does not tell.

    The clock that clock_getcpuclockid(3) names on Linux: /proc/<pid>/stat in nanoseconds instead of ticks.
    """
    return time.clock_gettime(~pid << 3 | 2) if sys.platform == "linux" else math.nan


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
    """CPU that one server, and that strangers, used between `with` and its end.

    After the block: `seconds` on the wall, `server` CPU seconds, `foreign` as a share of one core.
    A foreign share over about 0.1 means that the figures are those of a shared machine.
    """

    seconds = server = foreign = math.nan

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __enter__(self) -> "Window":
        self.started = self.read()
        return self

    def __exit__(self, *_: object) -> None:
        wall, server, own, busy = (b - a for a, b in zip(self.started, self.read(), strict=True))
        self.seconds, self.server = wall, server
        self.foreign = max(0.0, (busy - server - own) / wall)

    def read(self) -> tuple[float, float, float, float]:
        return time.perf_counter(), process_seconds(self.pid), own_seconds(), busy_seconds()
