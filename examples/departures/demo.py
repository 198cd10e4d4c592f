"""The whole demo in one command: the data at the first start, then the server and the replay beside it."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CRUDITE = [str(Path(sys.executable).with_name("crudite"))]
APP = str(HERE / "app.py")
DATABASE = HERE / "departures.db"
FILES = [("airlines", "Airline", "code"), ("airports", "Airport", "code"), ("flights", "Flight", "id")]


def first_start() -> None:
    """Import the three files; an import that fails leaves no database behind."""
    try:
        for name, resource, key in FILES:
            given = [str(HERE / "data" / f"{name}.csv"), "--app", APP, "--to", resource, "--key", key]
            subprocess.run([*CRUDITE, "import", *given], check=True)
    except BaseException:
        for part in HERE.glob(f"{DATABASE.name}*"):
            part.unlink()
        raise


def main() -> int:
    """Run until the server ends, which Ctrl-C does."""
    if not DATABASE.exists():
        first_start()
    replay = subprocess.Popen([sys.executable, str(HERE / "replay.py")])
    try:
        return subprocess.run([*CRUDITE, "run", APP, *sys.argv[1:]]).returncode
    except KeyboardInterrupt:
        return 0
    finally:
        replay.terminate()
        replay.wait()


if __name__ == "__main__":
    sys.exit(main())
