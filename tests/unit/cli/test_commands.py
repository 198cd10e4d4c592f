"""Commands say what they did, and what a person can mend without a traceback."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crudite.cli.commands import cli

TODO = """
from crudite import App, Field, Resource, allow

class Todo(Resource, rules=allow.everyone):
    title: str = Field(min_length=1)
    done: bool = False

app = App(Todo)
"""

PEOPLE = """
from typing import Literal

from crudite import App, Field, Record, Ref, Resource, allow, before

class Team(Record[str], rules=allow.everyone):
    name: str

class Person(Record[int], rules=allow.everyone):
    name: str = Field(min_length=1)
    mail: str = Field(unique=True)
    team: Ref[Team]
    age: int | None
    role: Literal["lead", "member"] = "member"

    @before("create")
    async def tidy(self, request) -> None:
        self.name = self.name.strip()

app = App(Team, Person)
"""

Crudite = Callable[..., Result]


@pytest.fixture
def crudite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crudite]:
    """Runs the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("CRUDITE_APP", "CRUDITE_STORE", "CRUDITE_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield lambda *args: CliRunner().invoke(cli, list(args))
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(name: str, content: str) -> None:
    Path(name).write_text(content, "utf-8")


def people() -> list[tuple[object, ...]]:
    with sqlite3.connect("people.db") as connection:
        found = connection.execute("SELECT id, name, mail, team, age, role FROM persons ORDER BY id").fetchall()
    connection.close()
    return found


def with_teams(crudite: Crudite) -> None:
    write("people.py", PEOPLE)
    write("teams.csv", "code,name\nred,Red\n")
    assert crudite("import", "teams.csv", "--to", "Team", "--key", "code").exit_code == 0


def test_the_version_is_said(crudite: Crudite) -> None:
    assert crudite("--version").stdout == "crudite 0.1.0\n"


def test_bare_crudite_shows_the_commands(crudite: Crudite) -> None:
    text = crudite().output
    assert all(name in text for name in ("new", "dev", "run", "routes", "import", "db", "openapi"))


@pytest.mark.parametrize(
    "command", ["new", "dev", "run", "routes", "openapi", "import", "db plan", "db migrate", "db check", "db history"]
)
def test_the_help_of_every_command_has_an_example(crudite: Crudite, command: str) -> None:
    assert f"$ crudite {command}" in crudite(*command.split(), "--help").stdout


def test_new_makes_a_project_and_never_overwrites(crudite: Crudite) -> None:
    assert crudite("new", "board").exit_code == 0
    made = sorted(str(path.relative_to("board")) for path in Path("board").rglob("*") if path.is_file())
    assert made == [
        ".gitignore", "README.md", "app.py",
        "static/app.js", "static/index.html", "static/style.css", "test_app.py",
    ]  # fmt: skip
    write("board/app.py", "mine")
    again = crudite("new", "board")
    assert (again.exit_code, Path("board/app.py").read_text()) == (1, "mine")
    assert "there already" in again.stderr


def test_routes_show_paths_actions_and_rules(crudite: Crudite) -> None:
    write("todo.py", TODO)
    routes = json.loads(crudite("routes", "todo.py", "--json").stdout)
    shown = {(r["method"], r["path"], r["action"], r["rule"], r["interface"]) for r in routes if r["owner"] == "Todo"}
    assert {
        ("GET", "/todos", "list", "everyone", "rest"),
        ("POST", "/todos", "create", "everyone", "rest"),
        ("PATCH", "/todos/{key}", "update", "everyone", "rest"),
        ("DELETE", "/todos/{key}", "delete", "everyone", "rest"),
        ("GET", "/todos/subscribe", "subscribe", "everyone", "sse"),
    } <= shown
    assert "/todos/{key}/subscribe" in crudite("routes", "todo.py").stdout


def test_routes_say_where_options_of_a_style_stand_beside_the_rules(crudite: Crudite) -> None:
    write(
        "kennel.py",
        "from crudite import App, Record, Rest, Sse, Wheelhouse, WheelhouseOptions, allow\n"
        "class Dog(Record[int], rules=allow.everyone):\n    name: str\n"
        "class Toy(Record[int], rules=allow.everyone):\n    name: str\n"
        "old = Wheelhouse(resources={Dog: WheelhouseOptions(permissions=['read']),\n"
        "                            Toy: WheelhouseOptions(filter=lambda request, records: records)})\n"
        "app = App(Dog, Toy, store='sqlite:///:memory:', interfaces=[Rest('/new'), Rest(style=old), Sse(style=old)])\n",
    )
    routes = json.loads(crudite("routes", "kennel.py", "--json").stdout)
    rules = {(route["method"], route["path"]): route["rule"] for route in routes}
    narrowed = "everyone; narrowed by the style"
    assert rules["PUT", "/dogs/{key}"] == rules["GET", "/dogs/subscribe"] == rules["GET", "/toys"] == narrowed
    assert rules["PUT", "/toys/{key}"] == rules["PUT", "/new/dogs/{key}"] == "everyone"
    head, first, *_ = crudite("routes", "kennel.py").stdout.splitlines()
    assert head.startswith("Method")
    assert first.startswith("GET")


def test_routes_of_an_older_style_alone_begin_right_below_their_head(crudite: Crudite) -> None:
    write(
        "kennel.py",
        "from crudite import App, Record, Rest, allow\n"
        "class Dog(Record[int], rules=allow.everyone):\n    name: str\n"
        "app = App(Dog, store='sqlite:///:memory:', interfaces=[Rest(style='wheelhouse')])\n",
    )
    lines = crudite("routes", "kennel.py").stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["Method", "GET", "POST"]


def test_routes_show_what_stands_at_the_root(crudite: Crudite) -> None:
    write(
        "pages.py",
        "from crudite import App, Record, allow\n"
        "class Page(Record[str], places=['/'], rules=allow.everyone):\n    text: str\n"
        "app = App(Page, store='sqlite:///:memory:')\n",
    )
    routes = json.loads(crudite("routes", "pages.py", "--json").stdout)
    shown = {(r["method"], r["path"], r["action"]) for r in routes if r["owner"] == "Page" and r["interface"] == "rest"}
    assert {("GET", "/", "list"), ("POST", "/", "create"), ("GET", "/{key}", "read")} <= shown


def test_routes_show_the_rule_that_holds_at_each_place(crudite: Crudite) -> None:
    write(
        "notes.py",
        "from crudite import App, Parent, Place, Record, Rest, Sse, allow\n"
        "class Person(Record[int], rules=allow.everyone):\n    name: str\n"
        "class Note(Record[int], soft_delete=True,\n"
        "           rules={'read': allow.everyone, 'create': allow.role('maker'), 'write': allow.role('chief')},\n"
        "           places=['/note', Place('/of/{person}', rules=allow.signed_in)]):\n"
        "    person: Parent[Person]\n"
        "app = App(Person, Note, store='sqlite:///:memory:', interfaces=[Rest('/v1'), Sse('/v1')])\n",
    )
    routes = json.loads(crudite("routes", "notes.py", "--json").stdout)
    told = {(one["method"], one["path"]): (one["action"], one["rule"]) for one in routes}
    assert told["POST", "/v1/note"] == ("create", "has the role maker")
    assert told["POST", "/v1/note/{key}/restore"] == ("restore", "has the role chief and deleted_at is there")
    assert told["GET", "/v1/of/{key}"] == ("list", "deleted_at is empty and signed in")
    assert told["GET", "/v1/of/{key}/subscribe"] == ("subscribe", "deleted_at is empty and signed in")
    assert told["GET", "/v1/of/{key}/{key}"] == ("read", "deleted_at is empty and signed in")
    assert told["GET", "/v1/note/{key}"] == ("read", "deleted_at is empty")


def test_openapi_is_printed_or_saved(crudite: Crudite) -> None:
    write("todo.py", TODO)
    printed = json.loads(crudite("openapi", "todo.py").stdout)
    assert "/todos" in printed["paths"]
    assert crudite("openapi", "todo.py", "--out", "api.json").exit_code == 0
    assert json.loads(Path("api.json").read_text()) == printed


def test_what_is_declared_wrong_is_listed_without_a_traceback(crudite: Crudite) -> None:
    write(
        "todo.py",
        "from crudite import App, Resource\nclass A(Resource):\n    a__b: str\n    x: bytes\napp = App(A)\n",
    )
    result = crudite("run", "todo.py", "--port", "0")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert [line[:3] for line in result.stderr.splitlines()[1:]] == ["  -", "  -"]


def test_a_database_of_another_program_is_told_without_a_traceback(crudite: Crudite) -> None:
    write("todo.py", TODO)
    write("todo.db", "this is no database, and it is longer than a header has to be" * 20)
    result = crudite("run", "todo.py", "--port", "0")
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert "todo.db: the file is not a database" in result.stderr


def test_clean_rows_are_imported_with_their_types(crudite: Crudite) -> None:
    with_teams(crudite)
    write("people.csv", "id,Name,mail,team,age\n1, Ann ,a@x.org,red,41\n2,Bob,b@x.org,red,\n")
    result = crudite("import", "people.csv", "--to", "Person")
    assert result.exit_code == 0
    assert result.stdout.startswith("2 rows imported into Person")
    assert people() == [
        (1, "Ann", "a@x.org", "red", 41, "member"),
        (2, "Bob", "b@x.org", "red", None, "member"),
    ]


def test_dirty_rows_are_told_by_line_with_every_fault_and_the_rest_goes_in(crudite: Crudite) -> None:
    with_teams(crudite)
    write(
        "people.csv",
        "id,name,mail,team,age,role\n"
        "1,Ann,a@x.org,red,x,boss\n"
        "2,Bob,b@x.org,red,40,lead\n"
        "3,,c@x.org,red,40,lead\n"
        "4,Dan,b@x.org,red,40,lead\n"
        "5,Eve,e@x.org,blue,40,lead\n"
        "6,Fay\n",
    )
    result = crudite("import", "people.csv", "--to", "Person")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "line 2: age: expected an integer, not 'x'; role: expected one of 'lead', 'member', not 'boss'",
        "line 4: name: string should have at least 1 character",
        "line 5: mail is taken by another record",
        "line 6: team points at no record",
        "line 7: it has 2 cells, and the header 6",
    ]
    assert [row[0] for row in people()] == [2]


