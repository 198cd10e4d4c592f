"""The bus of siblings on one machine, `unix:///run/app/bus`: a Unix socket, and one of them is the hub."""

from crudite.buses.unix.bus import UnixBus

__all__ = ["UnixBus"]
