"""The command line: `crudite`."""

from crudite.cli.commands import main

__all__ = ["main"]