def test_a_strict_import_of_dirty_rows_imports_none(crudite: Crudite) -> None:
    with_teams(crudite)
    write("people.csv", "id,name,mail,team,age\n1,Ann,a@x.org,red,\n2,Bob,b@x.org,red,x\n")
    result = crudite("import", "people.csv", "--to", "Person", "--strict")
    assert (result.exit_code, result.stderr) == (1, "line 3: age: expected an integer, not 'x'\n")
    assert "Nothing was imported" in result.stdout
    assert not Path("people.db").exists() or people() == []


def test_a_strict_import_that_the_database_refuses_imports_none_and_names_the_line(crudite: Crudite) -> None:
    with_teams(crudite)
    write("people.csv", "id,name,mail,team,age\n1,Ann,a@x.org,red,\n2,Bob,a@x.org,red,\n")
    result = crudite("import", "people.csv", "--to", "Person", "--strict")
    assert (result.exit_code, result.stderr) == (1, "line 3: mail is taken by another record\n")
    assert people() == []


def test_a_dry_run_tells_faults_and_writes_nothing(crudite: Crudite) -> None:
    with_teams(crudite)
    write("people.csv", "id,name,mail,team,age\n1,Ann,a@x.org,red,\n2,,b@x.org,red,\n")
    result = crudite("import", "people.csv", "--to", "Person", "--dry-run")
    assert result.exit_code == 1
    assert result.stdout == "1 row of people.csv would fit Person, 1 would not. Nothing was imported.\n"
    assert people() == []


