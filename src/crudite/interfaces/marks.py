"""Read your writes: a request that names the mark of a write is answered from after its commit.

The mark is what the write answered, `Crudite-After`. A read sends it back in a header of the same name, or as
`?min_cursor=`; a WebSocket call as its member `min_cursor`.
"""

import asyncio
from typing import Any

from crudite.errors import Conflict, Fault, Malformed, Unavailable
from crudite.interfaces.base import Host, Scope
from crudite.interfaces.http import parameters_of, read_headers

_HEADER, _PARAMETER = "crudite-after", "min_cursor"
_PATIENCE = 5.0  # seconds; the engine needs some milliseconds, unless the store does not answer
_LONGEST = 100


def names_mark(scope: Scope) -> bool:
    """Whether an HTTP request may name a mark."""
    return b"min_cursor" in scope["query_string"] or _HEADER in read_headers(scope)


async def pass_mark(host: Host, scope: Scope) -> None:
    """Returns when the mark that an HTTP request names, if it does, is passed.

    The parameter is taken out of the scope, since it says nothing of the query. Raises Malformed, Conflict or
    Unavailable, see `reach`.
    """
    if b"min_cursor" in scope["query_string"]:
        given = [value for name, value in parameters_of(scope) if name == _PARAMETER]
        parts: list[bytes] = scope["query_string"].split(b"&")
        scope["query_string"] = b"&".join(part for part in parts if part.partition(b"=")[0] != b"min_cursor")
        for mark in given:
            await reach(host, mark, parameter=_PARAMETER)
    headers = read_headers(scope)
    if _HEADER in headers:
        await reach(host, headers[_HEADER], parameter="Crudite-After")


async def reach(host: Host, mark: Any, *, parameter: str | None = None, pointer: str | None = None) -> None:
    """Returns when everything up to a write's mark is in the store and in every live query.

    Raises Malformed for what can be no mark, Conflict for one that is not of this change log, Unavailable when
    it takes too long.
    """
    try:
        if not isinstance(mark, str) or len(mark) > _LONGEST:
            raise ValueError("no text of that length is a mark")
        async with asyncio.timeout(_PATIENCE):
            is_ours = await host.engine.reached(mark)
    except ValueError:
        fault = Fault("bad_value", "This is not the mark of a write.", parameter=parameter, pointer=pointer)
        raise Malformed(faults=[fault]) from None
    except TimeoutError:
        raise Unavailable("The live engine is behind.", headers={"retry-after": "1"}) from None
    if not is_ours:
        raise Conflict("There is no commit with this mark: it is of another change log, or of one that was put back.")
