"""`python -m crudite.cli` is `crudite`."""

from crudite.cli.commands import main

main()