@pytest.mark.parametrize("strictly", [[], ["--strict"]])
@pytest.mark.parametrize(
    ("on_conflict", "exit_code", "name", "more"),
    [("fail", 1, "Ann", 1), ("skip", 0, "Ann", 2), ("replace", 0, "Anna", 2)],
)
def test_a_key_that_is_there_already_fails_is_skipped_or_replaced(
    crudite: Crudite, strictly: list[str], on_conflict: str, exit_code: int, name: str, more: int
) -> None:
    with_teams(crudite)
    write("people.csv", "id,name,mail,team,age\n1,Ann,a@x.org,red,41\n")
    assert crudite("import", "people.csv", "--to", "Person").exit_code == 0
    write("people.csv", "id,name,mail,team,age\n1,Anna,a@x.org,red,\n2,Bob,b@x.org,red,\n")
    result = crudite("import", "people.csv", "--to", "Person", "--on-conflict", on_conflict, *strictly)
    assert result.exit_code == exit_code
    assert people()[0][1] == name
    assert len(people()) == (1 if strictly and on_conflict == "fail" else 2)


def test_a_row_may_refer_to_one_above_it_also_beside_dirty_ones(crudite: Crudite) -> None:
    write(
        "tree.py",
        "from crudite import App, Record, Ref, allow\n"
        "class Node(Record[int], rules=allow.everyone):\n    above: Ref['Node | None']\n"
        "app = App(Node)\n",
    )
    write("a.csv", "id,above\n1,\n2,1\nx,1\n3,2\n4,9\n5,3\n")
    result = crudite("import", "a.csv", "--to", "Node")
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["line 4", "line 6"]
    assert result.stdout.startswith("4 rows imported")


