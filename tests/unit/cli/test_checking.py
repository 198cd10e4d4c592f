"""`crudite check`: each danger is found where it is, and is not where it is not."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crudite.cli.commands import cli

SAFE = """
from datetime import timedelta
from crudite import App, ApiKeys, Email, Field, Limits, OpenApi, Password, Rate, Request, Resource, Rest, Sessions
from crudite import Jwt, allow, me

class Account(Resource, rules={"read": allow.signed_in, "create": allow.everyone, "write": allow.where(id=me.id)}):
    email: Email = Field(unique=True)
    password: Password

class Note(Resource, rules={"read": allow.everyone, "create": allow.signed_in, "write": allow.where(owner=me.id)}):
    title: str
    owner: str = Field(default=me.id)

app = App(Account, Note, auth=Sessions(Account), hosts=["shop.example.org"], rates=[Rate("600/minute")])
"""
Check = Callable[..., tuple[int, dict[str, str]]]
"""Checks a program with parts of it replaced; the exit code, and the level of each finding by its name."""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Check]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("CRUDITE_MODE", "FORWARDED_ALLOW_IPS", "CRUDITE_STORE"):
        monkeypatch.delenv(name, raising=False)

    def run(*changes: tuple[str, str], further: str = "", options: tuple[str, ...] = ()) -> tuple[int, dict[str, str]]:
        program = SAFE
        for before, after in changes:
            assert before in program
            program = program.replace(before, after)
        sys.modules.pop("market", None)
        code = tmp_path / "code"
        code.mkdir(exist_ok=True)
        (code / "market.py").write_text(program + further)
        result = CliRunner().invoke(cli, ["check", str(code / "market.py"), "--json", *options])
        assert result.stdout, result.output + repr(result.exception)
        found = json.loads(result.stdout)
        assert all(one["what"].endswith(".") and one["do"] for one in found)
        return result.exit_code, {one["name"]: one["level"] for one in found}

    yield run
    sys.modules.pop("market", None)


def test_a_program_in_which_all_is_said_may_go_live(check: Check) -> None:
    assert check() == (0, {"proxies": "note", "tls": "note"})
    assert check(options=("--strict",))[0] == 0


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        (('"write": allow.where(owner=me.id)', '"write": allow.everyone'), "open_writes", "danger"),
        (('"create": allow.signed_in', '"create": allow.everyone'), "open_creates", "warning"),
        (('hosts=["shop.example.org"], ', ""), "any_host", "warning"),
        (('hosts=["shop.example.org"]', 'hosts=["*.org"]'), "any_host", "danger"),
        ((', rates=[Rate("600/minute")]', ""), "no_rates", "warning"),
        (("Sessions(Account)", "Sessions(Account, cookie='sid')"), "plain_cookie", "warning"),
        (("Sessions(Account)", "Sessions(Account, url='http://shop.example')"), "plain_links", "danger"),
        (("Sessions(Account)", "[Sessions(Account), ApiKeys(Account, lasts=None)]"), "endless_keys", "warning"),
        (("hosts=", "staff=allow.everyone, hosts="), "open_figures", "danger"),
        (("hosts=", "origins=['*'], hosts="), "every_origin", "warning"),
        (("hosts=", "origins=['https://*.example.org'], hosts="), "whole_domain", "warning"),
        (("hosts=", "origins=['http://localhost:5173'], hosts="), "local_origin", "warning"),
        (("hosts=", "origins=['http://shop.example'], hosts="), "plain_origin", "danger"),
        (("hosts=", "interfaces=[Rest(), OpenApi(public=True)], hosts="), "public_docs", "note"),
        (("hosts=", "limits=Limits(body=10**9), hosts="), "no_limit", "warning"),
        (("hosts=", "store='sqlite:///:memory:', hosts="), "in_memory", "danger"),
        (("app = App(", "KEY = 'postgresql://shop:hunter2@db/shop'\napp = App("), "password_in_code", "danger"),
        (("app = App(", "def way(): return Jwt(key='0123456789abcdef' * 4)\napp = App("), "key_in_code", "danger"),
    ],
)
def test_each_danger_is_found(check: Check, change: tuple[str, str], name: str, level: str) -> None:
    code, found = check(change)
    assert found.get(name) == level
    assert code == (level == "danger")
    assert set(found) - {name} <= {"proxies", "tls"}


def test_what_stands_nowhere_and_what_is_switched_off_is_no_danger(check: Check) -> None:
    rules = 'rules={"read": allow.everyone, "create": allow.signed_in, "write": allow.where(owner=me.id)}'

    def found(options: str) -> set[str]:
        return set(check((rules, options))[1]) - {"proxies", "tls"}

    assert found("rules=allow.everyone, places=()") == set()
    assert found("places=()") == set()
    assert found('rules=allow.everyone, only=["list", "read"]') == set()
    assert found('rules=allow.everyone, exclude="create"') == {"open_writes"}


def test_rules_about_nobody_are_found(check: Check) -> None:
    code, found = check(("auth=Sessions(Account), ", ""))
    assert (code, found["no_auth"]) == (0, "warning")
    assert found["open_creates"] == "warning"  # which is signing up, as long as somebody can


def test_what_may_be_tried_without_end_is_found(check: Check) -> None:
    handler = '\n@app.create("sign-in-by-code")\nasync def enter(request: Request, code: str) -> str: return code\n'
    assert check(further=handler)[1].get("log_in_rate") is None  # a rate holds for everything
    bounded = (('Rate("600/minute")', 'Rate("600/minute", on="notes")'),)
    assert check(*bounded, further=handler)[1]["log_in_rate"] == "warning"
    assert check(*bounded)[1].get("log_in_rate") is None  # those of Sessions are bounded by themselves


def test_a_directory_that_holds_the_code_is_found(check: Check, tmp_path: Path) -> None:
    (tmp_path / "code" / "site").mkdir(parents=True)
    for served in (tmp_path, tmp_path / "code"):
        code, found = check(further=f"\napp.files('', {str(served)!r})\n")
        assert (code, found["serves_code"]) == (1, "danger")
    assert "serves_code" not in check(further=f"\napp.files('', {str(tmp_path / 'code' / 'site')!r})\n")[1]


@pytest.mark.parametrize(
    ("variable", "value", "name", "level"),
    [
        ("CRUDITE_MODE", "dev", "dev_mode", "danger"),
        ("FORWARDED_ALLOW_IPS", "*", "trusts_everyone", "danger"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.5,0.0.0.0/0", "trusts_everyone", "danger"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.5", "trusts_everyone", None),
    ],
)
def test_what_the_environment_says_counts(
    check: Check, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str, level: str | None
) -> None:
    monkeypatch.setenv(variable, value)
    code, found = check()
    assert found.get(name) == level
    assert code == (level == "danger")


def test_warnings_count_where_that_is_asked(check: Check) -> None:
    assert check(('hosts=["shop.example.org"], ', ""))[0] == 0
    assert check(('hosts=["shop.example.org"], ', ""), options=("--strict",))[0] == 1


def test_it_is_told_in_lines_that_say_what_to_do(check: Check, tmp_path: Path) -> None:
    check(('"write": allow.where(owner=me.id)', '"write": allow.everyone'))
    result = CliRunner().invoke(cli, ["check", str(tmp_path / "code" / "market.py")])
    assert result.exit_code == 1
    first, second, *_ = result.stdout.splitlines()
    assert first == "danger   Everyone may update, replace and delete every Note. [open_writes]"
    assert second.strip().startswith("Give it a rule: rules=")
    assert result.stdout.splitlines()[-1].endswith("market.py: 1 danger, 2 notes.")


def test_what_options_of_a_style_narrow_is_still_open_to_all_others_and_says_so(check: Check, tmp_path: Path) -> None:
    more = (
        "\nfrom crudite import Record, Rest, Wheelhouse, WheelhouseOptions, allow\n"
        "class Dog(Record[int], rules=allow.everyone):\n    name: str\n"
        "old = Rest(style=Wheelhouse(resources={Dog: WheelhouseOptions(permissions=['read'])}))\n"
        "app = App(Dog, interfaces=[old])\n"
    )
    code, found = check(further=more)
    assert (code, found["open_writes"], found["open_creates"]) == (1, "danger", "warning")
    told = CliRunner().invoke(cli, ["check", str(tmp_path / "code" / "market.py")]).stdout
    assert "Everyone may update, replace and delete every Dog, narrowed by a style alone. [open_writes]" in told
    assert "Everyone may create a Dog, as many as he likes, narrowed by a style alone. [open_creates]" in told


def test_a_resource_that_nobody_may_use_is_told_unless_that_is_said(check: Check) -> None:
    more = "\nclass Draft(Resource{}):\n    title: str\n\napp = App(Draft)\n"
    assert check(further=more.format(""))[1]["closed"] == "note"
    assert "closed" not in check(further=more.format(", rules=allow.nobody"))[1]
