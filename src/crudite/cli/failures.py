"""What goes wrong, told to a person: what can be mended in a few lines, a bug of ours with its traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from crudite.errors import BusError, DeclarationError, StoreError, StoreOutdated

_OUTDATED = "`crudite db plan` shows these steps with what they lose; `crudite db migrate --lose` takes them."
_BLOCKED = "Mend what the steps say that cannot be done, such as a missing default; `crudite db plan` shows them all."


class Failure(Exception):
    """Something that the user can mend. The message is all that is shown; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@contextmanager
def told() -> Iterator[None]:
    """Turns what the user can mend into a few lines on standard error and exit code 1."""
    try:
        yield
    except Failure as failure:
        tell(str(failure), failure.hint)
    except DeclarationError as error:
        tell("the application declares what cannot work:", faults=error.faults)
    except StoreOutdated as error:
        tell(str(error), _BLOCKED if error.is_blocked else _OUTDATED)
    except (StoreError, BusError) as error:
        tell(str(error))
    else:
        return
    raise typer.Exit(1)


def tell(message: str, hint: str = "", *, faults: tuple[str, ...] = ()) -> None:
    """Writes an error to standard error."""
    typer.secho("Error: ", err=True, nl=False, fg="red", bold=True)
    typer.echo(message, err=True)
    for fault in faults:
        typer.echo(f"  - {fault}", err=True)
    if hint:
        typer.echo(hint, err=True)
    sys.stderr.flush()
