"""What `App(…)` was given, checked before anything is made of it: whatever cannot work is said at once, by its name."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from crudite.calling import takes
from crudite.channels import Channel
from crudite.errors import DeclarationError
from crudite.limiting import Rate
from crudite.stores.mirrored.database import FUNCTIONS, refuse_no_database

_OF_A_STORE = ("open", "lookup", "write", "follow")


def check_arguments(resources: Sequence[Any], given: Mapping[str, Any]) -> None:
    """Raises DeclarationError with a sentence for each argument that is of another kind than it must be. `given` are
    those that were given by name; None stands for what was not."""
    faults = [
        f"App(…) takes classes, one after the other, such as App(Task, Person), not {shown(one)}."
        for one in resources
        if not isinstance(one, type)
    ]
    for name, value in given.items():
        if value is not None:
            faults.extend(f"{name}= {text}" for text in _CHECKS[name](value))
    if faults:
        raise DeclarationError(faults)


def shown(value: Any) -> str:
    """A value as it is named in what is said of one that is wrong; a text may be a secret."""
    if isinstance(value, str):
        return "a text"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"the function {value.__name__}" if inspect.isfunction(value) else repr(value)


def _auth(value: Any) -> Iterator[str]:
    for way in value if isinstance(value, Sequence) and not isinstance(value, str) else (value,):
        if isinstance(way, type) or not takes(way, 1):
            yield (
                "is a function that takes the credentials, or ways to authenticate such as Sessions(Account), "
                f"not {shown(way)}."
            )


def _interfaces(value: Any) -> Iterator[str]:
    each = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if each is not value or any(isinstance(one, type) or not hasattr(one, "mount") for one in each):
        yield f"is a list of interfaces, such as [Rest(), WebSocket()], not {shown(value)}."


def _provide(value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"is a dictionary of types and how to make each, such as {{Mailer: make_mailer}}, not {shown(value)}."
        return
    for kind, make in value.items():
        if not takes(make, 0):
            yield f"makes {shown(kind)} by a function without arguments, not by {shown(make)}."


def _list_of(kind: type[Any], example: str) -> Callable[[Any], Iterator[str]]:
    def check(value: Any) -> Iterator[str]:
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(o, kind) for o in value):
            yield f"is a list, such as {example}, not {shown(value)}."

    return check


def _called_with(count: int, says: str) -> Callable[[Any], Iterator[str]]:
    def check(value: Any) -> Iterator[str]:
        if not takes(value, count):
            yield f"is a function {says}, not {shown(value)}."

    return check


def _store(value: Any) -> Iterator[str]:
    is_made = not isinstance(value, type)
    if isinstance(value, str) or (is_made and all(callable(getattr(value, name, None)) for name in _OF_A_STORE)):
        return
    if not any(hasattr(value, name) for name in FUNCTIONS):
        yield f"is a URL such as 'sqlite:///todo.db', or a store, not {shown(value)}."
        return
    try:
        refuse_no_database(value)
    except TypeError as error:
        yield f"is a URL such as 'sqlite:///todo.db', a store, or a database with six functions: {error}."


_CHECKS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "auth": _auth,
    "channels": _list_of(Channel, '[Channel("rooms/{room}", of=Room)]'),
    "clock": _called_with(0, "without arguments that returns a time with a zone"),
    "hosts": _list_of(str, "['example.org']"),
    "interfaces": _interfaces,
    "lifespan": _called_with(1, "that takes the application"),
    "provide": _provide,
    "rates": _list_of(Rate, '[Rate("100/minute")]'),
    "store": _store,
}
