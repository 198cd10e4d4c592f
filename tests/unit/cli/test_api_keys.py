"""`crudite api-key add` makes a key that works, and tells what can be mended."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crudite.cli.commands import cli
from crudite.cli.target import find, load
from crudite.testing import Client

TASKS = """
from crudite import Actor, ApiKeys, App, Email, Field, Ref, Resource, allow, me

class Account(Resource, rules={"read": allow.where(id=me.id)}):
    email: Email = Field(unique=True)

class Task(Resource, rules=allow.where(owner=me.id)):
    title: str
    owner: Ref[Account] = Field(default=me.id)

app = App(Account, Task, auth=ApiKeys(Account))
"""
OPEN = """
from crudite import App, Resource, allow

class Task(Resource, rules=allow.everyone):
    title: str

app = App(Task)
"""

Crudite = Callable[..., Result]


@pytest.fixture
def crudite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crudite]:
    """Runs the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("CRUDITE_APP", "CRUDITE_STORE", "CRUDITE_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "tasks.py").write_text(TASKS)
    yield lambda *args: CliRunner().invoke(cli, list(args))
    sys.modules.pop("tasks", None)


async def made_account() -> str:
    app = load(find("tasks.py"))
    async with app:
        account = await app.records.create(app.definitions.by_name["Account"].cls, email="ann@example.org")
        await app.records.create(app.definitions.by_name["Task"].cls, title="hers", owner=account.id)
    return str(account.id)


async def shown(key: str) -> list[str]:
    async with Client(load(find("tasks.py")), token=key) as client:
        return [row["title"] for row in (await client.get("/tasks")).json]


async def test_a_key_is_made_for_an_account_by_its_address_or_key(crudite: Crudite) -> None:
    number = await made_account()
    for owner in ("ann@example.org", number):
        result = await in_thread(crudite, "api-key", "add", owner, "report", "--scope", "tasks:read", "--days", "3")
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("crd_")
        assert "is shown only now and expires on" in result.stderr
        assert await shown(result.stdout.strip()) == ["hers"]


async def test_what_can_be_mended_is_told(crudite: Crudite, tmp_path: Path) -> None:
    assert "there is no database" in (await in_thread(crudite, "api-key", "add", "ann", "report")).stderr
    await made_account()
    for args, complaint in (
        (("bob@example.org", "report"), "there is no Account 'bob@example.org'"),
        (("ann@example.org", "report", "--scope", "task"), "A scope is the path of a resource"),
        (("ann@example.org", "report", "--days", "4000"), "A key lasts"),
        (("ann@example.org", ""), "at least 1"),
    ):
        result = await in_thread(crudite, "api-key", "add", *args)
        assert (result.exit_code, result.stdout) == (1, "")
        assert complaint in result.stderr
    (tmp_path / "open.py").write_text(OPEN)
    result = await in_thread(crudite, "api-key", "add", "ann", "report", "open.py")
    assert "the application knows no API keys" in result.stderr


async def in_thread(crudite: Crudite, *args: str) -> Result:
    """Runs a command beside the loop of the test, since it has one of its own."""
    return await asyncio.to_thread(crudite, *args)
