"""A URL names a bus; what cannot be one is refused before anything is connected, without telling a password."""

import sys

import pytest

from crudite.buses import open_bus
from crudite.buses.base import SupportsFigures
from crudite.errors import BusError


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("local:", "LocalBus"),
        ("unix:///run/app/bus", "UnixBus"),
        ("nats://user:secret@one:4222,two:4222?prefix=shop", "NatsBus"),
        ("nats+tls://one", "NatsBus"),
        ("redis://:secret@host:6379/3", "RedisBus"),
        ("rediss://host?prefix=shop", "RedisBus"),
        ("valkey://host", "RedisBus"),
        ("redis://[::1]:6379", "RedisBus"),
        ("postgresql://me:secret@host/name?schema=shop", "PostgresqlBus"),
        ("postgres:///name?host=/run/postgresql", "PostgresqlBus"),
    ],
)
def test_a_url_names_a_bus(url: str, kind: str) -> None:
    bus = open_bus(url)
    assert type(bus).__name__ == kind
    assert isinstance(bus, SupportsFigures)
    assert (bus.figures.is_connected, bus.figures.connections) == (False, 0)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kafka://me:secret@host",
        "local://somewhere",
        "nats://",
        "nats://me:secret@host/path",
        "nats://me:secret@host?unknown=1",
        "redis://",
        "nats://me:secret@host?prefix=A",
        "redis://me:secret@host?prefix=a..b",
        "postgresql://me:secret@host/name?prefix=longer-than-twenty-characters",
        "postgresql://me:secret@host/name?schema=Shop",
        "postgresql://me:secret@host/name?pooler=transaction",
        "nats://me:secret@one:4222,two:port",
        "nats://me:secret/more@host",
        "redis://me:12secret#more@host",
        "redis://me:12/secret@host",
        "postgresql://me:12/secret@host/name",
        "postgresql://me:secret@host:port/name",
        "postgresql://me:secret@[::1/name",
        "redis://me:secret@[::1",
        "nats://me:secret@[::1",
        "redis://me:secret@host?prefx=shop",
        "redis://me:secret@host?db=zero",
        "redis://me:secret@host?protocol=3",
    ],
)
def test_another_url_is_refused_and_its_password_is_not_told(url: str) -> None:
    with pytest.raises(BusError) as caught:
        open_bus(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("channel_binding=require", "channel_binding: the driver has no such parameter"),
        ("sslmode=foo", "sslmode: expected one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("sslmode=verify-full&sslrootcert=/none/ca.pem", "sslrootcert: there is no file '/none/ca.pem'"),
        ("connections=many", "connections: expected a whole number from 1"),
        ("patinece=3", "patinece: PostgreSQL has no such setting; patience is perhaps what is meant"),
        ("prefx=shop", "prefx: PostgreSQL has no such setting; prefix is perhaps what is meant"),
    ],
)
def test_what_a_url_of_postgresql_asks_for_is_looked_at_before_anything_is_connected(asked: str, expected: str) -> None:
    with pytest.raises(BusError) as caught:
        open_bus(f"postgresql://me:secret@host/name?{asked}")
    assert str(caught.value).startswith(f"the bus: postgresql://host/name: {expected}")


def test_a_driver_that_is_not_installed_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crudite.buses.nats", None)
    with pytest.raises(BusError, match=r"pip install 'crudite\[nats\]'"):
        open_bus("nats://host")
