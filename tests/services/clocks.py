"""A clock of the machine that a test may set, for its child processes: a library that is loaded before all others."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.services import missing

# The C library's own functions ask the kernel by themselves, so every one that tells the time of day is replaced. What
# measures (CLOCK_MONOTONIC) is left alone, as by a person who sets the clock.
_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t ahead(void) {
    static volatile int64_t *seconds;
    if (!seconds) {
        int file = open(getenv("CLOCK_AHEAD"), O_RDONLY);
        void *at = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (at == MAP_FAILED)
            abort();
        seconds = at;
    }
    return *seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += ahead();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *result) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (result)
        *result = exact.tv_sec;
    return exact.tv_sec;
}
"""


class MachineClock:
    """What the clock says in the processes that are started while it is there."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set_ahead(timedelta())

    def set_ahead(self, by: timedelta) -> None:
        """It is that much ahead from now on, or behind: also in processes that run."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("q", int(by.total_seconds())))


@contextmanager
def machine_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[MachineClock]:
    """A clock for every process that is started in the block."""
    compiler = shutil.which("cc")
    if compiler is None or os.uname().sysname != "Linux":
        missing("a clock to set", "install a C compiler, on Linux")
    with tempfile.TemporaryDirectory(prefix="clock-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the account of the database reads it, too
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(_SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
        clock = MachineClock(folder / "ahead")
        with monkeypatch.context() as patched:
            patched.setenv("LD_PRELOAD", str(library))
            patched.setenv("CLOCK_AHEAD", str(folder / "ahead"))
            yield clock
