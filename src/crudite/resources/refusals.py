"""What a store refused, as the problem that the asker is told."""

from crudite.changes import Refused
from crudite.errors import (
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    NotUnique,
    PreconditionFailed,
    Problem,
)
from crudite.resources.declaring.definition import Definition
from crudite.resources.keys import no_record
from crudite.resources.request import Request


def explain(refused: Refused, definition: Definition, request: Request) -> Problem:
    """The problem for a refused write of a record that the asker may know of."""
    fields = refused.fields
    match refused.kind:
        case "reference" if request.action == "restore":
            named = " and ".join(fields) or "A field"
            return Conflict(f"{named} of what would be restored points at a record that is deleted, or not there.")
        case "missing":
            return no_record(definition, request.key)
        case "version":
            return changed()
        case "where":
            return not_allowed(request, definition)
        case "guard":
            return Forbidden(faults=_faults(fields, "not_writable", "You may not write {}."))
        case "after":
            return Forbidden(f"You may not store this {definition.name} with these values.")
        case "unique":
            together = "" if len(fields) < 2 else " together"
            return NotUnique(faults=_faults(fields, "not_unique", f"{{}} is taken{together} by another record."))
        case "need" | "reference":
            return Invalid(faults=[points_nowhere(name) for name in fields])
        case "referenced":
            return Conflict(faults=[Fault("referenced", "Other records still point at this one.")])
        case "check":
            return Invalid(
                refused.detail or "The database refuses these values.",
                faults=_faults(fields, "check", "{} is refused by the database."),
            )


def not_allowed(request: Request, definition: Definition) -> Problem:
    """The problem for a record that the actor may know of, and not treat so."""
    if request.action == "restore":
        return Conflict(f"This {definition.name} is not deleted.")
    return Forbidden(f"You may not {request.action} this {definition.name}.")


def points_nowhere(name: str) -> Fault:
    """The fault of a reference to a record that is not there, or not for the asker."""
    return Fault("no_such_record", f"{name} points at no record.", pointer=f"/{name}")


def changed() -> PreconditionFailed:
    """The problem for a request that was made for another version of a record than the stored one."""
    return PreconditionFailed("The record has changed since that version.")


def _faults(fields: tuple[str, ...], code: str, detail: str) -> list[Fault]:
    return [Fault(code, detail.format(name), pointer=f"/{name}") for name in fields]
