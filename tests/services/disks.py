"""A small disk of a test's own, which can be filled and emptied."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services import missing


class Disk:
    """A file system of a few megabytes, mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Takes all the room that is left."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for piece in (1 << 20, 1 << 12):  # the last page, too
                try:
                    while ballast.write(bytes(piece)):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Gives it back."""
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[Disk]:
    """A disk at an existing, empty folder for the time of a block. Only root may make one."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    command = [mount or "", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    if os.geteuid() or not mount or not unmount or subprocess.run(command, capture_output=True, check=False).returncode:
        missing("a disk to fill", "run as root, where file systems may be mounted")
    try:
        yield Disk(path)
    finally:
        subprocess.run([unmount, "--lazy", str(path)], check=True)
