"""The command line with the addresses of databases and buses: it names them, and says in a line what is wrong."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

CRUDITE = Path(sys.executable).with_name("crudite")
NOTE = """
from crudite import App, Resource, allow

class Note(Resource, rules=allow.everyone):
    title: str

app = App(Note)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small application."""
    (tmp_path / "app.py").write_text(NOTE)
    return tmp_path


def crudite(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Runs a command to its end; the exit code, and all that it said."""
    done = subprocess.run(
        [CRUDITE, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_database_on_postgresql_is_named_by_its_address_without_the_password(folder: Path, postgresql: str) -> None:
    address = postgresql.replace("postgres@", "")
    store = postgresql.replace("postgres@", "postgres:sesame@") + f"?schema=named_{uuid4().hex}"
    assert crudite(folder, "db", "migrate", CRUDITE_STORE=store)[0] == 0
    assert crudite(folder, "db", "plan", CRUDITE_STORE=store) == (
        0, f"{address} has the schema that the application declares.\n",
    )  # fmt: skip
    code, said = crudite(folder, "db", "check", CRUDITE_STORE=store)
    assert code == 1
    assert said.startswith(f"Error: there is nothing to check in {address}: ")


def test_nothing_is_said_of_a_server_where_the_database_is_six_functions(folder: Path) -> None:
    functions = ["get", "find", "create", "update", "patch", "destroy"]
    database = "type('Db', (), {name: staticmethod(lambda *given: None) for name in FUNCTIONS})()"
    text = NOTE.replace("App(Note)", f"App(Note, store={database})").replace("app =", f"FUNCTIONS = {functions}\napp =")
    (folder / "app.py").write_text(text)
    code, said = crudite(folder, "db", "check")
    assert code == 1
    why = "the records are in a database of your own, into which its own tools look."
    assert said == f"Error: there is nothing to check in Db (:memory:): {why}\n"


def test_dev_says_which_steps_it_takes_on_postgresql(folder: Path, postgresql: str) -> None:
    store = f"{postgresql}?schema=stepped_{uuid4().hex}"
    assert crudite(folder, "db", "migrate", CRUDITE_STORE=store)[0] == 0
    (folder / "app.py").write_text(NOTE.replace("title: str", "title: str\n    done: bool = False"))
    command = [str(CRUDITE), "dev", "--no-reload", "--port", "0", "--store", store]
    with subprocess.Popen(command, cwd=folder, env={}, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        first = server.stdout.readline()
        server.terminate()
    assert first == "Schema: notes: add done\n"


@pytest.mark.parametrize(
    ("variable", "url", "expected"),
    [
        ("CRUDITE_STORE", "mysql://me:sesame@host/name", "the store: expected a URL that begins with one of sqlite,"),
        ("CRUDITE_BUS", "kafka://me:sesame@host", "the bus: expected a URL that begins with one of local,"),
        ("CRUDITE_BUS", "nats://me:sesame@host:port", "the bus: expected a port that is a number,"),
        ("CRUDITE_BUS", "unix:///no/such/bus", "/no/such is no directory,"),
    ],
)
def test_an_address_that_cannot_be_is_told_in_a_line_and_shows_no_password(
    folder: Path, variable: str, url: str, expected: str
) -> None:
    code, said = crudite(folder, "run", "--port", "0", **{variable: url})
    assert code == 1
    assert said.startswith(f"Error: {expected}")
    assert said.count("\n") == 1
    assert "sesame" not in said
