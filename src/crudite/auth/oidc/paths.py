"""Where a browser may be sent after it has signed in: to a path of this very site, and nowhere else."""

from urllib.parse import quote

from crudite.errors import Fault, Malformed

_LONGEST = 1_000
_KEPT = "/?#[]@!$&'()*+,;=:%~"


def local_path(given: str) -> str:
    """The path, with what is not ASCII escaped. Raises Malformed for what browsers could take for another site: they
    read `//host` and `/\\host` as one, and leave control characters and white space out (WHATWG URL, section 4.4)."""
    is_local = given.startswith("/") and given[1:2] not in ("/", "\\") and "\\" not in given
    if not is_local or len(given) > _LONGEST or not given.isprintable() or " " in given:
        raise Malformed(
            faults=[Fault("not_local", "It must be a path of this site, such as /tasks.", parameter="next")]
        )
    return quote(given, safe=_KEPT)
