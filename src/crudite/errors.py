"""Every error that Crudite raises, as one tree; each is named for the fact.

CruditeError
├── DeclarationError          what the application declares is wrong; raised by App(), names every fault
├── Problem                   a request failed; the same RFC 9457 object on every interface
│   ├── Malformed             400  the request cannot be understood
│   ├── Unauthorized          401  it does not say, or not credibly, who asks
│   ├── Forbidden             403  who asks may not do that
│   ├── NotFound              404  there is no such thing, or none that the asker may know of
│   ├── MethodNotAllowed      405  that is not done here
│   ├── NotAcceptable         406  the asked-for form cannot be made
│   ├── Conflict              409  what is stored speaks against it
│   │   └── NotUnique         409  another record has that value
│   ├── PreconditionFailed    412  the record has another version
│   ├── TooLarge              413  the request passes a limit
│   ├── UnsupportedMediaType  415  the body is in a form that is not read here
│   ├── Invalid               422  the data is understood and not valid
│   ├── PreconditionRequired  428  the request must be conditional
│   ├── TooManyRequests       429  too often
│   ├── Unexpected            500  a fault of ours or of the application's
│   └── Unavailable           503  not now
├── StoreError                the database cannot do its work
│   ├── StoreLocked           somebody else holds it for too long
│   ├── StoreFull             no room is left
│   ├── StoreReadOnly         it may not be written
│   ├── StoreCorrupt          what is there is damaged
│   ├── StoreTooNew           a newer program made it
│   └── StoreOutdated         its schema is older than what the application declares
└── BusError                  a bus cannot be what its URL says
    └── PayloadTooLarge       a message is larger than it carries
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


class CruditeError(Exception):
    """The base of every error that Crudite raises on purpose."""


class DeclarationError(CruditeError):
    """The application declares something that cannot work; `faults` holds one sentence for each fault."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"- {fault}" for fault in self.faults) if len(self.faults) > 1 else self.faults[0])


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request.

    `pointer` (a JSON Pointer, RFC 6901) names a place in the body, `parameter` a name in the URL; `code` is
    stable and for programs, `detail` says what was expected and what came, for people. `rule` is the resource's own
    rule that is broken, as it is written there (`minimum:8`), where it has a name.
    """

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None
    rule: str | None = None

    def as_json(self) -> dict[str, str]:
        """The fault as a member of a problem's `errors`."""
        place = {"pointer": self.pointer, "parameter": self.parameter}
        named = {"rule": self.rule} if self.rule is not None else {}
        return {**{k: v for k, v in place.items() if v is not None}, "code": self.code, "detail": self.detail, **named}


class Problem(CruditeError):
    """A request failed. Raise a subclass; every interface shows it as the same problem (RFC 9457).

    `detail` is one sentence for people, `faults` every single thing that is wrong, `headers` what HTTP sends
    along. `extra` members are added to the problem as they are. Raises TypeError for a detail that is no text.

    A subclass of the application's own has a `status`, a `code` and a `title` of its own; this class itself is a 500.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "unexpected"
    title: ClassVar[str] = "Unexpected"

    def __init__(
        self,
        detail: str = "",
        *,
        faults: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        if not isinstance(detail, str):
            raise TypeError(
                f"{type(self).__name__} takes a sentence for people, not a value of the type {type(detail).__name__}; "
                'faults=[Fault("taken", "That name is taken.", pointer="/name")] says what is wrong where'
            )
        self.faults = tuple(faults)
        self.detail = detail or _summary(self.faults)
        self.headers = dict(headers or {})
        self.extra = extra
        super().__init__(self.detail or self.title)

    def as_json(self, request_id: str | None = None, root: str = "") -> dict[str, Any]:
        """The problem as a JSON object (RFC 9457, section 3). `root` is the path at which the application is
        mounted, for the reference in `type`."""
        problem: dict[str, Any] = {
            "type": f"{root}/docs/problems#{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            problem["detail"] = self.detail
        if request_id:
            problem["request_id"] = request_id
        if self.faults:
            problem["errors"] = [fault.as_json() for fault in self.faults]
        return {**problem, **self.extra}


def _summary(faults: tuple[Fault, ...]) -> str:
    if len(faults) == 1:
        return faults[0].detail
    return f"{len(faults)} things are wrong." if faults else ""


class Malformed(Problem):
    """The request cannot be understood: bad JSON, an unknown parameter or operator, a value of the wrong type."""

    status, code, title = 400, "malformed", "Malformed request"


class Unauthorized(Problem):
    """The request must say who asks, and does not, or not credibly (RFC 9110, section 15.5.2)."""

    status, code, title = 401, "unauthorized", "Unauthorized"


class Forbidden(Problem):
    """Who asks is known and may not do that."""

    status, code, title = 403, "forbidden", "Forbidden"


class NotFound(Problem):
    """There is no such thing, or none that the asker may know of."""

    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(Problem):
    """The thing exists and that is not done with it; `allowed` names the HTTP methods that are."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"

    def __init__(self, detail: str = "", *, allowed: Iterable[str] = (), **more: Any) -> None:
        super().__init__(detail, headers={"allow": ", ".join(allowed)}, **more)