def test_an_error_in_a_hook_says_at_which_line_it_happened(crudite: Crudite) -> None:
    with_teams(crudite)
    write("people.py", PEOPLE.replace("self.name.strip()", "self.name[5]"))
    write("people.csv", "id,name,mail,team,age\n1,Annabel,a@x.org,red,\n2,Bob,b@x.org,red,\n")
    result = crudite("import", "people.csv", "--to", "Person")
    assert isinstance(result.exception, IndexError)
    assert result.exception.__notes__ == ["while importing line 3 of people.csv"]


def test_json_and_json_lines_are_imported(crudite: Crudite) -> None:
    write("todo.py", TODO)
    write("a.json", '[{"title": "one"}, {"title": "two", "done": true}]')
    write("b.jsonl", '{"title": "three", "version": 7}\n{"titel": "four"}\n')
    assert crudite("import", "a.json", "--to", "todos").exit_code == 0
    result = crudite("import", "b.jsonl", "--to", "Todo")
    assert (result.exit_code, result.stderr) == (
        1,
        "line 2: title: this field is required; titel: there is no such field; did you mean 'title'?\n",
    )
    with sqlite3.connect("todo.db") as connection:
        rows = connection.execute("SELECT title, done FROM todos ORDER BY id").fetchall()
    connection.close()
    assert rows == [("one", 0), ("two", 1), ("three", 0)]


def test_columns_that_fit_nothing_are_named_before_anything_is_imported(crudite: Crudite) -> None:
    write("todo.py", TODO)
    write("a.csv", "titel\nx\n")
    result = crudite("import", "a.csv", "--to", "Todo")
    assert result.exit_code == 1
    assert "Todo has no field titel (did you mean title?)." in result.stderr
    assert not Path("todo.db").exists()


def test_an_unknown_resource_is_refused_with_the_nearest_name(crudite: Crudite) -> None:
    write("todo.py", TODO)
    write("a.csv", "title\nx\n")
    assert "Did you mean Todo?" in crudite("import", "a.csv", "--to", "Tod").stderr


def test_a_new_resource_is_printed_or_saved_and_filled(crudite: Crudite) -> None:
    write("flights.csv", "id,Carrier,delay\nUA1,UA,5\nUA2,UA,\n")
    printed = crudite("import", "flights.csv", "--new", "Flight")
    assert "class Flight(Record[str], rules=allow.everyone):" in printed.stdout
    assert not Path("flights.db").exists()
    saved = crudite("import", "flights.csv", "--new", "Flight", "--write", "flights.py")
    assert (saved.exit_code, Path("flights.py").read_text()) == (0, printed.stdout)
    with sqlite3.connect("flights.db") as connection:
        rows = connection.execute("SELECT id, carrier, delay FROM flights ORDER BY id").fetchall()
    connection.close()
    assert rows == [("UA1", "UA", 5), ("UA2", "UA", None)]
    assert "is there already" in crudite("import", "flights.csv", "--new", "Flight", "--write", "flights.py").stderr


def changed(crudite: Crudite) -> None:
    """A database with a record, whose schema is no longer the file's: `done` is gone, `due` is new."""
    write("todo.py", TODO)
    write("a.csv", "title,done\nx,true\n")
    assert crudite("import", "a.csv", "--to", "Todo").exit_code == 0
    write("todo.py", TODO.replace("done: bool = False", "due: int = 3"))


def retyped(crudite: Crudite) -> None:
    """The same, but that `done` is a date in the file."""
    changed(crudite)
    write("todo.py", "from datetime import date\n" + TODO.replace("done: bool = False", "done: date | None = None"))


def test_a_plan_tells_the_steps_what_they_lose_and_their_sql(crudite: Crudite) -> None:
    changed(crudite)
    result = crudite("db", "plan", "todo.py", "--verbose")
    assert result.exit_code == 0
    assert "- todos: add due\n" in result.stdout
    assert "- todos: remove done\n  loses 1 values of done\n" in result.stdout
    assert "CREATE TABLE" in result.stdout
    assert result.stdout.endswith("What they take away is not declared, and may stay.\n")


def test_what_is_not_declared_any_more_stays_until_a_migration_may_lose_it(crudite: Crudite) -> None:
    changed(crudite)
    taken = crudite("db", "migrate", "todo.py")
    assert (taken.exit_code, "What is not declared stays" in taken.stdout) == (0, True)
    assert "Done: 1 step." in taken.stdout
    assert crudite("db", "check", "todo.py").exit_code == 0
    again = crudite("db", "migrate", "todo.py")
    assert (again.exit_code, "Done" in again.stdout) == (0, False)
    assert crudite("db", "migrate", "todo.py", "--lose").exit_code == 1  # nobody answered the question
    assert "remove done" in crudite("db", "plan", "todo.py").stdout
    assert crudite("db", "migrate", "todo.py", "--lose", "--yes").exit_code == 0
    assert crudite("db", "plan", "todo.py").stdout == "todo.db has the schema that the application declares.\n"


