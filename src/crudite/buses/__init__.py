"""Wake-ups between processes: the port, and a module or package for each adapter."""

from importlib import import_module

from crudite.buses.base import Bus
from crudite.errors import BusError

_ADAPTERS = {
    "local": ("crudite.buses.local", "LocalBus", ""),
    "unix": ("crudite.buses.unix", "UnixBus", ""),
    "nats": ("crudite.buses.nats", "NatsBus", "nats"),
    "nats+tls": ("crudite.buses.nats", "NatsBus", "nats"),
    "redis": ("crudite.buses.redis", "RedisBus", "redis"),
    "rediss": ("crudite.buses.redis", "RedisBus", "redis"),
    "valkey": ("crudite.buses.redis", "RedisBus", "redis"),
    "valkeys": ("crudite.buses.redis", "RedisBus", "redis"),
    "postgresql": ("crudite.buses.postgresql", "PostgresqlBus", "postgresql"),
    "postgres": ("crudite.buses.postgresql", "PostgresqlBus", "postgresql"),
}


def open_bus(url: str) -> Bus:
    """The bus for a URL such as `local:`, `unix:///run/app/bus` or `nats://host`; it is not connected yet.

    Raises BusError for a URL that no adapter knows, and when its driver is not installed. An adapter and its
    driver are imported only here.
    """
    scheme = url.partition(":")[0]
    if scheme not in _ADAPTERS:
        known = ", ".join(_ADAPTERS)
        raise BusError(f"the bus: expected a URL that begins with one of {known}, and got {scheme!r}")
    module, name, extra = _ADAPTERS[scheme]
    try:
        adapter = import_module(module)
    except ModuleNotFoundError as error:
        raise BusError(f"{error.name} is not installed: pip install 'crudite[{extra}]'") from error
    bus: Bus = getattr(adapter, name)(url)
    return bus