class NotAcceptable(Problem):
    """None of the forms that the asker accepts can be made."""

    status, code, title = 406, "not_acceptable", "Not acceptable"


class Conflict(Problem):
    """What is stored speaks against it: another change came first, or something still points here."""

    status, code, title = 409, "conflict", "Conflict"


class NotUnique(Conflict):
    """Another record has that value already."""

    code, title = "not_unique", "Not unique"


class PreconditionFailed(Problem):
    """The record has another version than the one the request was made for (RFC 9110, section 13)."""

    status, code, title = 412, "precondition_failed", "Precondition failed"


class TooLarge(Problem):
    """The request passes a documented limit."""

    status, code, title = 413, "too_large", "Too large"


class UnsupportedMediaType(Problem):
    """The body is in a form that is not read here."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class Invalid(Problem):
    """The data is understood and breaks the rules of its resource; `faults` names every one."""

    status, code, title = 422, "invalid", "Invalid"


class PreconditionRequired(Problem):
    """The resource takes only conditional writes (RFC 6585, section 3)."""

    status, code, title = 428, "precondition_required", "Precondition required"


class TooManyRequests(Problem):
    """The asker came too often (RFC 6585, section 4)."""

    status, code, title = 429, "too_many_requests", "Too many requests"


class Unexpected(Problem):
    """A fault of the framework or the application; its details are in the log, never in the answer."""

    status, code, title = 500, "unexpected", "Unexpected error"


class Unavailable(Problem):
    """Not now; `Retry-After` says when to come back."""

    status, code, title = 503, "unavailable", "Unavailable"


class StoreError(CruditeError):
    """The database cannot do its work. A request that meets one fails as `Unavailable`."""


class StoreLocked(StoreError):
    """Somebody else holds the database for longer than we wait."""


class StoreFull(StoreError):
    """The disk, or the size allowed to the database, is full."""


class StoreReadOnly(StoreError):
    """The database, or the disk it lies on, may not be written."""


class StoreCorrupt(StoreError):
    """The file is not a database, or what is in it is damaged."""


class StoreTooNew(StoreError):
    """A newer version of Crudite made this database."""


class StoreOutdated(StoreError):
    """The database's schema is older than what the application declares; `crudite db migrate` brings it forward,
    unless it `is_blocked`: a step cannot be taken before something is mended, which the message says."""

    def __init__(self, message: str, *, is_blocked: bool = False) -> None:
        super().__init__(message)
        self.is_blocked = is_blocked


class BusError(CruditeError):
    """A bus cannot be what its URL says: no adapter knows it, its driver is not installed, its place cannot be used.

    A broker that is away is no error: the bus waits for it.
    """


class PayloadTooLarge(BusError):
    """A payload is larger than this bus carries."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"expected a payload of at most {most:,} bytes on this bus, and got {size:,}")
