"""`crudite user add` makes an account that somebody can sign in with, and tells what can be mended."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crudite.cli.commands import cli
from crudite.cli.target import find, load
from crudite.testing import Client

SHOP = """
from crudite import App, Email, Field, Hashing, Password, Resource, Sessions, allow, me

class Account(Resource, rules={"read": allow.where(id=me.id)}):
    email: Email = Field(unique=True)
    password: Password
    name: str = ""
    roles: list[str] = Field(default_factory=list)
    verified: str | None = None

quick = Hashing(passes=1, memory=8, lanes=1)
app = App(Account, auth=Sessions(Account, hashing=quick))
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
    """Runs the command line in a folder with an application; the first argument is what is typed."""
    monkeypatch.chdir(tmp_path)
    for name in ("CRUDITE_APP", "CRUDITE_STORE", "CRUDITE_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop.py").write_text(SHOP)
    yield lambda typed, *args: CliRunner().invoke(cli, list(args), input=typed)
    for module in ("shop", "plain"):
        sys.modules.pop(module, None)


def test_the_account_can_be_signed_in_with(crudite: Crudite) -> None:
    made = crudite(
        "correct horse\n", "user", "add", "ann@Example.org", "--role", "admin", "--role", "staff", "--set", "name=Ann"
    )
    assert made.exit_code == 0, made.output
    assert "correct horse" not in made.output
    assert "ann@Example.org can sign in now as admin, staff." in made.output
    assert asyncio.run(_signed_in()) == (["admin", "staff"], "Ann", "ann@example.org")


async def _signed_in() -> tuple[list[str], str, str]:
    async with Client(load(find("shop.py"))) as client:
        answer = await client.post("/log-in", {"email": "ann@example.org", "password": "correct horse", "bearer": True})
        ann = client.acting(answer.json["token"])
        account = (await ann.get(f"/accounts/{answer.json['account']}")).json
        return (await ann.get("/session")).json["roles"], account["name"], account["verified"]


def test_what_cannot_be_is_told_in_a_line(crudite: Crudite, tmp_path: Path) -> None:
    assert crudite("correct horse\n", "user", "add", "ann@example.org").exit_code == 0
    for typed, args, said in (
        ("correct horse\n", ("ann@example.org",), "email"),
        ("short\n", ("bob@example.org",), "password: String should have at least 8 characters"),
        ("correct horse\n", ("no address",), "email: "),
        ("correct horse\n", ("bob@example.org", "--set", "nme=Bob"), "nme: "),
        ("correct horse\n", ("bob@example.org", "--set", "name"), "--set takes a field and its value"),
    ):
        refused = crudite(typed, "user", "add", *args)
        assert refused.exit_code == 1, args
        assert said in refused.output, refused.output
        assert "Traceback" not in refused.output
    (tmp_path / "plain.py").write_text(OPEN)
    refused = crudite("correct horse\n", "user", "add", "ann", "plain.py")
    assert refused.exit_code == 1
    assert "auth=Sessions(Account)" in refused.output
