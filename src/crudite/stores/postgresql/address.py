"""The URL of a database: where it is, and every setting that can be made in it."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from crudite.errors import StoreError
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
_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:@\[\]]*)(:[0-9]*)?")
_SETTING = re.compile(r"[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) *(us|ms|s|min|h|d|)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is, and how it is used.

    `url` is what the driver takes. `schema` is the PostgreSQL schema that holds all our tables, None for the first one
    of the search path. `connections` are open at most for requests, None for as many as the store says; `waiting` may
    wait for one, each for `patience` seconds; `reach` seconds are given to the making of one. `settings` are
    PostgreSQL's own, which win over ours. `pooler` says how a pooler between us and the server lends its connections.
    """

    url: str
    schema: str | None = None
    connections: int | None = None
    waiting: int = 1_000
    patience: float = 5.0
    reach: float = 10.0
    pooler: Pooler = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def shown(self) -> str:
        """The address without its password, for messages and logs."""
        parts = urlsplit(self.url)
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def session(self, ours: Mapping[str, str]) -> dict[str, str]:
        """The settings of a connection: ours, the URL's, and where our tables are."""
        home = {} if self.schema is None else {"search_path": quote(self.schema)}
        return {"application_name": "crudite", "jit": "off", **ours, **self.settings, **home}


def parse(where: str) -> Address:
    """The address in a URL: libpq's form, its parameters for TLS, PostgreSQL's settings, and ours.

    Raises StoreError, which names everything that is wrong with it.
    """
    parts = urlsplit(where)
    if parts.scheme not in ("postgresql", "postgres"):
        raise StoreError("expected a URL such as postgresql://user@host/name")
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    # a password that holds one of / ? # cuts the URL off in its middle: nothing of it may be shown then
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if "@" in "".join((parts.path, parts.fragment, *asked)) or not all(map(_HOST.fullmatch, hosts)):
        raise StoreError(
            "expected a URL such as postgresql://user:password@host:5432/name, with %2F, %3F, %23, %40 for / ? # @"
        )
    faults: list[str] = []
    address = Address(
        url=urlunsplit(parts._replace(query=urlencode({n: v for n, v in asked.items() if n in _DRIVER}))),
        schema=asked.pop("schema", None) or None,
        connections=_whole(asked.pop("connections", None), "connections", 1, faults),
        waiting=_whole(asked.pop("waiting", "1000"), "waiting", 0, faults) or 0,
        patience=_seconds(asked.pop("patience", "5"), "patience", faults),
        reach=_seconds(asked.pop("connect_timeout", "10"), "connect_timeout", faults),
        pooler=_pooler(asked.pop("pooler", None), faults),
        settings={name: value for name, value in asked.items() if name not in _DRIVER},
    )
    faults += [*_wrong_with_tls(asked), *_wrong_with_settings(address.settings)]
    if faults:
        raise StoreError(f"{address.shown}: {'; '.join(faults)}")
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


def _wrong_with_settings(settings: Mapping[str, str]) -> Iterator[str]:
    for name in settings:
        if name in _UNKNOWN:
            yield f"{name}: the driver has no such parameter"
        elif not _SETTING.fullmatch(name):
            yield f"{name}: expected the name of a setting"


def duration(text: str) -> float | None:
    """How many seconds a setting of PostgreSQL says, such as `5s`, `1min` or `250` (milliseconds).

    None when it says none: 0 (no limit), or what only the server can refuse.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        return None
    return float(found[1]) * _UNITS[found[2]] or None
