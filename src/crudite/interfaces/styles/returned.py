"""What functions of an application return, checked: a mistake is told by the option and the resource that it is of."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any


def rows_of(returned: Any, option: str, name: str) -> list[Any]:
    """The records, as plain data, that an option for a resource with a name has returned in a list, or in whatever
    else brings one after another. Raises TypeError for what are none."""
    if not isinstance(returned, Iterable) or isinstance(returned, Mapping | str | bytes):
        raise _mistake(option, name, returned, "a list")
    rows = list(returned)
    for row in rows:
        if not isinstance(row, Mapping):
            raise _mistake(option, name, row, "a record", " in its list")
    return rows


def row_of(returned: Any, option: str, name: str) -> dict[str, Any]:
    """The same of a single record."""
    if not isinstance(returned, Mapping):
        raise _mistake(option, name, returned, "a record")
    return dict(returned)


def allowed_of(returned: Any, name: str) -> list[Any] | bool:
    """Which records of a resource may be read, or whether all or none, as a permission has returned it."""
    return returned if isinstance(returned, bool) else rows_of(returned, "permissions.read", name)


def is_allowed(returned: Any, name: str) -> bool:
    """The same of a function that decides about one record, or about all without seeing them."""
    if not isinstance(returned, bool):
        raise _mistake("permissions.read", name, returned, "True or False")
    return returned


def words_of(returned: Any, name: str) -> Collection[str]:
    """The words that `permissions` of a resource has returned; none of them for None, False and the like."""
    words = (returned,) if isinstance(returned, str) else returned or ()
    is_several = isinstance(words, Collection) and not isinstance(words, Mapping)
    if not is_several or not all(isinstance(word, str) for word in words):
        raise _mistake("permissions", name, returned, "words or WheelhousePermissions(…)")
    return words


def _mistake(option: str, name: str, returned: Any, wanted: str, where: str = "") -> TypeError:
    """What is wrong, and nothing of what the value holds, which may be anybody's."""
    what = "None" if returned is None else f"a value of the type {type(returned).__name__}"
    return TypeError(f"WheelhouseOptions.{option} of {name} returned {what}{where}, not {wanted}.")