AUDITED = """
import asyncio
from crudite import App, Record, allow

class Todo(Record[int], rules={"read": allow.everyone, "write": allow.everyone, "history": allow.signed_in}):
    title: str

app = App(Todo)

async def work() -> None:
    async with app:
        for title in "abc":
            await app.records.create(Todo, title=title)
        await app.store.trim(older_than=-1, larger_than=0)

if __name__ == "__main__":
    asyncio.run(work())
"""


def test_what_is_kept_of_audited_records_is_shown_and_let_go(crudite: Crudite) -> None:
    write("todo.py", AUDITED)
    routes = json.loads(crudite("routes", "todo.py", "--json").stdout)
    (history,) = [route for route in routes if route["path"].endswith("/history")]
    assert (history["action"], history["rule"]) == ("history", "signed in")
    subprocess.run([sys.executable, "todo.py"], env={**os.environ, "CRUDITE_STORE": "sqlite:///todo.db"}, check=True)
    store = ("--store", "sqlite:///todo.db")
    assert crudite("db", "history", "todo.py", *store).stdout.startswith("todos: 3 changes, 0.0 MB, since 20")
    assert crudite("db", "history", "todo.py", *store, "--prune", "Todo").exit_code == 1  # nobody answered the question
    nothing = crudite("db", "history", "todo.py", *store, "--prune", "Other")
    assert (nothing.exit_code, "there is something of todos" in nothing.stderr) == (1, True)
    for days, gone in (("1", 0), ("0", 3)):
        asked = ("db", "history", "todo.py", *store, "--prune", "Todo", "--older-than", days, "--yes")
        assert crudite(*asked).stdout.startswith(f"Done: {gone} changes went.")
    assert crudite("db", "history", "todo.py", *store).stdout == "Nothing is kept beyond the change log.\n"


def test_a_migration_that_loses_something_needs_a_word_and_an_answer(crudite: Crudite) -> None:
    retyped(crudite)
    refused = crudite("db", "migrate", "todo.py")
    assert (refused.exit_code, "this would lose data" in refused.stderr) == (1, True)
    assert crudite("db", "migrate", "todo.py", "--lose").exit_code == 1  # nobody answered the question
    assert "loses" in crudite("db", "plan", "todo.py").stdout
    assert crudite("db", "migrate", "todo.py", "--lose", "--yes").exit_code == 0
    assert crudite("db", "plan", "todo.py").stdout == "todo.db has the schema that the application declares.\n"
    assert crudite("db", "migrate", "todo.py").exit_code == 0


def test_serving_a_database_that_would_lose_something_says_what_to_do(crudite: Crudite) -> None:
    retyped(crudite)
    result = crudite("run", "todo.py", "--port", "0")
    assert result.exit_code == 1
    assert "crudite db plan" in result.stderr
    assert "Traceback" not in result.output


def test_serving_a_database_that_cannot_be_brought_forward_says_what_to_mend(crudite: Crudite) -> None:
    changed(crudite)
    write(
        "todo.py",
        TODO.replace("title: str = Field(min_length=1)", "title: int").replace("done: bool = False", "due: int"),
    )
    result = crudite("run", "todo.py", "--port", "0")
    assert result.exit_code == 1
    assert "1 values of title cannot become an integer, and title has no default instead" in result.stderr
    assert "due needs a default: 1 records have no value for it" in result.stderr
    assert "Mend what the steps say" in result.stderr
    assert "--lose" not in result.stderr


def test_a_check_names_references_that_point_at_nothing(crudite: Crudite) -> None:
    with_teams(crudite)
    write("people.csv", "id,name,mail,team,age\n1,Ann,a@x.org,red,\n")
    assert crudite("import", "people.csv", "--to", "Person").exit_code == 0
    assert crudite("db", "check").exit_code == 0
    with sqlite3.connect("people.db") as connection:
        connection.execute("DELETE FROM teams")
    connection.close()
    result = crudite("db", "check")
    assert (result.exit_code, result.stdout) == (
        1,
        "Person 1: team points at Team red, which is not there.\n",
    )


def test_a_plan_without_a_database_says_so_and_makes_none(crudite: Crudite) -> None:
    write("todo.py", TODO)
    assert "there is no database todo.db yet" in crudite("db", "plan", "todo.py").stderr
    assert not Path("todo.db").exists()
