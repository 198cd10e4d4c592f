"""The URL of a database: where it is, and every setting that can be made in it."""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from crudite.query.sql import quote

Pooler: TypeAlias = Literal["transaction"] | None

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
_DRIVER = {
    "host", "port", "dbname", "database", "user", "password", "passfile", "service", "target_session_attrs",
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib",
}  # fmt: skip
"""What the driver understands of libpq's parameters."""
_UNKNOWN = {
    "channel_binding", "fallback_application_name", "gssencmode", "hostaddr", "keepalives", "keepalives_count",
    "keepalives_idle", "keepalives_interval", "load_balance_hosts", "replication", "requirepeer", "require_auth",
    "sslcompression", "sslcertmode", "sslcrldir", "sslsni", "tcp_user_timeout",
}  # fmt: skip
"""What libpq understands and the driver does not: the server would take it for a setting of its own."""
_OURS = {"schema", "connections", "waiting", "patience", "connect_timeout", "pooler", "poll"}
_EXPECTED = "postgresql://user:password@host:5432/name, with %2F, %3F, %23, %40 for / ? # @"
_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:@\[\]]*)(:[0-9]*)?")
_SETTING = re.compile(r"[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) *(us|ms|s|min|h|d|)")
_MISTYPED = 0.86
"""How much of a parameter's name (see difflib) another name has that is the same one, mistyped. No setting of
PostgreSQL that a connection may have comes so near."""
_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is, and how it is used.

    `url` is what the driver takes. `schema` is the PostgreSQL schema that holds all our tables, None for the first one
    of the search path. `connections` are open at most for requests, None for as many as the store says; `waiting` may
    wait for one, each for `patience` seconds; `reach` seconds are given to the making of one. `settings` are
    PostgreSQL's own, which win over ours. `pooler` says how a pooler between us and the server lends its connections.
    Whoever follows the change log looks for news every `poll` seconds, if nothing wakes him.
    `also` is what was asked under the names that only one kind of reader knows.
    """

    url: str
    schema: str | None = None
    connections: int | None = None
    waiting: int = 1_000
    patience: float = 5.0
    reach: float = 10.0
    poll: float = 0.025
    pooler: Pooler = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    also: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def shown(self) -> str:
        """The address without its password, for messages and logs."""
        parts = urlsplit(self.url)
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def session(self, ours: Mapping[str, str]) -> dict[str, str]:
        """The settings of a connection: ours, the URL's, and where our tables are."""
        home = {} if self.schema is None else {"search_path": quote(self.schema)}
        return {"application_name": "crudite", "jit": "off", **ours, **self.settings, **home}


class WrongAddress(ValueError):
    """A URL that is none, or asks for what there is not. The message names everything that is wrong, and no
    password."""


def parse(where: str, also: Collection[str] = ()) -> Address:
    """The address in a URL: libpq's form, its parameters for TLS, PostgreSQL's settings, ours, and what else the reader
    knows. The URL of a store names a bus as well, so ours are the same for both.

    Raises WrongAddress.
    """
    try:
        parts = urlsplit(where)
    except ValueError:  # which may hold the password
        raise WrongAddress(f"expected a URL such as {_EXPECTED}") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise WrongAddress("expected a URL such as postgresql://user@host/name")
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    # a password that holds one of / ? # cuts the URL off in its middle: nothing of it may be shown then
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if "@" in "".join((parts.path, parts.fragment, *asked)) or not all(map(_HOST.fullmatch, hosts)):
        raise WrongAddress(f"expected a URL such as {_EXPECTED}")
    faults: list[str] = []
    address = Address(
        url=urlunsplit(parts._replace(query=urlencode({n: v for n, v in asked.items() if n in _DRIVER}))),
        schema=asked.pop("schema", None) or None,
        connections=_whole(asked.pop("connections", None), "connections", 1, faults),
        waiting=_whole(asked.pop("waiting", "1000"), "waiting", 0, faults) or 0,
        patience=_seconds(asked.pop("patience", "5"), "patience", faults),
        reach=_seconds(asked.pop("connect_timeout", "10"), "connect_timeout", faults),
        poll=_seconds(asked.pop("poll", "0.025"), "poll", faults),
        pooler=_pooler(asked.pop("pooler", None), faults),
        also={name: asked.pop(name) for name in also if name in asked},
        settings={name: value for name, value in asked.items() if name not in _DRIVER},
    )
    faults += [*_wrong_with_tls(asked), *_wrong_with_settings(address.settings, also)]
    if faults:
        raise WrongAddress(f"{address.shown}: {'; '.join(faults)}")
    return address


def _whole(given: str | None, name: str, least: int, faults: list[str]) -> int | None:
    if given is None:
        return None
    if given.isascii() and given.isdigit() and int(given) >= least:
        return int(given)
    faults.append(f"{name}: expected a whole number from {least}, and got {given!r}")
    return None


def _seconds(given: str, name: str, faults: list[str]) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        faults.append(f"{name}: expected a number of seconds above 0, and got {given!r}")
    return seconds


def _pooler(given: str | None, faults: list[str]) -> Pooler:
    if given not in (None, "transaction"):
        faults.append(f"pooler: expected transaction, and got {given!r}")
        return None
    return "transaction" if given else None


def _wrong_with_tls(asked: Mapping[str, str]) -> Iterator[str]:
    mode = asked.get("sslmode", "prefer")
    if mode not in _MODES:
        yield f"sslmode: expected one of {', '.join(_MODES)}, and got {mode!r}"
    elif "sslrootcert" in asked and mode in ("disable", "allow", "prefer"):
        yield f"sslrootcert: with sslmode={mode} nobody would look at it; expected sslmode=verify-full"
    for name in _FILES:
        if name in asked and not Path(asked[name]).expanduser().is_file():
            yield f"{name}: there is no file {asked[name]!r}"


def _wrong_with_settings(settings: Mapping[str, str], also: Collection[str]) -> Iterator[str]:
    for name in settings:
        if name in _UNKNOWN:
            yield f"{name}: the driver has no such parameter"
        elif not _SETTING.fullmatch(name):
            yield f"{name}: expected the name of a setting"
        elif near := get_close_matches(name, (*_OURS, *also, *_DRIVER), 1, _MISTYPED):
            yield f"{name}: PostgreSQL has no such setting; {near[0]} is perhaps what is meant"


def duration(text: str) -> float | None:
    """How many seconds a setting of PostgreSQL says, such as `5s`, `1min` or `250` (milliseconds).

    None when it says none: 0 (no limit), or what only the server can refuse.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        return None
    return float(found[1]) * _UNITS[found[2]] or None
