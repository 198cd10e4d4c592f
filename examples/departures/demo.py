"""The whole demo in one command: the data at the first start, then the server and the replay beside it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
DATABASE = HERE / "departures.db"
PORT = os.environ.get("CRUDITE_PORT", "8000")
FILES = [("airlines", "Airline", "code"), ("airports", "Airport", "code"), ("flights", "Flight", "id")]


def crudite(command: str, *arguments: str) -> list[str]:
    program = str(Path(sys.executable).with_name("crudite"))
    return [program, command, *arguments, "--store", str(DATABASE)]


def first_start() -> None:
    """Import the three files; when one fails, no half-filled database stays behind."""
    try:
        for name, resource, key in FILES:
            given = [str(HERE / "data" / f"{name}.csv"), "--to", resource, "--key", key]
            subprocess.run(crudite("import", *given, "--app", str(HERE / "app.py")), check=True)
    except BaseException:
        for file in HERE.glob(f"{DATABASE.name}*"):
            file.unlink()
        raise


def main() -> int:
    """Run until the server ends, which Ctrl-C and SIGTERM ask it to."""
    if not DATABASE.exists():
        first_start()
    print(f"The board: http://127.0.0.1:{PORT} in two windows; edit a row in one of them.", flush=True)
    replay = subprocess.Popen([sys.executable, str(HERE / "replay.py"), f"ws://127.0.0.1:{PORT}/ws"])
    server = subprocess.Popen(crudite("run", str(HERE / "app.py"), "--port", PORT))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the children itself
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        return server.wait()
    finally:
        replay.terminate()
        replay.wait()


if __name__ == "__main__":
    sys.exit(main())
