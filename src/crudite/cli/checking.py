"""`crudite check`: what an application should not go live with, as far as the application itself can tell.

Each rule looks at one thing and says what to do about it. A danger is what lets somebody do what he should not, or
loses data; a warning is what is right for some applications only, so that somebody should have decided it; a note says
what cannot be seen from here. The exit code is 1 where there is a danger, or with `--strict` a warning.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import typer

from crudite.app import App
from crudite.auth import ApiKeys, Sessions
from crudite.cli.routes import is_narrowed, lacks_rules
from crudite.cli.target import Target, find, load
from crudite.interfaces.base import Limits
from crudite.interfaces.openapi import OpenApi
from crudite.interfaces.origins import Origin
from crudite.live import LiveLimits
from crudite.messages import ANONYMOUS, ActionName
from crudite.query.presence import is_all_there
from crudite.query.tree import EVERYTHING, NOTHING, Filter
from crudite.resources.declaring.definition import Definition, Definitions
from crudite.rules import fold

Level: TypeAlias = Literal["danger", "warning", "note"]

_WRITES: tuple[ActionName, ...] = ("update", "replace", "delete")
_LOG_IN = re.compile(r"log-?in|sign-?in|token|auth|password", re.IGNORECASE)
_MUCH = 100
"""How many times its default a limit may be before it counts as turned off."""
_WITH_PASSWORD = re.compile(r"""["'][a-z+]+://[^\s"':/@]*:[^\s"'@{]+@[^\s"']+["']""")
_KEY_IN_CODE = re.compile(r"""\bJwt\([^()]*\bkey\s*=\s*b?["'](?!-----BEGIN)""")
_COLORS: Mapping[Level, str] = {"danger": "red", "warning": "yellow", "note": "bright_black"}


class Finding(NamedTuple):
    """What was found: how bad it is, a stable name, what it is, and what to do."""

    level: Level
    name: str
    what: str
    do: str


@dataclass(frozen=True, slots=True)
class Case:
    """What is looked at: the application, what named it, and the environment that it will run in."""

    app: App
    target: Target
    environment: Mapping[str, str]

    @property
    def sessions(self) -> Sessions | None:
        """Its accounts and sessions, where it has some."""
        return next((way for way in self.app.identify.ways if isinstance(way, Sessions)), None)


def check(named: str | None, store: str | None, *, as_json: bool, strict: bool) -> bool:
    """Prints what is found, the worst first; whether it may go live. Raises Failure."""
    target = find(named)
    environment = dict(os.environ)
    case = Case(load(target, mode="run", store=store), target, environment)
    found = findings(case)
    if as_json:
        print(json.dumps([finding._asdict() for finding in found], indent=2, ensure_ascii=False))
    else:
        _print(found, target.shown)
    bad = ("danger", "warning") if strict else ("danger",)
    return not any(finding.level in bad for finding in found)


def findings(case: Case) -> list[Finding]:
    """All that is found, the worst first."""
    levels = list(_COLORS)
    found = [finding for rule in RULES for finding in rule(case)]
    return sorted(found, key=lambda finding: levels.index(finding.level))


def _print(found: list[Finding], shown: str) -> None:
    for level, name, what, do in found:
        typer.secho(f"{level:<8}", nl=False, fg=_COLORS[level], bold=level == "danger")
        typer.echo(f" {what} [{name}]")
        typer.echo(f"         {do}")
    numbers = [(level, sum(finding.level == level for finding in found)) for level in _COLORS]
    counted = ", ".join(f"{number} {level}{'s' if number != 1 else ''}" for level, number in numbers if number)
    typer.echo(f"{shown}: {counted or 'nothing was found'}.")


# the rules


def _open_to_everyone(case: Case) -> Iterator[Finding]:
    account = case.sessions.account if case.sessions is not None else None
    definitions = case.app.definitions
    for definition in definitions:
        open_writes = [action for action in _WRITES if _is_open(definitions, definition, action)]
        if open_writes:
            by = ", narrowed by a style alone" if _is_narrowed(case.app, definition, open_writes) else ""
            yield Finding(
                "danger", "open_writes", f"Everyone may {_listed(open_writes)} every {definition.name}{by}.",
                'Give it a rule: rules={"read": allow.everyone, "write": allow.where(owner=me.id)}.',
            )  # fmt: skip
        if _is_open(definitions, definition, "create") and definition.cls is not account:
            by = ", narrowed by a style alone" if _is_narrowed(case.app, definition, ["create"]) else ""
            yield Finding(
                "warning", "open_creates", f"Everyone may create a {definition.name}, as many as he likes{by}.",
                'Say "create": allow.signed_in; or, if it is meant, bound it: '
                f'App(rates=[Rate("10/minute", on="{definition.path}", by="address")]).',
            )  # fmt: skip
        if lacks_rules(definition) and definitions.places[definition]:
            yield Finding(
                "note", "closed", f"Nobody may do anything with {definition.name} but the server itself.",
                "Give it rules=, or allow.nobody if that is what is meant.",
            )  # fmt: skip


def _nobody_known(case: Case) -> Iterator[Finding]:
    if case.app.identify.is_needed:
        return
    needing = [one.name for one in case.app.definitions if any(_speaks_of_asker(r) for r in one.rules.values())]
    if needing:
        yield Finding(
            "warning", "no_auth", f"The rules of {_listed(needing)} speak of who asks, and nobody is ever known.",
            "Say App(auth=Sessions(Account)), or another way to authenticate.",
        )  # fmt: skip


def _hosts(case: Case) -> Iterator[Finding]:
    if case.app.hosts is None:
        yield Finding(
            "warning", "any_host", "It answers to every host name.",
            'Say App(hosts=["shop.example.org"]), or crudite run --host-name shop.example.org.',
        )  # fmt: skip
    elif "*" in case.app.hosts or any(name.startswith("*.") and name.count(".") < 2 for name in case.app.hosts):
        yield Finding("danger", "any_host", "Its hosts= name all of a top domain.", "Name the hosts that it has.")


def _mode(case: Case) -> Iterator[Finding]:
    if case.environment.get("CRUDITE_MODE") == "dev":
        yield Finding(
            "danger", "dev_mode", "CRUDITE_MODE=dev: resources without rules are open to everyone, figures and all.",
            "Take CRUDITE_MODE out of the environment; serve with crudite run.",
        )  # fmt: skip


def _proxies(case: Case) -> Iterator[Finding]:
    trusted = case.environment.get("FORWARDED_ALLOW_IPS")
    if trusted is not None and ("*" in trusted or "/0" in trusted):
        yield Finding(
            "danger", "trusts_everyone", f"FORWARDED_ALLOW_IPS={trusted}: anybody says which address he comes from.",
            "Name the proxies' addresses: limits, log-in tries and what is noted of changes rest on it.",
        )  # fmt: skip
    elif trusted is None:
        yield Finding(
            "note", "proxies", "Only a proxy on this machine may say where requests come from.",
            "If there is one elsewhere: FORWARDED_ALLOW_IPS=10.0.0.5. Else all clients have its address.",
        )  # fmt: skip
    yield Finding(
        "note", "tls", "crudite run speaks HTTP without TLS.",
        "Put a proxy with TLS in front, or crudite on a loopback address behind one; see the guide to deployment.",
    )  # fmt: skip


def _secrets(case: Case) -> Iterator[Finding]:
    source = case.target.file.read_text("utf-8", "replace") if case.target.file is not None else ""
    if _WITH_PASSWORD.search(source):
        yield Finding(
            "danger", "password_in_code", f"{case.target.shown} holds a URL with a password.",
            "Read it from the environment: CRUDITE_STORE, CRUDITE_BUS, os.environ[…].",
        )  # fmt: skip
    if _KEY_IN_CODE.search(source):
        yield Finding(
            "danger", "key_in_code", f"{case.target.shown} holds the secret that tokens are signed with.",
            "Read it from the environment, or use the issuer's published keys: Jwt(jwks=…).",
        )  # fmt: skip


def _sessions(case: Case) -> Iterator[Finding]:
    sessions = case.sessions
    if sessions is None:
        return
    settings = sessions.settings
    if not settings.cookie.startswith(("__Host-", "__Secure-")):
        yield Finding(
            "warning", "plain_cookie", f"The cookie {settings.cookie} is Secure only where a request came over https.",
            "Leave cookie= out: __Host-sid is taken by browsers over TLS alone, and for this host alone.",
        )  # fmt: skip
    if settings.url is not None and urlsplit(settings.url).scheme != "https":
        yield Finding("danger", "plain_links", f"Links in mail lead to {settings.url}.", "Say url= with https.")


def _log_ins(case: Case) -> Iterator[Finding]:
    own = [name for name in case.app.handlers if name not in case.app.offered and _LOG_IN.search(name)]
    for name in own:
        if case.app.handlers[name].kind != "read" and not case.app.rates.are_for(name, "call"):
            yield Finding(
                "warning", "log_in_rate", f"Nothing bounds how often somebody may try {name}.",
                f'Say App(rates=[Rate("10/minute", on="{name}", by="address")]), or use Sessions, which counts.',
            )  # fmt: skip


def _rates(case: Case) -> Iterator[Finding]:
    if not case.app.rates:
        yield Finding(
            "warning", "no_rates", "Nothing bounds how often one client may ask.",
            'Say App(rates=[Rate("600/minute")]), with what your clients need.',
        )  # fmt: skip


def _keys(case: Case) -> Iterator[Finding]:
    for way in case.app.identify.ways:
        if isinstance(way, ApiKeys) and way.lasts is None:
            yield Finding(
                "warning", "endless_keys", "API keys last for ever.", "Say ApiKeys(lasts=timedelta(days=365))."
            )


def _origins(case: Case) -> Iterator[Finding]:
    for text in case.app.origins.listed:
        if text == "*":
            yield Finding(
                "warning", "every_origin", "Pages of every site may read what is public (origins=[\"*\"]).",
                "Name the sites, unless it is an open API.",
            )  # fmt: skip
            continue
        origin = Origin.of(text.replace("://*.", "://", 1))
        is_local = origin is not None and origin.host in ("localhost", "127.0.0.1", "[::1]")
        if is_local:
            yield Finding(
                "warning", "local_origin", f"{text} may use the cookies of your users.",
                "It is for development: whatever runs there on a visitor's machine may, too.",
            )  # fmt: skip
        elif origin is not None and origin.scheme != "https":
            yield Finding(
                "danger", "plain_origin", f"{text} may use your users' cookies, and anybody on its network is it.",
                "Say it with https.",
            )  # fmt: skip
        elif "://*." in text:
            yield Finding(
                "warning", "whole_domain", f"Every page below {text} may use the cookies of your users.",
                "Name the hosts: one that is forgotten, or taken over, is enough.",
            )  # fmt: skip


def _behind_the_scenes(case: Case) -> Iterator[Finding]:
    if case.app.staff == EVERYTHING:
        yield Finding(
            "danger", "open_figures", "Everyone may look behind the scenes.", 'Say staff=allow.role("staff").'
        )
    if any(isinstance(one, OpenApi) and one.public for one in case.app.interfaces):
        yield Finding(
            "note", "public_docs", "The API description is public.", "Leave public=True out, unless others build on it."
        )


def _limits(case: Case) -> Iterator[Finding]:
    for given, usual, where in (
        (case.app.limits, Limits(), "Limits"),
        (case.app.limits.live, LiveLimits(), "LiveLimits"),
    ):
        for name in (one.name for one in fields(usual)):
            value: Any = getattr(given, name)
            default: Any = getattr(usual, name)
            if isinstance(value, int | float) and value > _MUCH * default:
                yield Finding(
                    "warning", "no_limit", f"{where}({name}={value}) is as good as none; its default is {default}.",
                    "Say what your clients need.",
                )  # fmt: skip


def _files(case: Case) -> Iterator[Finding]:
    code = case.target.folder.resolve()
    for prefix, directory in case.app.directories:
        root = directory.root
        if root == code or root in code.parents:
            yield Finding(
                "danger", "serves_code", f"/{prefix} serves {root}, in which the application's own files are.",
                "Serve a directory that holds nothing else: app.files(\"\", \"site\").",
            )  # fmt: skip


def _storage(case: Case) -> Iterator[Finding]:
    if not case.app.store.is_shared:
        yield Finding(
            "danger", "in_memory", f"Its data is gone when it ends ({case.app.store.shown}).",
            "Give it a database: --store, CRUDITE_STORE, App(store=…).",
        )  # fmt: skip


RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    _open_to_everyone, _mode, _storage, _files, _secrets, _behind_the_scenes, _hosts, _origins, _sessions, _log_ins,
    _rates, _keys, _limits, _nobody_known, _proxies,
)  # fmt: skip
"""In the order in which they are told."""


def _is_open(definitions: Definitions, definition: Definition, action: ActionName) -> bool:
    """Whether nobody in particular may do something with any record, at one of the places of its resource."""
    rules = [place.definition.rules[action] for place in definitions.places[definition] if action in place.actions]
    return any(is_all_there(fold(rule, ANONYMOUS, lambda _: NOTHING), definition.schema) for rule in rules)


def _is_narrowed(app: App, definition: Definition, actions: Sequence[ActionName]) -> bool:
    """Whether some interface's style has options beside the rules of actions; others know of rules only."""
    return any(is_narrowed(interface, definition, action) for interface in app.interfaces for action in actions)


def _speaks_of_asker(rule: Filter) -> bool:
    return fold(rule, ANONYMOUS, lambda check: check) != rule


def _listed(names: list[Any]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
